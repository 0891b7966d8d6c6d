//! An `HAProxy` of the test's own: a load balancer that says whose connection it hands on, on an ephemeral port.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{Child, free_address};
use crate::{binaries, wait};

/// A running instance.
#[derive(Debug)]
pub struct Haproxy {
    // Before the folder, so that nothing writes there any more when it goes.
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// What it does with connections.
#[derive(Clone, Debug)]
pub struct Balancing<'a> {
    /// The server behind it.
    pub server: SocketAddr,
    /// The address that it connects from.
    pub source: IpAddr,
    /// How it says whose connection it is: `send-proxy`, `send-proxy-v2`, or nothing.
    pub says: &'a str,
    /// How it looks whether the server is there, such as `option tcp-check`; none: it does not.
    pub check: Option<&'a str>,
}

impl Haproxy {
    /// Hands on connections.
    pub fn start(balancing: &Balancing<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-haproxy-").tempdir()?;
        let address = free_address()?;
        let Balancing { server, source, says, check } = balancing;
        let (option, check) = match check {
            None => ("", ""),
            Some(option) => (*option, "check inter 200ms rise 1 fall 1"),
        };
        let configuration = format!(
            "global\n  maxconn 200\n  stats socket {0}/stats mode 600\n\
             defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 5m\n  timeout server 5m\n  timeout check 10s\n\
             listen mail\n  bind {address}\n  {option}\n  source {source}\n  server gateway {server} {says} {check}\n",
            folder.path().display()
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration)?;
        let mut command = Command::new(binaries::system("haproxy", "haproxy")?);
        command.arg("-db").arg("-f").arg(file);
        let child = Child::start_group("haproxy", command, folder.path())?;
        let mut haproxy = Self { child, address, folder };
        let stats = haproxy.folder.path().join("stats");
        haproxy
            .child
            .until("HAProxy to run", wait::SOON, || Ok(UnixStream::connect(&stats).ok().map(drop)))?;
        Ok(haproxy)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the last look at the server found: `L7OK`, `L4CON` …; empty before the first.
    pub fn health(&self) -> Result<String> {
        let mut socket = UnixStream::connect(self.folder.path().join("stats"))?;
        socket.write_all(b"show stat\n")?;
        let mut table = String::new();
        socket.read_to_string(&mut table)?;
        let column =
            table.lines().next().and_then(|head| head.split(',').position(|name| name == "check_status"));
        let line = table.lines().find(|line| line.starts_with("mail,gateway,")).context("no such server")?;
        let status = line.split(',').nth(column.context("no check_status")?).unwrap_or_default();
        // A look under way has an asterisk in front of what was found before.
        Ok(status.trim_start_matches("* ").to_owned())
    }

    /// Waits until a look has found this.
    pub fn until_health(&mut self, status: &str) -> Result<()> {
        let what = format!("HAProxy to find {status}");
        wait::until(&what, wait::SOON, || Ok((self.health()? == status).then_some(())))
            .with_context(|| format!("{:?} {}", self.health(), self.child.log_tail()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Protocol, Sink, accept_all};
    use crate::smtp::Client;

    #[test]
    fn haproxy_hands_on_and_looks() {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let mut haproxy = Haproxy::start(&Balancing {
            server: sink.address(),
            source: "127.0.0.2".parse().unwrap(),
            says: "",
            check: Some("option smtpchk EHLO haproxy.test"),
        })
        .unwrap();
        haproxy.until_health("L7OK").unwrap();
        assert_eq!(Client::connect(haproxy.address()).unwrap().greeting.code, 220);
        drop(sink);
        haproxy.until_health("L4CON").unwrap();
    }
}
