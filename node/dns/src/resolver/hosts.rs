//! The system's own file of names (`/etc/hosts`; in a pod with the `hostAliases` in it), whose word comes before that of the name servers. It reads
//! that file, again when it changed.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use crate::name::HostName;

/// How often it is looked whether the file changed: a question more costs more than that.
const LOOK: Duration = Duration::from_secs(5);

/// Octets of the file that are read. Lists against advertising have some megabytes; whose names they are gets no mail.
const MOST_OCTETS: u64 = 4 << 20;

/// Addresses of one name.
const MOST_ADDRESSES: usize = 16;

type Names = HashMap<HostName, Vec<IpAddr>>;

/// The file.
pub(super) struct HostsFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    looked: Option<Instant>,
    /// When the file that was read had last changed, and its size; none: there was none.
    stamp: Option<(SystemTime, u64)>,
    names: Arc<Names>,
}

impl HostsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// The addresses of a name, in the order of the file; none if it does not have it.
    pub(super) fn find(&self, name: &HostName, now: Instant) -> Option<Vec<IpAddr>> {
        self.names(now).get(name).cloned()
    }

    fn names(&self, now: Instant) -> Arc<Names> {
        // What is in it is whole at every moment, whoever panicked.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK) {
            read.looked = Some(now);
            let stamp = stamp(&self.path);
            if stamp != read.stamp {
                read.stamp = stamp;
                // A file that cannot be read is as good as none: the name servers are asked.
                read.names = Arc::new(contents(&self.path).map(|text| parse(&text)).unwrap_or_default());
            }
        }
        Arc::clone(&read.names)
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn contents(path: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?.take(MOST_OCTETS).read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// hosts(5): an address, then its names; `#` begins a comment. What is no name of a host is passed over.
fn parse(text: &str) -> Names {
    let mut found = Names::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(line, _)| line);
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words.filter_map(|word| HostName::new(word.trim_end_matches('.')).ok()) {
            let addresses = found.entry(name).or_default();
            if addresses.len() < MOST_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let names = parse(
            "# made by a kubelet\n127.0.0.1\tlocalhost\n10.0.0.1 Relay.Corp relay  # ours\n\nfd00::1 relay.corp.\n\
             10.0.0.1 relay.corp\nnonsense relay.corp\n10.0.0.2\n10.0.0.3 not/a/name other\n",
        );
        let of = |name: &str| names.get(&HostName::new(name).unwrap()).cloned().unwrap_or_default();
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(of("relay.corp"), addresses(&["10.0.0.1", "fd00::1"]));
        assert_eq!(of("relay"), addresses(&["10.0.0.1"]));
        assert_eq!(of("other"), addresses(&["10.0.0.3"]));
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn a_file_that_changed_is_read_again_and_one_that_is_gone_has_no_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let (file, name) = (HostsFile::new(path.clone()), HostName::new("a.corp").unwrap());
        let begin = Instant::now();
        assert_eq!(file.find(&name, begin), None);
        fs::write(&path, "10.0.0.1 a.corp\n").unwrap();
        assert_eq!(file.find(&name, begin), None); // not looked at again so soon
        assert_eq!(file.find(&name, begin + LOOK), Some(vec!["10.0.0.1".parse().unwrap()]));
        fs::write(&path, "10.0.0.23 a.corp\n").unwrap();
        assert_eq!(file.find(&name, begin + 2 * LOOK), Some(vec!["10.0.0.23".parse().unwrap()]));
        fs::remove_file(&path).unwrap();
        assert_eq!(file.find(&name, begin + 3 * LOOK), None);
    }
}
