//! A Postfix of the test's own: configuration, queue and mailboxes in a temporary folder, on an ephemeral port. The system's instance is
//! neither used nor touched. Postfix wants to be started by root.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::{Child, free_address};
use crate::{binaries, wait};

/// Where Debian keeps Postfix's daemons.
const DAEMONS: &str = "/usr/lib/postfix/sbin";

/// A running instance.
#[derive(Debug)]
pub struct Postfix {
    // Before the folder, so that nothing writes there any more when it goes.
    master: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Postfix {
    /// A next hop: takes mail for `domain` and delivers it into maildirs that [`Postfix::mailbox`] reads.
    pub fn next_hop(domain: &str) -> Result<Self> {
        Self::start(&format!(
            "virtual_mailbox_domains = {domain}\nvirtual_mailbox_base = FOLDER/mail\nvirtual_mailbox_maps = static:all/\n\
             virtual_uid_maps = static:UID\nvirtual_gid_maps = static:GID\nvirtual_minimum_uid = 1\n"
        ))
    }

    /// An origin: takes mail from loopback and hands all of it to `relay`.
    pub fn origin(relay: SocketAddr) -> Result<Self> {
        Self::start(&format!(
            "relayhost = [{}]:{}\nsmtp_dns_support_level = disabled\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n\
             queue_run_delay = 1s\n",
            relay.ip(),
            relay.port()
        ))
    }

    /// An instance with these lines in main.cf; FOLDER, UID and GID are filled in.
    pub fn start(settings: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-postfix-").tempdir()?;
        let address = free_address()?;
        let (uid, gid) = user("postfix")?;
        // Its daemons run as another user and must get in.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir(folder.path().join(name))?;
        }
        for name in ["data", "mail"] {
            chown(folder.path().join(name), Some(uid), Some(gid))?;
        }
        let conf = folder.path().join("conf");
        let main = format!("{MAIN}{settings}");
        let main = main.replace("FOLDER", &folder.path().to_string_lossy());
        fs::write(
            conf.join("main.cf"),
            main.replace("UID", &uid.to_string()).replace("GID", &gid.to_string()),
        )?;
        fs::write(conf.join("master.cf"), master_cf(address))?;
        run(Command::new(binaries::system("postfix", "postfix")?).arg("-c").arg(&conf).arg("check"))?;

        let mut command = Command::new(Path::new(DAEMONS).join("master"));
        command.arg("-c").arg(&conf).arg("-s").env("MAIL_CONFIG", &conf);
        let master = Child::start_session("postfix", command, folder.path())?;
        let mut postfix = Self { master, address, folder };
        postfix.until_greeting()?;
        Ok(postfix)
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole messages delivered so far, in no particular order.
    pub fn mailbox(&self) -> Result<Vec<Vec<u8>>> {
        let new = self.folder.path().join("mail/all/new");
        if !new.exists() {
            return Ok(Vec::new());
        }
        let files: Vec<PathBuf> = fs::read_dir(new)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.iter().map(|file| Ok(fs::read(file)?)).collect()
    }

    /// Waits until this many messages were delivered.
    pub fn until_mailbox(&mut self, messages: usize) -> Result<Vec<Vec<u8>>> {
        let what = format!("{messages} messages in Postfix's mailbox");
        let found = wait::until(&what, wait::SOON, || {
            Ok(Some(self.mailbox()?).filter(|mailbox| mailbox.len() >= messages))
        });
        found.with_context(|| self.log())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        let own = fs::read_to_string(self.folder.path().join("mail.log")).unwrap_or_default();
        format!("{own}\n{}", self.master.log_tail())
    }

    fn until_greeting(&mut self) -> Result<()> {
        let address = self.address;
        let greets =
            || Ok(crate::smtp::Client::connect(address).ok().filter(|client| client.greeting.code == 220));
        let greeted = self.master.until("Postfix to greet", wait::SOON, greets);
        greeted.map(drop).with_context(|| self.log())
    }
}

const MAIN: &str = "\
compatibility_level = 3.6
queue_directory = FOLDER/queue
data_directory = FOLDER/data
maillog_file = FOLDER/mail.log
maillog_file_prefixes = FOLDER
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtpd_peername_lookup = no
smtpd_recipient_restrictions = permit_mynetworks, reject
biff = no
in_flow_delay = 0
smtputf8_enable = no
";

/// The services that taking in, queueing and delivering need; nothing runs in a chroot.
fn master_cf(address: SocketAddr) -> String {
    let mut table = format!("{address} inet n - n - - smtpd\n");
    for (name, kind, wakeup, limit, program) in [
        ("cleanup", "unix", "-", "0", "cleanup"),
        ("qmgr", "unix", "300", "1", "qmgr"),
        ("tlsmgr", "unix", "1000?", "1", "tlsmgr"),
        ("rewrite", "unix", "-", "-", "trivial-rewrite"),
        ("bounce", "unix", "-", "0", "bounce"),
        ("defer", "unix", "-", "0", "bounce"),
        ("trace", "unix", "-", "0", "bounce"),
        ("proxymap", "unix", "-", "-", "proxymap"),
        ("smtp", "unix", "-", "-", "smtp"),
        ("relay", "unix", "-", "-", "smtp"),
        ("virtual", "unix", "-", "-", "virtual"),
        ("error", "unix", "-", "-", "error"),
        ("retry", "unix", "-", "-", "error"),
        ("anvil", "unix", "-", "1", "anvil"),
        ("scache", "unix", "-", "1", "scache"),
        ("postlog", "unix-dgram", "-", "1", "postlogd"),
    ] {
        let private = if matches!(name, "cleanup" | "qmgr" | "postlog") { "n" } else { "-" };
        let unprivileged = if name == "virtual" { "n" } else { "-" };
        let _ = writeln!(table, "{name} {kind} {private} {unprivileged} n {wakeup} {limit} {program}");
    }
    table
}

/// The user and group ids of a system user.
fn user(name: &str) -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name));
    let mut fields =
        line.with_context(|| format!("there is no user {name}: run `.ci/setup`"))?.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).context("a user has ids");
    Ok((number()?, number()?))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} ended with {}: {errors}",
        command.get_program().display(),
        output.status
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::swaks;

    #[test]
    fn postfix_takes_and_hands_on_what_swaks_sends() {
        let next_hop = &mut Postfix::next_hop("dst.test").unwrap();
        let origin = Postfix::origin(next_hop.address()).unwrap();
        let output =
            swaks(origin.address(), &["--from", "a@src.test", "--to", "b@dst.test", "--body", "hello"])
                .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let mailbox = next_hop.until_mailbox(1).unwrap();
        assert!(String::from_utf8_lossy(&mailbox[0]).contains("\nhello\n"));
    }
}
