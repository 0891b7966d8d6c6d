//! How many files the process may have open: a connection is one. Raises the soft limit to the hard one, which is what it is for; the soft one
//! is low for the sake of programs that use select. I/O: asks the kernel.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::events;

/// Files that are not connections of clients: the queue, connections to next hops, Redis, metrics, configuration.
const OTHER_FILES: u64 = 1_000;

/// Raises the limit; answers how many connections of clients there is room for, at most `wanted`. Says so if that is fewer.
pub fn make_room_for(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(event = "files_not_raised", error = %error);
            current
        }
    };
    let places = places(files, wanted);
    if places < wanted {
        events::FewFiles { files: files.unwrap_or(u64::MAX), places, wanted }.emit();
    }
    places
}

/// Connections that leave enough for the rest; none is no limit.
fn places(files: Option<u64>, wanted: usize) -> usize {
    let Some(files) = files else { return wanted };
    // A process that may open less than the rest needs is not helped by taking no mail at all.
    let left = files.saturating_sub(OTHER_FILES).max(files / 2);
    usize::try_from(left).map_or(wanted, |left| left.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(places(None, 12_000), 12_000);
        assert_eq!(places(Some(1_048_576), 12_000), 12_000);
        assert_eq!(places(Some(4_096), 12_000), 3_096);
        assert_eq!(places(Some(1_024), 12_000), 512);
    }
}
