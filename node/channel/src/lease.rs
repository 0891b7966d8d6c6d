//! The publisher's lease: which of several operators publishes to a channel. Plain data; that there is one holder is a matter of the channel
//! (`scripts/common/lease.lua`; in a folder, of the lock of the state that it belongs to).

use std::{fmt, io, time::Duration};

use aws_lc_rs::rand;

/// How long it lives without being renewed: three of the looks by which a publisher renews it.
pub const LEASE: Duration = Duration::from_secs(10);

/// The most characters of who somebody is: it is for a person.
const WHO_LENGTH: usize = 512;

/// As whom a publisher publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How often the leadership changed hands: a later leader takes over from an earlier one at once.
    pub transitions: u64,
    /// Whose it is. Who has the same id is the same, started again.
    pub id: String,
    /// Who that is, for the person who finds two of them.
    pub who: String,
}

/// Another one, who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// How often the leadership had changed hands when it began.
    pub transitions: u64,
    /// Who it is, in its own words.
    who: String,
}

impl Lease {
    /// A lease of this name.
    #[must_use]
    pub fn new(transitions: u64, id: impl Into<String>, who: &str) -> Self {
        Self { transitions, id: id.into(), who: readable(who) }
    }

    /// An id that nobody else has.
    pub fn new_id() -> io::Result<String> {
        let mut octets = [0_u8; 16];
        rand::fill(&mut octets).map_err(|_| io::Error::other("no randomness"))?;
        Ok(format!("{:032x}", u128::from_be_bytes(octets)))
    }
}

impl Holder {
    pub(crate) fn new(transitions: u64, who: &str) -> Self {
        Self { transitions, who: readable(who) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.who.is_empty() { "it does not say who it is" } else { &self.who })
    }
}

/// What goes to a log is one line, and not a long one, whoever wrote it.
fn readable(who: &str) -> String {
    who.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHO_LENGTH).collect()
}
