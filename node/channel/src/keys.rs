//! The folder of a gateway's sealing keys: a Secret that is mounted, or a folder of the state. It reads files, and makes the first key.
//!
//! Each file is a key, named by a number; the greatest is the newest. A rotation adds the next number, and takes the old one away once nothing
//! is sealed with it any more.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use posthouse_config::{KEY_LENGTH, SealingKey};

use crate::{
    ChannelError,
    directory::{failed, files, make_folder, read_bounded, replace},
};

/// Enough for a key in base64 with white space around it.
const KEY_FILE: usize = 256;

/// The keys of one gateway.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
}

/// What a folder of keys has.
#[derive(Debug)]
pub struct Keys {
    /// The keys, the newest first; at least one.
    pub good: Vec<SealingKey>,
    /// Files that are named as a key and hold none.
    pub bad: Vec<KeyFolderError>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFolderError {
    /// The folder or a file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ChannelError),
    /// A file holds no key.
    #[error("{}: {why}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no file with a key.
    #[error("{}: there is no sealing key in this folder: a key is a file whose name is a number", .0.display())]
    Empty(PathBuf),
}

impl KeyFolder {
    /// The keys in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, the newest first; at least one. A file that holds none is an error, for whoever seals: nobody shall think that a key is in use
    /// which is not.
    pub fn read(&self) -> Result<Vec<SealingKey>, KeyFolderError> {
        let Keys { good, bad } = self.look()?;
        bad.into_iter().next().map_or(Ok(good), Err)
    }

    /// The keys that there are, at least one, and what is none, for whoever opens: one bad file takes no other key away.
    pub fn look(&self) -> Result<Keys, KeyFolderError> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for path in files(&self.path)? {
            // A mounted Secret has names that begin with a dot beside its keys.
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            let Some(number) = number else { continue };
            match read_key(path) {
                Ok(key) => good.extend(key.map(|key| (number, key))),
                Err(error) => bad.push(error),
            }
        }
        if good.is_empty() {
            return Err(bad.into_iter().next().unwrap_or_else(|| KeyFolderError::Empty(self.path.clone())));
        }
        good.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(Keys { good: good.into_iter().map(|(_, key)| key).collect(), bad })
    }

    /// Makes the first key of a folder that has none.
    pub fn create(&self) -> Result<(), KeyFolderError> {
        make_folder(&self.path)?;
        let path = self.path.join("1");
        let mut octets = [0; KEY_LENGTH];
        rand::fill(&mut octets)
            .map_err(|_| failed("make the key", &path)(std::io::Error::other("no randomness")))?;
        Ok(replace(&path, format!("{}\n", STANDARD.encode(octets)).as_bytes(), true)?)
    }
}

/// The key in a file; nothing where the file is gone by now.
fn read_key(path: PathBuf) -> Result<Option<SealingKey>, KeyFolderError> {
    let text = match read_bounded(&path, KEY_FILE) {
        Ok(text) => text,
        Err(ChannelError::Damaged { why, .. }) => return Err(KeyFolderError::NoKey { path, why }),
        Err(error) => return Err(error.into()),
    };
    let key = text.map(|text| SealingKey::parse(&String::from_utf8_lossy(&text))).transpose();
    key.map_err(|why| KeyFolderError::NoKey { path, why: why.to_string() })
}
