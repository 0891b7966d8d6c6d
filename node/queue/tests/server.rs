//! `redis-server` and `valkey-server` for the suite: each in a temporary folder, on a Unix socket there, with a log that is synced always.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use posthouse_queue::{
    Store,
    redis::{RedisStore, Settings},
};
use posthouse_tests::{binaries, process::Child, wait};
use tempfile::TempDir;

use crate::contract::{crash::Crashing, world::Fixture};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Redis,
    Valkey,
}

/// A running server, which ends when it goes out of scope.
pub(crate) struct Server {
    flavor: Flavor,
    // Before the folder, so that it is gone when the folder goes.
    child: Option<Child>,
    folder: TempDir,
    more: Vec<String>,
}

impl Server {
    /// Starts a server with more arguments than the usual.
    pub(crate) fn start(flavor: Flavor, more: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("posthouse-queue-").tempdir().unwrap();
        let more = more.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { flavor, child: None, folder, more };
        server.start_again();
        server
    }

    fn socket(&self) -> String {
        self.folder.path().join("s").to_str().unwrap().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket())
    }

    /// Its process, to be killed at any moment.
    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().unwrap().pid()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.take().unwrap().kill().unwrap();
    }

    /// Starts it on what it has kept, and waits until it has read that.
    pub(crate) fn start_again(&mut self) {
        let program = match self.flavor {
            Flavor::Redis => binaries::system("redis-server", "redis-server"),
            Flavor::Valkey => binaries::valkey_server(),
        };
        let mut command = Command::new(program.unwrap_or_else(|missing| panic!("{missing:#}")));
        let _ = std::fs::remove_file(self.socket()); // a killed server leaves its socket behind
        command.args(["--port", "0", "--unixsocket"]).arg(self.socket());
        command.arg("--dir").arg(self.folder.path()).args(["--daemonize", "no", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]).args(&self.more);
        let mut child = Child::start("server", command, self.folder.path()).unwrap();
        let url = self.url();
        child.until("it answers", wait::SOON, || Ok(answers(&url).then_some(()))).unwrap();
        self.child = Some(child);
    }

    fn flush(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
    }
}

fn answers(url: &str) -> bool {
    let client = redis::Client::open(url).unwrap();
    let connected = client.get_connection();
    connected.and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection)).is_ok()
}

/// Servers that are started once and lent from sentence to sentence.
#[derive(Clone)]
pub(crate) struct Servers {
    flavor: Flavor,
    idle: Arc<Mutex<Vec<Server>>>,
}

impl Servers {
    pub(crate) fn new(flavor: Flavor) -> Self {
        Self { flavor, idle: Arc::default() }
    }

    pub(crate) fn lend(&self) -> Lent {
        let idle = self.idle.lock().unwrap().pop();
        let server = idle.unwrap_or_else(|| Server::start(self.flavor, &[]));
        Lent { server: Some(server), to: Arc::clone(&self.idle) }
    }
}

/// A server for one sentence.
pub(crate) struct Lent {
    server: Option<Server>,
    to: Arc<Mutex<Vec<Server>>>,
}

impl Lent {
    fn server(&mut self) -> &mut Server {
        self.server.as_mut().unwrap()
    }

    async fn connect(&mut self) -> Arc<dyn Store> {
        let url = self.server().url();
        Arc::new(RedisStore::connect(&url, "suite", Settings::default()).await.unwrap())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // One that a failed sentence left dead is not lent again.
        if let Some(server) = self.server.take().filter(|server| server.child.is_some())
            && let Ok(mut idle) = self.to.lock()
        {
            idle.push(server);
        }
    }
}

#[async_trait]
impl Fixture for Lent {
    async fn fresh(&mut self) -> Arc<dyn Store> {
        self.server().flush();
        self.connect().await
    }

    async fn restart(&mut self, ended: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(ended);
        self.server().kill();
        self.server().start_again();
        self.connect().await
    }
}

impl Crashing for Lent {
    fn process(&mut self) -> u32 {
        self.server().process()
    }
}
