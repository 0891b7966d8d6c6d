//! The state folder: who may use it, what lies where, and `local.json`. It does file I/O.
//!
//! ```text
//! STATE/lock                                held by the run that uses it
//! STATE/publisher                           the id by which its runs publish: made once
//! STATE/local.json                          the running nodes; absent until all are ready
//! STATE/claims.json                         who holds what, for the run after this
//! STATE/status/KIND.NAMESPACE.NAME.yaml     the status of a resource
//! STATE/gateways/NAMESPACE.NAME/config      the snapshots of one gateway, sealed, and what its nodes report
//! STATE/gateways/NAMESPACE.NAME/keys        what they are sealed with
//! STATE/gateways/NAMESPACE.NAME/…           what its nodes keep: the embedded queue, their socket
//! ```

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf, absolute},
};

use posthouse_channel::Lease;
use posthouse_compiler::{Claims, ObjectKey};
use posthouse_config::SnapshotHash;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::failure::Failure;

/// How often the leader changed: a local run has no other.
const TRANSITIONS: u64 = 0;

/// The fewest characters of an id: what is shorter was left half written.
const ID_LENGTH: usize = 32;

/// A state folder that this process holds. It is free again when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    lease: Lease,
    _lock: File,
}

/// What `local.json` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LocalRun {
    /// In a stable order: by gateway, then by number.
    pub(super) nodes: Vec<LocalNode>,
}

/// A node in `local.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LocalNode {
    pub(super) gateway: String,
    pub(super) node: String,
    pub(super) pid: u32,
    pub(super) metrics: SocketAddr,
    pub(super) listeners: Vec<LocalListener>,
}

/// A listener in `local.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LocalListener {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) address: SocketAddr,
}

impl State {
    /// Takes the folder, and makes it if it is absent. What a run before left in `local.json` is not true any more, so the file goes.
    pub(super) fn take(folder: &Path) -> Result<Self, Failure> {
        let failed = |doing| {
            let path = folder.to_owned();
            move |source| Failure::State { doing, path, source }
        };
        let folder = absolute(folder).map_err(failed("be found"))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed("be made"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(folder.join("lock")).map_err(failed("be locked"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let pid = lock.read_to_string(&mut pid).ok().map(|_| pid.trim().to_owned());
            return Err(Failure::StateInUse { path: folder, pid: pid.filter(|pid| !pid.is_empty()) });
        }
        let written = lock.set_len(0).and_then(|()| lock.rewind());
        written.and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed("be locked"))?;
        let id = publisher_id(&folder.join("publisher")).map_err(failed("be given an id"))?;
        let lease = Lease::new(TRANSITIONS, id, &who(&folder));
        let state = Self { folder, lease, _lock: lock };
        state.remove_local_run()?;
        Ok(state)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// As whom the runs on this state publish.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The folder of one gateway. A namespace has no dot, so no two gateways share one.
    pub(super) fn gateway_folder(&self, gateway: &ObjectKey) -> PathBuf {
        self.folder.join("gateways").join(format!("{}.{}", gateway.namespace, gateway.name))
    }

    /// Replaces `local.json` by rename: a reader sees the old one or the new one.
    pub(super) fn write_local_run(&self, run: &LocalRun) -> Result<(), Failure> {
        let (file, beside) = (self.local_json(), self.folder.join("local.json.new"));
        let written = serde_json::to_vec(run)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, &file));
        written.map_err(|source| Failure::State { doing: "be written", path: file, source })
    }

    /// Takes `local.json` away.
    pub(super) fn remove_local_run(&self) -> Result<(), Failure> {
        let path = self.local_json();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Failure::State { doing: "be removed", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Who held what in the run before. Without it a name that two want is nobody's, but all else goes on: no reason to end.
    pub(super) fn claims(&self) -> Claims {
        let file = self.claims_json();
        let read = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Claims::default(),
            read => read.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from)),
        };
        read.unwrap_or_else(|error| {
            tracing::warn!(
                "{}: cannot be read: {error}; who held a name before this run is not known, so one that several claim is nobody's",
                file.display()
            );
            Claims::default()
        })
    }

    /// Replaces what is remembered of who holds what, by rename.
    pub(super) fn write_claims(&self, claims: &Claims) -> Result<(), Failure> {
        let (file, beside) = (self.claims_json(), self.folder.join("claims.json.new"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = serde_json::to_vec(claims).map_err(io::Error::from).and_then(|text| {
            let mut new = options.open(&beside)?;
            new.write_all(&text)?;
            new.sync_all()?; // a rename may reach the disk before what it names
            fs::rename(&beside, &file)
        });
        written.map_err(|source| Failure::State { doing: "be written", path: file, source })
    }

    fn claims_json(&self) -> PathBuf {
        self.folder.join("claims.json")
    }

    fn local_json(&self) -> PathBuf {
        self.folder.join("local.json")
    }
}

/// The id in this file, which is made if it is absent or damaged. One that is new only waits until the lease of the old one lapses.
fn publisher_id(file: &Path) -> io::Result<String> {
    let found = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        found => found?,
    };
    let is_id = |id: &str| id.len() == ID_LENGTH && id.chars().all(|c| c.is_ascii_hexdigit());
    if is_id(found.trim()) {
        return Ok(found.trim().to_owned());
    }
    let id = Lease::new_id()?;
    fs::write(file, format!("{id}\n"))?;
    Ok(id)
}

/// Who this is, for the person who finds that two operators publish to one place.
fn who(folder: &Path) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "an unknown host" } else { host.trim() };
    format!("process {} on {host} with the state {}", std::process::id(), folder.display())
}

/// Where the state of a folder of manifests lies if the user does not say: each folder has its own, so that runs live side by side.
pub(super) fn default_folder(manifests: &Path) -> Result<PathBuf, Failure> {
    let of_variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = of_variable("XDG_STATE_HOME")
        .or_else(|| Some(of_variable("HOME")?.join(".local/state")))
        .ok_or(Failure::NoStateFolder)?;
    let manifests = fs::canonicalize(manifests).or_else(|_| absolute(manifests));
    let manifests = manifests.unwrap_or_default();
    let hash = SnapshotHash::of(manifests.as_os_str().as_encoded_bytes()).to_string();
    Ok(base.join("posthouse").join(hash.get(..16).unwrap_or(&hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_on_one_state_refuse_clearly() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::take(folder.path()).unwrap();
        let error = State::take(folder.path()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("another run (process {pid}) uses this state")), "{error}");
        drop(first);
        State::take(folder.path()).unwrap();
    }

    #[test]
    fn a_state_keeps_its_publishers_id() {
        let folder = tempfile::tempdir().unwrap();
        let take = || State::take(folder.path()).unwrap().lease().clone();
        let first = take();
        assert_eq!(take(), first);
        assert!(first.who.contains(&format!("process {}", std::process::id())), "{first:?}");
        fs::write(folder.path().join("publisher"), "half").unwrap();
        let other = take();
        assert_ne!(other.id, first.id);
        assert_eq!(take().id, other.id);
    }

    #[test]
    fn what_a_run_before_said_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("local.json");
        fs::write(&file, "{}").unwrap();
        let state = State::take(folder.path()).unwrap();
        assert!(!file.exists());
        state.write_local_run(&LocalRun::default()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), r#"{"nodes":[]}"#);
    }

    #[test]
    fn claims_are_kept_for_the_owner_alone_and_damage_is_no_failure() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let state = State::take(folder.path()).unwrap();
        assert_eq!(state.claims(), Claims::default());
        let held = r#"[{"what":{"QueueId":"q"},"by":{"namespace":"mail","name":"edge"}}]"#;
        state.write_claims(&serde_json::from_str(held).unwrap()).unwrap();
        let file = folder.path().join("claims.json");
        assert_eq!(fs::read_to_string(&file).unwrap(), held);
        assert_eq!(serde_json::to_string(&state.claims()).unwrap(), held);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "[{").unwrap();
        assert_eq!(state.claims(), Claims::default());
    }

    #[test]
    fn the_documented_form_is_written() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let smtp = LocalListener { name: "smtp".into(), protocol: "Smtp".into(), address: address(10025) };
        let node = LocalNode {
            gateway: "mail/edge".into(),
            node: "edge-0".into(),
            pid: 7,
            metrics: address(9),
            listeners: vec![smtp],
        };
        assert_eq!(
            serde_json::to_string(&LocalRun { nodes: vec![node] }).unwrap(),
            r#"{"nodes":[{"gateway":"mail/edge","node":"edge-0","pid":7,"metrics":"127.0.0.1:9","listeners":[{"name":"smtp","protocol":"Smtp","address":"127.0.0.1:10025"}]}]}"#
        );
    }

    #[test]
    fn each_folder_of_manifests_has_a_state_of_its_own() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = |path: &tempfile::TempDir| default_folder(path.path()).ok();
        assert_eq!(folder(&one), folder(&one));
        assert!(folder(&one).is_none() || folder(&one) != folder(&other));
    }
}
