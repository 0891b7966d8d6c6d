//! A name server of the test's own: BIND's `named`, authoritative for zones that the test writes, on an ephemeral port of the loopback. Its log
//! tells what it was asked. [`Signed`] signs zones under a root of the test's own.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::Child;
use crate::{binaries, wait};

/// Starts that are tried: a port that was free may be taken before BIND has it.
const STARTS: usize = 10;

/// A zone as it is written.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name, without a final dot; the root is empty.
    pub name: String,
    /// How long an absence may be kept, in seconds: the minimum of its SOA.
    pub minimum: u32,
    /// Its records, in the form of a zone file, but SOA and NS; none: the zone cannot be loaded, and BIND answers SERVFAIL.
    pub records: Option<String>,
}

impl Zone {
    /// A zone of these records. What is absent from it may be kept for an hour.
    #[must_use]
    pub fn new(name: &str, records: &str) -> Self {
        Self { name: name.to_owned(), minimum: 3600, records: Some(records.to_owned()) }
    }

    /// The same, with another minimum in its SOA.
    #[must_use]
    pub fn with_minimum(mut self, seconds: u32) -> Self {
        self.minimum = seconds;
        self
    }

    /// A zone that its server should have and cannot load.
    #[must_use]
    pub fn broken(name: &str) -> Self {
        Self { name: name.to_owned(), minimum: 0, records: None }
    }

    fn origin(&self) -> String {
        format!("{}.", self.name)
    }

    /// The name of its file.
    fn file(&self) -> String {
        if self.name.is_empty() { "root.zone".to_owned() } else { format!("{}.zone", self.name) }
    }

    fn text(&self) -> Option<String> {
        let records = self.records.as_ref()?;
        let minimum = self.minimum;
        Some(format!(
            "$ORIGIN {}\n$TTL 3600\n@ SOA ns-of-test host-of-test 1 3600 600 86400 {minimum}\n@ NS ns-of-test\nns-of-test A 127.0.0.1\n{records}\n",
            self.origin()
        ))
    }
}

/// A running name server.
#[derive(Debug)]
pub struct Named {
    // Before the folder, so that nothing writes there any more when it goes.
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Named {
    /// Serves zones.
    pub fn start(zones: &[Zone]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-named-").tempdir()?;
        for zone in zones {
            if let Some(text) = zone.text() {
                fs::write(folder.path().join(zone.file()), text)?;
            }
        }
        let files: Vec<(String, String)> = zones.iter().map(|zone| (zone.origin(), zone.file())).collect();
        Self::serve(folder, &files)
    }

    fn serve(folder: TempDir, zones: &[(String, String)]) -> Result<Self> {
        for _ in 0..STARTS {
            let address = free_address()?;
            let mut child = launch(folder.path(), address, zones)?;
            let log = child.until("named to run", wait::SOON, || {
                let log = fs::read_to_string(folder.path().join("named.log"))?;
                Ok(log.contains(" running\n").then_some(log))
            })?;
            if !log.contains("address in use") && !log.contains("unable to listen") {
                return Ok(Self { child, address, folder });
            }
            drop(child);
            fs::remove_file(folder.path().join("named.log"))?;
        }
        bail!("no port of {STARTS} was free for named")
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked for records of `kind` of `name`: `asked("example.com", "MX")`.
    pub fn asked(&self, name: &str, kind: &str) -> Result<usize> {
        Ok(self.queries(name, kind)?.len())
    }

    /// How often it was asked so over TCP.
    pub fn asked_over_tcp(&self, name: &str, kind: &str) -> Result<usize> {
        // `query: example.com IN MX +E(0)TD (127.0.0.1)`
        let over_tcp = |flags: &String| flags.rsplit(')').next().is_some_and(|flags| flags.contains('T'));
        Ok(self.queries(name, kind)?.iter().filter(|flags| over_tcp(flags)).count())
    }

    /// The end of its log, to go with an error.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{} in {}", self.child.log_tail(), self.folder.path().display())
    }

    /// The flags of the queries for `kind` of `name`.
    fn queries(&self, name: &str, kind: &str) -> Result<Vec<String>> {
        let start = format!(" query: {name} IN {kind} ");
        let log = self.child.log()?;
        let flags = |line: &str| Some(line.split_once(&start)?.1.split(' ').next()?.to_owned());
        Ok(log.lines().filter_map(flags).collect())
    }
}

/// Zones signed under a root of their own, and the key that the root is trusted by.
#[derive(Debug)]
pub struct Signed {
    folder: TempDir,
    /// Delegations and DS records for the root.
    delegations: String,
    served: Vec<(String, String)>,
}

/// When the signatures of a zone hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// For a month from now on.
    Now,
    /// For a month of 2020.
    NoMore,
}

/// How a zone proves what it does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Denial {
    Nsec,
    Nsec3,
}

impl Signed {
    /// No zone yet.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-named-").tempdir()?;
        Ok(Self { folder, delegations: String::new(), served: Vec::new() })
    }

    /// A zone under the root that is signed.
    pub fn signed(&mut self, zone: &Zone, holds: Holds) -> Result<&mut Self> {
        let _ =
            writeln!(self.delegations, "{0} NS ns-of-test.{0}\nns-of-test.{0} A 127.0.0.1", zone.origin());
        self.sign(zone, holds, Denial::Nsec)?;
        self.delegate(zone)
    }

    /// The same, and absences are proven by hashes.
    pub fn signed_with_nsec3(&mut self, zone: &Zone) -> Result<&mut Self> {
        self.sign(zone, Holds::Now, Denial::Nsec3)?;
        self.delegate(zone)
    }

    fn delegate(&mut self, zone: &Zone) -> Result<&mut Self> {
        let _ =
            writeln!(self.delegations, "{0} NS ns-of-test.{0}\nns-of-test.{0} A 127.0.0.1", zone.origin());
        let set = fs::read_to_string(self.folder.path().join(format!("dsset-{}", zone.origin())))?;
        self.delegations.push_str(&set);
        Ok(self)
    }

    /// A zone under the root that is not signed, and the root proves it.
    pub fn unsigned(&mut self, zone: &Zone) -> Result<&mut Self> {
        let _ =
            writeln!(self.delegations, "{0} NS ns-of-test.{0}\nns-of-test.{0} A 127.0.0.1", zone.origin());
        let text = zone.text().context("a zone has records")?;
        fs::write(self.folder.path().join(zone.file()), text)?;
        self.served.push((zone.origin(), zone.file()));
        Ok(self)
    }

    /// Replaces text in a zone that is signed already.
    pub fn forge(&mut self, zone: &str, from: &str, to: &str) -> Result<&mut Self> {
        let path = self.folder.path().join(format!("{zone}.zone.signed"));
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{zone} has no {from}");
        fs::write(path, text.replace(from, to))?;
        Ok(self)
    }

    /// Signs the root and serves all of it; with the root's key, as a DNSKEY record.
    pub fn start(mut self) -> Result<(Named, String)> {
        let root = Zone::new("", &self.delegations);
        let key = self.sign(&root, Holds::Now, Denial::Nsec)?;
        Ok((Named::serve(self.folder, &self.served)?, key))
    }

    /// Signs a zone with a new key, which it returns.
    fn sign(&mut self, zone: &Zone, holds: Holds, denial: Denial) -> Result<String> {
        let folder = self.folder.path();
        let origin = zone.origin();
        let mut keygen = Command::new(binaries::system("dnssec-keygen", "bind9-utils")?);
        keygen.args(["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", &origin]);
        let name = run(keygen.current_dir(folder))?;
        let key = fs::read_to_string(folder.join(format!("{}.key", name.trim())))?;
        let text = zone.text().context("a zone has records")?;
        fs::write(folder.join(zone.file()), format!("{text}{key}"))?;
        let mut signzone = Command::new(binaries::system("dnssec-signzone", "bind9-utils")?);
        signzone.args(["-q", "-z", "-P", "-o", &origin]);
        if holds == Holds::NoMore {
            signzone.args(["-s", "20200101000000", "-e", "20200201000000"]);
        }
        if denial == Denial::Nsec3 {
            signzone.args(["-3", "-"]); // RFC 9276 §3.1: no salt
        }
        run(signzone.arg(zone.file()).arg(name.trim()).current_dir(folder))?;
        self.served.push((origin, format!("{}.signed", zone.file())));
        Ok(key)
    }
}

fn launch(folder: &Path, address: SocketAddr, zones: &[(String, String)]) -> Result<Child> {
    let mut conf = format!(
        "options {{ directory \"{}\"; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; pid-file none; session-keyfile none; \
         recursion no; dnssec-validation no; querylog yes; notify no; empty-zones-enable no; check-names primary ignore; }};\ncontrols {{ }};\n",
        folder.display(),
        address.port(),
        address.ip(),
    );
    for (origin, file) in zones {
        let _ = writeln!(conf, "zone \"{origin}\" {{ type primary; file \"{file}\"; }};");
    }
    fs::write(folder.join("named.conf"), conf)?;
    let mut command = Command::new(binaries::system("named", "bind9")?);
    command.args(["-g", "-4", "-n", "1", "-c"]).arg(folder.join("named.conf"));
    Child::start("named", command, folder)
}

/// A loopback address whose port is free for both transports.
fn free_address() -> Result<SocketAddr> {
    for _ in 0..STARTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {STARTS} was free")
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let program = command.get_program().display();
    ensure!(output.status.success(), "{program} ended with {}: {errors}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
