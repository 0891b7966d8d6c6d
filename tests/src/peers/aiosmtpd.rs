//! Python's aiosmtpd as a receiver: another stack with its own TLS, on an ephemeral port.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::pki::Identity;
use crate::process::{Child, free_address};
use crate::smtp::Client;
use crate::wait;

/// Debian's, which has Debian's packages; another one may come first in `PATH`.
const PYTHON: &str = "/usr/bin/python3";

/// A running server.
#[derive(Debug)]
pub struct Aiosmtpd {
    // Before the folder, so that nothing writes there any more when it goes.
    server: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Aiosmtpd {
    /// Takes mail into one maildir, and only under TLS; it knows SMTPUTF8.
    pub fn start(identity: &Identity) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-aiosmtpd-").tempdir()?;
        let address = free_address()?;
        let (chain, key) = identity.write(folder.path(), "server")?;
        let mut command = Command::new(PYTHON);
        command.args(["-m", "aiosmtpd", "--nosetuid", "--smtputf8", "--size", "104857600"]);
        command.args(["--listen", &address.to_string()]);
        command.arg("--tlscert").arg(chain).arg("--tlskey").arg(key);
        command.args(["--class", "aiosmtpd.handlers.Mailbox"]).arg(folder.path().join("mail"));
        anyhow::ensure!(Path::new(PYTHON).exists(), "{PYTHON} is not there: run `.ci/setup`");
        let server = Child::start("aiosmtpd", command, folder.path())?;
        let mut aiosmtpd = Self { server, address, folder };
        let greets = || Ok(Client::connect(address).ok().filter(|client| client.greeting.code == 220));
        aiosmtpd.server.until("aiosmtpd to greet", wait::SOON, greets)?;
        Ok(aiosmtpd)
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this many messages were delivered.
    pub fn until_mailbox(&mut self, messages: usize) -> Result<Vec<Vec<u8>>> {
        let mail = self.folder.path().join("mail");
        let found = wait::until(&format!("{messages} messages in aiosmtpd's mailbox"), wait::SOON, || {
            Ok(Some(super::maildir(&mail)?).filter(|mailbox| mailbox.len() >= messages))
        });
        found.with_context(|| self.server.log_tail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Trust;

    #[test]
    fn aiosmtpd_takes_a_message_under_tls() {
        let identity = crate::pki::self_signed(&["aiosmtpd.test"]).unwrap();
        let mut aiosmtpd = Aiosmtpd::start(&identity).unwrap();
        let mut client = Client::hello(aiosmtpd.address()).unwrap();
        client.start_tls("aiosmtpd.test", &Trust::Anybody).unwrap();
        client.command("EHLO client.test").unwrap();
        assert_eq!(
            client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap().code,
            250
        );
        assert!(String::from_utf8_lossy(&aiosmtpd.until_mailbox(1).unwrap()[0]).contains("hi"));
    }
}
