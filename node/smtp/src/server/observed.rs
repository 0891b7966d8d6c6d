//! What is learned of content as it streams by, whichever command brings it.

use super::ContentSummary;
use crate::content::{HeaderObserver, MimeHeaders};

/// Content above this is read in larger pieces.
const LARGE: u64 = 16 * 1024;

/// The content so far.
#[derive(Debug)]
pub(super) struct Observed {
    size: u64,
    eight_bit: bool,
    headers: HeaderObserver,
    /// Looked at where the client said SMTPUTF8.
    mime: Option<MimeHeaders>,
}

impl Observed {
    pub(super) fn new(smtputf8: bool) -> Self {
        Self {
            size: 0,
            eight_bit: false,
            headers: HeaderObserver::new(),
            mime: smtputf8.then(MimeHeaders::new),
        }
    }

    /// Whether the rest is worth reading in larger pieces.
    pub(super) fn is_large(&self) -> bool {
        self.size > LARGE
    }

    /// Octets so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Counts octets that came.
    pub(super) fn count(&mut self, octets: u64) {
        self.size = self.size.saturating_add(octets);
    }

    /// Looks at octets that were counted.
    pub(super) fn look(&mut self, octets: &[u8]) {
        self.headers.observe(octets);
        self.eight_bit = self.eight_bit || !octets.is_ascii();
        if let Some(mime) = &mut self.mime {
            mime.observe(octets);
        }
    }

    /// All of it has come.
    pub(super) fn summary(self) -> ContentSummary {
        let Self { size, eight_bit, headers, mime } = self;
        let utf8_header = mime.is_some_and(|mime| mime.is_beyond_ascii());
        let received = headers.received();
        ContentSummary { size, received, marks: headers.into_marks(), eight_bit, utf8_header }
    }
}
