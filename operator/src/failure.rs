//! Why a command could not do what it was asked: each line names what, why, and the cure. Pure.

use std::{io, net::SocketAddr, path::PathBuf};

use posthouse_channel::{ChannelError, KeyFolderError};

use crate::reader::ReaderError;

/// Usage or I/O: exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The manifests cannot be read at all.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// Nobody takes the output.
    #[error("standard output cannot be written: {0}; give it a reader")]
    Output(#[source] io::Error),
    /// A snapshot has no encoding.
    #[error("the snapshot of {gateway} cannot be encoded: {source}; report it, with the manifests")]
    Encoding { gateway: String, source: serde_json::Error },
    /// The question needs one gateway.
    #[error("there are several gateways: {names}; say which one with --gateway")]
    SeveralGateways { names: String },
    /// The gateway that was named is not there.
    #[error("there is no gateway {name} that compiles; there is {names}")]
    NoSuchGateway { name: String, names: String },
    /// An address on the command line is none.
    #[error("{option} {text}: {why}; write it as local-part@domain")]
    Address { option: &'static str, text: String, why: String },
    /// Several nodes or gateways would want one port.
    #[error("{what} would want the same ports; add --ephemeral-ports")]
    SamePorts { what: String },
    /// The embedded queue belongs to one process.
    #[error(
        "--nodes {nodes} with the embedded queue: one process holds it; add --redis URL, or leave --nodes out"
    )]
    OneNodeOnly { nodes: u16 },
    /// There is no default folder for the state.
    #[error(
        "neither XDG_STATE_HOME nor HOME is set, so there is no place for the queue; name one with --state"
    )]
    NoStateFolder,
    /// Another run uses the state.
    #[error("{}: another run{} uses this state; stop it, or name another folder with --state", path.display(), pid.as_deref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    StateInUse { path: PathBuf, pid: Option<String> },
    /// The state folder fails.
    #[error("{}: cannot {doing}: {source}; name a folder that can be written with --state", path.display())]
    State { doing: &'static str, path: PathBuf, source: io::Error },
    /// No run ever said anything in this state.
    #[error("{}: there are no statuses; name the state folder of a local run with --state (the run logs it when it begins)", path.display())]
    NoStatuses { path: PathBuf },
    /// A text that is no kind.
    #[error("there is no kind {text}; there is {names}")]
    NoSuchKind { text: String, names: String },
    /// A resource of which nothing was said.
    #[error("there is no {what}; see what there is without the name")]
    NoSuchResource { what: String },
    /// The channel to the nodes fails.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A sealing key fails.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// A port is taken.
    #[error("{}", cannot_listen(what, *address, source))]
    Listen { what: String, address: SocketAddr, source: io::Error },
    /// There is no node program.
    #[error("{}: there is no program posthouse-node; build it, or name it in POSTHOUSE_NODE", path.display())]
    NoNodeProgram { path: PathBuf },
    /// The system gives no runtime, no signals, no own path.
    #[error("cannot {doing}: {source}; see what the system lacks")]
    System { doing: &'static str, source: io::Error },
}

/// What to say of a listener that cannot be bound.
pub(crate) fn cannot_listen(what: &str, address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{what}: port {} is busy: another program listens on {address}; stop it, or use --ephemeral-ports",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{what}: {address} is no address of this machine; name one with --listen")
        }
        _ => format!("{what}: cannot listen on {address}: {error}; choose another port or address"),
    }
}
