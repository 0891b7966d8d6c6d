//! Real stores for tests and benchmarks: `redis-server` and `valkey-server`, each in a temporary folder on a port of its own.
//!
//! A store keeps its folder and its address over [`Server::kill`] and [`Server::start_again`], so that a crash is a crash and not a new store.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{Child, free_address};
use crate::{binaries, wait};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Debian's `redis-server` (7.0).
    Redis,
    /// `valkey-server`.
    Valkey,
}

impl Flavor {
    /// Both, for tests that hold for each.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    /// The name that results carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }
}

/// How a store is started. The default is what the product asks for: every reply is on disk, and nothing is evicted.
#[derive(Clone, Debug)]
pub struct Options {
    /// `appendfsync`: `always`, `everysec` or `no`.
    pub appendfsync: &'static str,
    /// Whether the server rewrites its log when it has doubled, as it does in production.
    pub rewrite: bool,
    /// More arguments, such as `--maxmemory 64mb`.
    pub more: Vec<String>,
    /// The folder in which the store makes its own: absent, the system's temporary one. For benchmarks, which want a real disk.
    pub parent: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { appendfsync: "always", rewrite: true, more: Vec::new(), parent: None }
    }
}

/// A running store.
#[derive(Debug)]
pub struct Server {
    flavor: Flavor,
    options: Options,
    address: SocketAddr,
    // Before the folder, so that it is gone when the folder goes.
    child: Option<Child>,
    folder: TempDir,
}

impl Server {
    /// Starts a store with the default options and waits until it answers.
    pub fn start(flavor: Flavor) -> Result<Self> {
        Self::start_with(flavor, Options::default())
    }

    /// Starts a store and waits until it answers.
    pub fn start_with(flavor: Flavor, options: Options) -> Result<Self> {
        let parent = options.parent.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("posthouse-store-").tempdir_in(parent)?;
        let mut server = Self { flavor, options, address: free_address()?, child: None, folder };
        server.start_again()?;
        Ok(server)
    }

    /// `redis://127.0.0.1:N`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The running server's process.
    pub fn process(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("the store is not running")
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        let child = self.child.take();
        child.context("the store is not running")?.kill()
    }

    /// Starts it again, on the same folder and port, and waits until it has loaded its log and answers.
    pub fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new(match self.flavor {
            Flavor::Redis => binaries::system("redis-server", "redis-server")?,
            Flavor::Valkey => binaries::valkey_server()?,
        });
        let port = self.address.port().to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1"]).arg("--dir").arg(self.folder.path());
        command.args(["--appendonly", "yes", "--appendfsync", self.options.appendfsync, "--save", ""]);
        command.args([
            "--no-appendfsync-on-rewrite",
            "no",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
        ]);
        if !self.options.rewrite {
            command.args(["--auto-aof-rewrite-percentage", "0"]);
        }
        command.args(&self.options.more);
        let mut child = Child::start(self.flavor.name(), command, self.folder.path())?;
        let address = self.address;
        child.until(&format!("{} to answer on {address}", self.flavor.name()), wait::SOON, || {
            Ok(answers(address).then_some(()))
        })?;
        self.child = Some(child);
        Ok(())
    }
}

/// Whether a server answers PING with PONG, or asks for a password: while it loads its log it answers with another error.
fn answers(address: SocketAddr) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut reply = [0; 7];
    let asked = stream.set_read_timeout(Some(wait::SOON)).and_then(|()| stream.write_all(b"PING\r\n"));
    asked.and_then(|()| stream.read_exact(&mut reply)).is_ok()
        && (&reply == b"+PONG\r\n" || &reply == b"-NOAUTH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_confirmed_is_there_after_a_kill() {
        for flavor in Flavor::ALL {
            let mut server = Server::start(flavor).unwrap();
            let client = redis::Client::open(server.url()).unwrap();
            let mut connection = client.get_connection().unwrap();
            let () = redis::cmd("SET").arg("letter").arg("kept").query(&mut connection).unwrap();
            server.kill().unwrap();
            server.start_again().unwrap();
            let mut connection = client.get_connection().unwrap();
            let letter: String = redis::cmd("GET").arg("letter").query(&mut connection).unwrap();
            assert_eq!(letter, "kept", "{flavor:?}");
        }
    }
}
