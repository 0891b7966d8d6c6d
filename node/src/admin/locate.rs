//! Finds the queues below a state folder: `STATE/gateways/NAMESPACE.NAME/`, each with `queue/` and, while a node runs, `node.sock`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The name of the socket in a gateway's folder.
pub const SOCKET: &str = "node.sock";

/// The name of the embedded queue's folder in a gateway's folder.
pub const QUEUE: &str = "queue";

/// The name of the snapshots' folder in a gateway's folder.
pub const CONFIG: &str = "config";

/// The name of the sealing keys' folder in a gateway's folder.
pub const KEYS: &str = "keys";

/// A gateway's part of a state folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayState {
    /// `namespace/name`.
    pub gateway: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// Why no gateway was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The folder cannot be read.
    #[error("cannot read {}: {source}", folder.display())]
    Read {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no gateway.
    #[error("{} holds no gateway's queue: name the folder that `posthouse-operator local --state` was given", folder.display())]
    None {
        /// Where was looked.
        folder: PathBuf,
    },
    /// There is none of that name.
    #[error("there is no gateway {wanted} here, but: {there}")]
    Unknown {
        /// The name asked for.
        wanted: String,
        /// Those that there are.
        there: String,
    },
    /// There are several, and none was named.
    #[error("there are several gateways here: name one with --gateway ({there})")]
    Several {
        /// Those that there are.
        there: String,
    },
}

/// All gateways below a state folder, sorted by name.
pub fn all(state: &Path) -> Result<Vec<GatewayState>, LocateError> {
    let folder = state.join("gateways");
    let read = |source| LocateError::Read { folder: folder.clone(), source };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LocateError::None { folder: state.to_owned() });
        }
        entries => entries.map_err(read)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        // A namespace has no dot (RFC 1123 label), a gateway's name may: the first dot parts them.
        if let Some((namespace, gateway)) = name.to_str().and_then(|name| name.split_once('.')) {
            found.push(GatewayState { gateway: format!("{namespace}/{gateway}"), folder: entry.path() });
        }
    }
    found.sort_by(|a, b| a.gateway.cmp(&b.gateway));
    if found.is_empty() { Err(LocateError::None { folder: state.to_owned() }) } else { Ok(found) }
}

/// The gateway that is meant: the one named, or the only one.
pub fn one<T>(mut found: Vec<T>, name: impl Fn(&T) -> &str, wanted: Option<&str>) -> Result<T, LocateError> {
    let there = found.iter().map(&name).collect::<Vec<_>>().join(", ");
    match wanted {
        Some(wanted) => found
            .into_iter()
            .find(|gateway| name(gateway) == wanted)
            .ok_or_else(|| LocateError::Unknown { wanted: wanted.to_owned(), there }),
        None if found.len() > 1 => Err(LocateError::Several { there }),
        None => found.pop().ok_or_else(|| LocateError::None { folder: PathBuf::new() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_found_by_their_folders_and_one_must_be_named_where_there_are_several() {
        let state = tempfile::tempdir().unwrap();
        assert!(matches!(all(state.path()), Err(LocateError::None { .. })));
        for name in ["mail.edge", "mail.edge.two"] {
            fs::create_dir_all(state.path().join("gateways").join(name)).unwrap();
        }
        let found = all(state.path()).unwrap();
        let name = |gateway: &GatewayState| -> String { gateway.gateway.clone() };
        assert_eq!(found.iter().map(name).collect::<Vec<_>>(), ["mail/edge", "mail/edge.two"]);
        let pick = |wanted| one(found.clone(), |gateway: &GatewayState| gateway.gateway.as_str(), wanted);
        assert!(
            matches!(pick(None), Err(LocateError::Several { there }) if there == "mail/edge, mail/edge.two")
        );
        assert!(matches!(pick(Some("mail/other")), Err(LocateError::Unknown { .. })));
        assert_eq!(pick(Some("mail/edge")).unwrap().gateway, "mail/edge");
    }
}
