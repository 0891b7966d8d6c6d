//! An Exim of the test's own: takes all mail into one maildir, on an ephemeral port. Its package is only unpacked. It wants to be started by root.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::user;
use crate::process::{Child, free_address};
use crate::smtp::Client;
use crate::{binaries, wait};

/// The user that Debian builds it for.
const USER: &str = "Debian-exim";

/// A running instance.
#[derive(Debug)]
pub struct Exim {
    // Before the folder, so that nothing writes there any more when it goes.
    daemon: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Exim {
    /// Takes mail; `more` are main options, such as `smtp_accept_max = 1`.
    pub fn start(more: &str) -> Result<Self> {
        let unpacked = binaries::unpacked("exim4-daemon-light", "usr/sbin/exim4")?;
        let folder = tempfile::Builder::new().prefix("posthouse-exim-").tempdir()?;
        // To send a notification it runs itself as its user, who may not look into the folder of who runs the test.
        let program = folder.path().join("exim4");
        binaries::copy(&unpacked, &program)?;
        let address = free_address()?;
        let (uid, gid) = user(USER)?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        chown(folder.path(), Some(uid), Some(gid))?;
        for name in ["spool", "mail"] {
            fs::create_dir(folder.path().join(name))?;
            chown(folder.path().join(name), Some(uid), Some(gid))?;
        }
        let configuration = CONFIGURATION
            .replace("MORE", more)
            .replace("PROGRAM", &program.to_string_lossy())
            .replace("FOLDER", &folder.path().to_string_lossy())
            .replace("PORT", &address.port().to_string());
        let file = folder.path().join("exim.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new(program);
        command.arg("-C").arg(file).arg("-bdf");
        let daemon = Child::start_group("exim", command, folder.path())?;
        let mut exim = Self { daemon, address, folder };
        let greets = || Ok(Client::connect(address).ok().filter(|client| client.greeting.code == 220));
        exim.daemon.until("Exim to greet", wait::SOON, greets).map(drop).with_context(|| exim.log())?;
        Ok(exim)
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this many messages were delivered; they have CRLF line ends.
    pub fn until_mailbox(&mut self, messages: usize) -> Result<Vec<Vec<u8>>> {
        let mail = self.folder.path().join("mail");
        let found = wait::until(&format!("{messages} messages in Exim's mailbox"), wait::SOON, || {
            Ok(Some(super::maildir(&mail)?).filter(|mailbox| mailbox.len() >= messages))
        });
        found.with_context(|| self.log())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        let own = fs::read_to_string(self.folder.path().join("main.log")).unwrap_or_default();
        format!("{own}\n{}", self.daemon.log_tail())
    }
}

const CONFIGURATION: &str = "\
exim_path = PROGRAM
primary_hostname = exim.test
spool_directory = FOLDER/spool
log_file_path = FOLDER/%s.log
pid_file_path = FOLDER/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
deliver_drop_privilege = true
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
keep_environment =
never_users =
accept_8bitmime = true
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
chunking_advertise_hosts = *
message_size_limit = 100M
recipients_max = 1000
acl_smtp_rcpt = accept
MORE
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  directory = FOLDER/mail
  maildir_format
  use_crlf
  batch_max = 1000
  message_prefix =
  message_suffix =
  envelope_to_add
  user = Debian-exim
  group = Debian-exim
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exim_takes_a_message() {
        let mut exim = Exim::start("").unwrap();
        let mut client = Client::hello(exim.address()).unwrap();
        assert_eq!(
            client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap().code,
            250
        );
        assert!(exim.until_mailbox(1).unwrap()[0].ends_with(b"Subject: x\r\n\r\nhi\r\n"));
    }
}
