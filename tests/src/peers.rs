//! Other people's programs: mail clients and servers, load balancers, BIND, whom mail asks its way, and what looks for weaknesses. They prove
//! what our own client and sink cannot: that the product speaks with what is out there.

pub mod aiosmtpd;
pub mod exim;
pub mod haproxy;
pub mod named;
pub mod nginx;
pub mod opensmtpd;
pub mod openssl;
pub mod postfix;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::binaries;
use crate::process::{Child, free_address};
use crate::wait;

/// Runs swaks against `server` with more arguments. Its transcript is its standard output; its status says where the server refused.
pub fn swaks(server: SocketAddr, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binaries::system("swaks", "swaks")?);
    command.args(["--server", &server.ip().to_string(), "--port", &server.port().to_string()]);
    // Otherwise it asks for the name of this machine, which may have none.
    command.args(["--helo", "swaks.test"]).args(arguments);
    Ok(command.output()?)
}

/// Sends a message with msmtp and more arguments, such as `--tls=on`; its status says whether it was taken.
pub fn msmtp(server: SocketAddr, from: &str, to: &str, content: &[u8], arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binaries::system("msmtp", "msmtp")?);
    // No file of this machine, and a name for EHLO that does not ask for one.
    command.args(["--file=/dev/null", "--domain=msmtp.test", "--timeout=30"]);
    command.arg(format!("--host={}", server.ip())).arg(format!("--port={}", server.port()));
    command.arg(format!("--from={from}")).args(arguments).args(["--", to]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("it has an input")?.write_all(content)?;
    Ok(child.wait_with_output()?)
}

/// The users of this machine: user and group id.
fn user(name: &str) -> Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name));
    let mut fields =
        line.with_context(|| format!("there is no user {name}: run `.ci/setup`"))?.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).context("a user has ids");
    Ok((number()?, number()?))
}

/// The files in the `new` folder of a maildir.
fn maildir(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let new = folder.join("new");
    if !new.exists() {
        return Ok(Vec::new());
    }
    std::fs::read_dir(new)?.map(|entry| Ok(std::fs::read(entry?.path())?)).collect()
}

/// A load for `smtp-source`.
#[derive(Clone, Debug)]
pub struct Load {
    /// Parallel sessions.
    pub sessions: usize,
    /// Messages in all.
    pub messages: usize,
    /// Octets of each message's text.
    pub size: usize,
    /// Whether a session carries many messages; otherwise one each.
    pub keep: bool,
    /// The reverse-path.
    pub from: String,
    /// The forward-path.
    pub to: String,
}

impl Load {
    /// Starts sending; the child ends when all is accepted, or with an error at the first refusal.
    pub fn start(&self, server: SocketAddr, folder: &Path) -> Result<Child> {
        let mut command = Command::new(binaries::system("smtp-source", "postfix")?);
        let numbers = [self.sessions, self.size, self.messages].map(|number| number.to_string());
        let [sessions, size, messages] = &numbers;
        command.args([
            "-s",
            sessions,
            "-l",
            size,
            "-m",
            messages,
            "-f",
            &self.from,
            "-t",
            &self.to,
            "-M",
            "client.test",
        ]);
        if self.keep {
            command.arg("-d");
        }
        command.arg(server.to_string());
        Child::start("smtp-source", command, folder)
    }

    /// Sends all of it; returns how long that took.
    pub fn run(&self, server: SocketAddr, folder: &Path, bound: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let mut child = self.start(server, folder)?;
        let status = child.wait(bound)?;
        ensure!(status.success(), "smtp-source ended with {status}: {}", child.log_tail());
        Ok(begin.elapsed())
    }
}

/// `smtp-sink`, which counts what it gets.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    child: Child,
}

impl SmtpSink {
    /// Starts it on an ephemeral port; `folder` takes its log.
    pub fn start(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binaries::system("smtp-sink", "postfix")?);
        if rustix::process::geteuid().is_root() {
            // It refuses to serve as root.
            command.args(["-u", "nobody"]);
        }
        command.args(["-c", "-m", "1000", &address.to_string(), "1024"]);
        let mut child = Child::start("smtp-sink", command, folder)?;
        child.until("smtp-sink to listen", wait::SOON, || Ok(std::net::TcpStream::connect(address).ok()))?;
        Ok(Self { address, child })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages taken so far. It overwrites one line of counts, so the last one counts.
    pub fn messages(&self) -> Result<u64> {
        // The line may be cut at the front, so it takes room for a few.
        let log = self.child.log_end(512)?;
        let last = log.split(['\r', '\n']).rfind(|line| line.contains("mesg="));
        let count =
            last.and_then(|line| line.split("mesg=").nth(1)).and_then(|rest| rest.split_whitespace().next());
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// Waits until it has taken this many.
    pub fn until_messages(&mut self, messages: u64, bound: Duration) -> Result<()> {
        let what = format!("{messages} messages at smtp-sink");
        wait::until(&what, bound, || Ok((self.messages()? >= messages).then_some(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smtp_sink_counts_what_smtp_source_sends() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = SmtpSink::start(folder.path()).unwrap();
        for keep in [false, true] {
            let load = Load {
                sessions: 5,
                messages: 20,
                size: 4096,
                keep,
                from: "a@src.test".into(),
                to: "b@dst.test".into(),
            };
            load.run(sink.address(), folder.path(), wait::SOON).unwrap();
        }
        sink.until_messages(40, wait::SOON).unwrap();
        assert_eq!(sink.messages().unwrap(), 40);
    }
}
