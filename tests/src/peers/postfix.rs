//! A Postfix of the test's own: configuration, queue and mailboxes in a temporary folder, on an ephemeral port. The system's instance is
//! neither used nor touched. Postfix wants to be started by root.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::user;
use crate::pki::Identity;
use crate::process::{Child, free_address};
use crate::smtp::Client;
use crate::wire::Trust;
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
        Self::start(&next_hop(domain))
    }

    /// A next hop that shows this certificate, with more settings: `smtpd_tls_security_level = may` is its own, `encrypt` would require TLS,
    /// `smtpd_tls_wrappermode = yes` begin with it.
    pub fn secure_next_hop(domain: &str, identity: &Identity, more: &str) -> Result<Self> {
        Self::secure(identity, &format!("{}{more}", next_hop(domain)))
    }

    /// A next hop that takes mail only under TLS, and only of this user; Cyrus SASL knows the user, by these mechanisms (`PLAIN LOGIN`).
    pub fn submission(
        domain: &str,
        identity: &Identity,
        (login, password): (&str, &str),
        mechanisms: &str,
    ) -> Result<Self> {
        let folder = folder()?;
        identity.write(folder.path(), "server")?;
        // Debian's Postfix looks for Cyrus' settings below those of its own.
        let sasl = folder.path().join("conf/sasl");
        fs::create_dir_all(&sasl)?;
        let users = sasl.join("users");
        let conf = format!(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\nmech_list: {mechanisms}\n",
            users.display()
        );
        fs::write(sasl.join("smtpd.conf"), conf)?;
        let mut command = Command::new(binaries::system("saslpasswd2", "sasl2-bin")?);
        command.args(["-p", "-c", "-u", "postfix.test", "-f"]).arg(&users).arg(login);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("it has an input")?.write_all(password.as_bytes())?;
        ensure!(child.wait()?.success(), "saslpasswd2 refused {login}");
        let (uid, gid) = user("postfix")?;
        chown(users, Some(uid), Some(gid))?;
        Self::start_in(folder, &format!("{}{SECURE}{SASL}", next_hop(domain)))
    }

    /// An origin: takes mail from loopback and hands all of it to `relay`.
    pub fn origin(relay: SocketAddr) -> Result<Self> {
        Self::origin_with(relay, "")
    }

    /// The same with more settings, such as `smtp_tls_security_level = encrypt`.
    pub fn origin_with(relay: SocketAddr, more: &str) -> Result<Self> {
        Self::start(&format!(
            "relayhost = [{}]:{}\nsmtp_dns_support_level = disabled\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n\
             queue_run_delay = 1s\nsmtp_tls_loglevel = 1\n{more}",
            relay.ip(),
            relay.port()
        ))
    }

    /// An instance that shows this certificate, with more settings.
    pub fn secure(identity: &Identity, more: &str) -> Result<Self> {
        let folder = folder()?;
        identity.write(folder.path(), "server")?;
        Self::start_in(folder, &format!("{SECURE}{more}"))
    }

    /// An instance with these lines in main.cf; FOLDER, UID and GID are filled in.
    pub fn start(settings: &str) -> Result<Self> {
        Self::start_in(folder()?, settings)
    }

    fn start_in(folder: TempDir, settings: &str) -> Result<Self> {
        let address = free_address()?;
        let (uid, gid) = user("postfix")?;
        // Its daemons run as another user and must get in.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir_all(folder.path().join(name))?;
        }
        for name in ["data", "mail"] {
            chown(folder.path().join(name), Some(uid), Some(gid))?;
        }
        let conf = folder.path().join("conf");
        let main = merged(MAIN, settings);
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
        postfix.until_greeting(settings.contains("smtpd_tls_wrappermode = yes"))?;
        Ok(postfix)
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole messages delivered so far, in no particular order.
    pub fn mailbox(&self) -> Result<Vec<Vec<u8>>> {
        super::maildir(&self.folder.path().join("mail/all"))
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

    fn until_greeting(&mut self, wrapped: bool) -> Result<()> {
        let address = self.address;
        let connect = || {
            if wrapped {
                Client::connect_tls(address, "postfix.test", &Trust::Anybody)
            } else {
                Client::connect(address)
            }
        };
        let greets = || Ok(connect().ok().filter(|client| client.greeting.code == 220));
        let greeted = self.master.until("Postfix to greet", wait::SOON, greets);
        greeted.map(drop).with_context(|| self.log())
    }
}

fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("posthouse-postfix-").tempdir()?)
}

fn next_hop(domain: &str) -> String {
    format!(
        "virtual_mailbox_domains = {domain}\nvirtual_mailbox_base = FOLDER/mail\nvirtual_mailbox_maps = static:all/\n\
         virtual_uid_maps = static:UID\nvirtual_gid_maps = static:GID\nvirtual_minimum_uid = 1\n"
    )
}

/// Settings of which the later take the place of the earlier: Postfix would warn.
fn merged(first: &str, then: &str) -> String {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let mut settings: Vec<&str> = Vec::new();
    for line in first.lines().chain(then.lines()) {
        settings.retain(|earlier| name(earlier) != name(line));
        settings.push(line);
    }
    settings.join("\n") + "\n"
}

const SECURE: &str = "\
smtpd_tls_security_level = may
smtpd_tls_cert_file = FOLDER/server.pem
smtpd_tls_key_file = FOLDER/server.key
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
";

const SASL: &str = "\
smtpd_tls_security_level = encrypt
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = postfix.test
smtpd_sasl_security_options = noanonymous
smtpd_sasl_authenticated_header = yes
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
";

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
        ("rewrite", "unix", "-", "-", "trivial-rewrite"),
        ("bounce", "unix", "-", "0", "bounce"),
        ("defer", "unix", "-", "0", "bounce"),
        ("trace", "unix", "-", "0", "bounce"),
        ("proxymap", "unix", "-", "-", "proxymap"),
        ("tlsmgr", "unix", "1000", "1", "tlsmgr"),
        ("smtp", "unix", "-", "-", "smtp"),
        ("relay", "unix", "-", "-", "smtp"),
        // It keeps encrypted connections to a next hop.
        ("tlsproxy", "unix", "-", "0", "tlsproxy"),
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
    use crate::pki::Authority;

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

    #[test]
    fn postfix_hands_on_over_tls_to_a_certificate_that_it_knows() {
        let authority = Authority::new().unwrap();
        let identity = authority.issue(&["postfix.test"]).unwrap();
        let next_hop = &mut Postfix::secure_next_hop("dst.test", &identity, "").unwrap();
        let verify = format!(
            "smtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = postfix.test\nsmtp_tls_CAfile = {}\n",
            authority.root_file().display()
        );
        let origin = Postfix::origin_with(next_hop.address(), &verify).unwrap();
        let sent =
            Client::hello(origin.address()).unwrap().send("a@src.test", &["b@dst.test"], b"\r\nhi\r\n");
        assert_eq!(sent.unwrap().code, 250);
        let mailbox = next_hop.until_mailbox(1).with_context(|| origin.log()).unwrap();
        assert!(String::from_utf8_lossy(&mailbox[0]).contains("with ESMTPS"));
        assert!(origin.log().contains("Verified TLS connection"), "{}", origin.log());
    }

    #[test]
    fn postfix_lets_in_whom_cyrus_sasl_knows() {
        let identity = crate::pki::self_signed(&["postfix.test"]).unwrap();
        let next_hop = &mut Postfix::submission("dst.test", &identity, ("u", "p"), "PLAIN LOGIN").unwrap();
        for (password, code) in [("x", 28), ("p", 0)] {
            let arguments = [
                "--to",
                "b@dst.test",
                "--tls",
                "--auth",
                "PLAIN",
                "--auth-user",
                "u",
                "--auth-password",
                password,
            ];
            let output = swaks(next_hop.address(), &arguments).unwrap();
            // 28: authentication failed.
            assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
        }
        next_hop.until_mailbox(1).unwrap();
    }
}
