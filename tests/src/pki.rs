//! Certificates of the test's own: an authority, what it signs, and what it should not have signed. The `openssl` command makes them; files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::{binaries, wire};

/// A certificate authority. Its files go with its scope.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate; its root is not with it.
    pub chain: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new root. Two of them have nothing in common.
    pub fn new() -> Result<Self> {
        let authority = Self { folder: folder()? };
        authority.make("root", &["-subj", "/CN=Root of a test", "-extensions", "root"], &[])?;
        Ok(authority)
    }

    /// Its root, in PEM.
    pub fn root(&self) -> Result<String> {
        Ok(fs::read_to_string(self.root_file())?)
    }

    /// The file that its root is in, for programs that want one.
    #[must_use]
    pub fn root_file(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A certificate for these host names and addresses, good for a month.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        let (root, key) = (self.path("root.pem"), self.path("root.key"));
        self.make(
            "server",
            &["-subj", "/CN=server", "-extensions", "server", "-CA", &root, "-CAkey", &key],
            names,
        )
    }

    /// One whose month was in 2020.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Identity> {
        self.issue_until(names, "2020-02-01T00:00:00Z".parse::<Timestamp>()?.into())
    }

    /// One that is good from 2020 until then, to the second.
    pub fn issue_until(&self, names: &[&str], end: SystemTime) -> Result<Identity> {
        let end = Timestamp::try_from(end)?.strftime("%Y%m%d%H%M%SZ").to_string();
        let folder = self.folder.path();
        write_configuration(folder, names)?;
        let mut request = openssl("req")?;
        request.args(KEY).args([
            "-new",
            "-subj",
            "/CN=server",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ]);
        run(request.current_dir(folder))?;
        fs::write(folder.join("index.txt"), "")?;
        let mut sign = openssl("ca")?;
        sign.args(["-batch", "-notext", "-config", CONFIGURATION, "-in", "server.csr", "-out", "server.pem"]);
        sign.args(["-cert", "root.pem", "-keyfile", "root.key", "-extensions", "server"]);
        sign.args(["-startdate", "20200101000000Z", "-enddate", &end]);
        run(sign.current_dir(folder))?;
        self.identity("server")
    }

    fn make(&self, name: &str, arguments: &[&str], names: &[&str]) -> Result<Identity> {
        make(self.folder.path(), name, arguments, names)?;
        self.identity(name)
    }

    fn identity(&self, name: &str) -> Result<Identity> {
        read(self.folder.path(), name)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }
}

/// A certificate that nobody but itself vouches for.
pub fn self_signed(names: &[&str]) -> Result<Identity> {
    let folder = folder()?;
    make(folder.path(), "server", &["-subj", "/CN=server", "-extensions", "server"], names)?;
    read(folder.path(), "server")
}

impl Identity {
    /// The manifest of a Secret that has it, in the namespace `mail`.
    #[must_use]
    pub fn secret(&self, name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: mail}}\ntype: kubernetes.io/tls\nstringData:\n  \
             tls.crt: |\n{}  tls.key: |\n{}",
            indented(&self.chain),
            indented(&self.key)
        )
    }

    /// Writes it to `FOLDER/NAME.pem` and `FOLDER/NAME.key`, readable for all: peers run as other users.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let files = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&files.0, &self.chain)?;
        fs::write(&files.1, &self.key)?;
        Ok(files)
    }

    /// Its certificate as it goes over the wire.
    pub fn certificate(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(self.chain.as_bytes())?)
    }

    /// A server that shows it.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(wire::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}

/// As a block of YAML.
#[must_use]
pub fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["    ", line, "\n"]).collect()
}

const CONFIGURATION: &str = "openssl.cnf";

/// ECDSA: a key takes no time to make.
const KEY: [&str; 7] =
    ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-config", CONFIGURATION];

fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("posthouse-pki-").tempdir()?)
}

/// Makes a key and a certificate by `openssl req -x509`.
fn make(folder: &Path, name: &str, arguments: &[&str], names: &[&str]) -> Result<()> {
    write_configuration(folder, names)?;
    let mut command = openssl("req")?;
    command.args(["-x509", "-days", "30"]).args(KEY).args(arguments);
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
    run(command.current_dir(folder))
}

fn read(folder: &Path, name: &str) -> Result<Identity> {
    let text = |ending: &str| fs::read_to_string(folder.join(format!("{name}.{ending}")));
    Ok(Identity { chain: text("pem")?, key: text("key")? })
}

fn write_configuration(folder: &Path, names: &[&str]) -> Result<()> {
    let kind = |name: &str| if name.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    let names: Vec<String> = names.iter().map(|name| format!("{}:{name}", kind(name))).collect();
    let alternatives =
        if names.is_empty() { String::new() } else { format!("subjectAltName = {}\n", names.join(",")) };
    let text = format!(
        "[req]\ndistinguished_name = name\n[name]\n\
         [root]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n\
         [server]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth\n\
         subjectKeyIdentifier = hash\n{alternatives}\
         [ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nnew_certs_dir = .\ndefault_md = sha256\npolicy = any\nrand_serial = yes\n\
         unique_subject = no\n[any]\ncommonName = supplied\n"
    );
    Ok(fs::write(folder.join(CONFIGURATION), text)?)
}

fn openssl(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(binaries::system("openssl", "openssl")?);
    command.arg(subcommand);
    Ok(command)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("starting openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use rustls::CertificateError;

    use super::*;
    use crate::wire::{Stream, Trust};

    /// Makes a handshake with a server that has this identity; the client's error, if it does not take it.
    fn handshake(identity: &Identity, name: &str, trust: &Trust) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = identity.server().unwrap();
        let serving = thread::spawn(move || {
            let _ = Stream::Clear(listener.accept().unwrap().0).serve_tls(&server);
        });
        let called = Stream::Clear(TcpStream::connect(address).unwrap()).call_tls(name, trust);
        let error = called.err().map(|error| format!("{error:#}"));
        serving.join().unwrap();
        error
    }

    #[test]
    fn a_certificate_is_good_for_its_names_under_its_root_and_no_other() {
        let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let identity = authority.issue(&["mail.test", "127.0.0.1"]).unwrap();
        let trust = Trust::Root(authority.root().unwrap());
        assert_eq!(handshake(&identity, "mail.test", &trust), None);
        assert_eq!(handshake(&identity, "127.0.0.1", &trust), None);
        let wrong = handshake(&identity, "other.test", &trust).unwrap();
        assert!(wrong.contains("not valid for name"), "{wrong}");
        let unknown = handshake(&identity, "mail.test", &Trust::Root(other.root().unwrap())).unwrap();
        assert!(
            unknown.contains(&format!("{:?}", CertificateError::UnknownIssuer))
                || unknown.contains(&format!("{:?}", CertificateError::BadSignature)),
            "{unknown}"
        );
        assert_eq!(handshake(&identity, "other.test", &Trust::Anybody), None);
    }

    #[test]
    fn an_expired_and_a_self_signed_certificate_are_refused() {
        let authority = Authority::new().unwrap();
        let trust = Trust::Root(authority.root().unwrap());
        let expired =
            handshake(&authority.issue_expired(&["mail.test"]).unwrap(), "mail.test", &trust).unwrap();
        assert!(expired.contains("expired"), "{expired}");
        let own = handshake(&self_signed(&["mail.test"]).unwrap(), "mail.test", &trust).unwrap();
        assert!(own.contains("UnknownIssuer"), "{own}");
    }
}
