//! An `OpenSMTPD` of the test's own: takes all mail into one maildir or hands it on, on an ephemeral port. Its package is only unpacked, and since its folders
//! are built into it, it runs in a mount namespace in which they are empty ones of its own. It wants to be started by root.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{Child, free_address};
use crate::smtp::Client;
use crate::{binaries, wait};

/// A running instance.
#[derive(Debug)]
pub struct OpenSmtpd {
    // Before the folder, so that nothing writes there any more when it goes.
    daemon: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl OpenSmtpd {
    /// Takes mail, in clear. Debian's build (6.8.0p2 with OpenSSL 3) cannot show a certificate: it keeps private keys in a process of their own, which the
    /// process that makes handshakes reaches by replacing OpenSSL's methods for RSA and EC keys, and OpenSSL 3 does not use those any more. Whatever the
    /// key and the version of TLS, its handshakes end with `missing private key` (its issue 1171).
    pub fn start() -> Result<Self> {
        Self::with_action("maildir \"FOLDER/mail\" user nobody virtual <all>")
    }

    /// An origin: takes mail and hands all of it to `relay`, under TLS by STARTTLS, whoever shows the certificate. That needs no key of its own.
    pub fn origin(relay: SocketAddr) -> Result<Self> {
        Self::with_action(&format!("relay host smtp+tls://{relay} tls no-verify helo opensmtpd.test"))
    }

    fn with_action(action: &str) -> Result<Self> {
        let program = binaries::unpacked("opensmtpd", "usr/sbin/smtpd")?;
        let libexec = binaries::unpacked("opensmtpd", "usr/libexec/opensmtpd/mail.maildir")?;
        let libexec = libexec.parent().context("a program lies in a folder")?;
        let folder = tempfile::Builder::new().prefix("posthouse-opensmtpd-").tempdir()?;
        let address = free_address()?;
        let own = folder.path().display();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        fs::create_dir(folder.path().join("mail"))?;
        fs::set_permissions(folder.path().join("mail"), Permissions::from_mode(0o777))?;
        let (ip, port) = (address.ip(), address.port());
        let action = action.replace("FOLDER", &own.to_string());
        let configuration = format!(
            "table all {{ \"@\" = nobody }}\nlisten on {ip} port {port} hostname opensmtpd.test\n\
             action \"all\" {action}\nmatch from any for any action \"all\"\n"
        );
        fs::write(folder.path().join("smtpd.conf"), configuration)?;
        let script = format!(
            "set -e\n\
             for folder in /var/spool /var/lib /usr/libexec /run; do mount -t tmpfs tmpfs $folder; done\n\
             mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty /usr/libexec/opensmtpd\nchmod 711 /var/spool/smtpd\n\
             cp -a '{}'/. /usr/libexec/opensmtpd/\nexec '{}' -d -f '{own}/smtpd.conf'\n",
            libexec.display(),
            program.display()
        );
        let mut command = Command::new(binaries::system("unshare", "util-linux")?);
        command.args(["--mount", "sh", "-c", &script]);
        let daemon = Child::start_group("opensmtpd", command, folder.path())?;
        let mut opensmtpd = Self { daemon, address, folder };
        let greets = || Ok(Client::connect(address).ok().filter(|client| client.greeting.code == 220));
        opensmtpd.daemon.until("OpenSMTPD to greet", wait::SOON, greets)?;
        Ok(opensmtpd)
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this many messages were delivered.
    pub fn until_mailbox(&mut self, messages: usize) -> Result<Vec<Vec<u8>>> {
        let mail = self.folder.path().join("mail");
        let found = wait::until(&format!("{messages} messages in OpenSMTPD's mailbox"), wait::SOON, || {
            Ok(Some(super::maildir(&mail)?).filter(|mailbox| mailbox.len() >= messages))
        });
        found.with_context(|| self.daemon.log_tail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Manner, Sink, Tls};

    #[test]
    fn opensmtpd_hands_on_under_tls() {
        let identity = crate::pki::self_signed(&["sink.test"]).unwrap();
        let sink = Sink::serve(Manner::open().tls(Tls::StartTls(identity.server().unwrap()))).unwrap();
        let opensmtpd = OpenSmtpd::origin(sink.address()).unwrap();
        let sent =
            Client::hello(opensmtpd.address()).unwrap().send("a@src.test", &["b@dst.test"], b"\r\nhi\r\n");
        assert_eq!(sent.unwrap().code, 250);
        let letter = sink.letter(wait::SOON).with_context(|| opensmtpd.daemon.log_tail()).unwrap();
        assert_eq!(letter.to, ["b@dst.test"]);
        assert!(sink.command("MAIL ").unwrap().encrypted);
    }

    #[test]
    fn opensmtpd_takes_a_message() {
        let mut opensmtpd = OpenSmtpd::start().unwrap();
        let mut client = Client::hello(opensmtpd.address()).unwrap();
        // Without one of these fields it would add it.
        let content = "From: <a@src.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@src.test>\r\n\r\nhi\r\n";
        assert_eq!(client.send("a@src.test", &["b@dst.test"], content.as_bytes()).unwrap().code, 250);
        let kept = content.replace("\r\n", "\n");
        assert!(opensmtpd.until_mailbox(1).unwrap()[0].ends_with(kept.as_bytes()));
    }
}
