//! Watches the header of a message as it streams by: counts `Received` lines, for the loop limit of RFC 5321 §6.3.

/// The field that is counted.
const RECEIVED: &[u8] = b"received:";

/// Sees the header pass. Costs nothing once the header has ended.
#[derive(Clone, Debug, Default)]
pub struct HeaderObserver {
    received: u32,
    ended: bool,
    /// How much of the current line has been seen, as far as it matters.
    line: usize,
    /// Whether the current line is like `Received:` so far.
    alike: bool,
    /// The current line is a CR so far.
    is_cr: bool,
}

impl HeaderObserver {
    /// An observer before the first octet.
    #[must_use]
    pub fn new() -> Self {
        Self { alike: true, ..Self::default() }
    }

    /// How many `Received` fields the header has had so far.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Sees the next piece of content (unstuffed).
    pub fn observe(&mut self, mut content: &[u8]) {
        while !self.ended && !content.is_empty() {
            let (line, rest) = match memchr::memchr(b'\n', content) {
                Some(end) => content.split_at(end + 1),
                None => (content, [].as_slice()),
            };
            self.line(line);
            content = rest;
        }
    }

    fn line(&mut self, piece: &[u8]) {
        // RFC 5322 §2.1: an empty line ends the header; that of binary content may end with a bare LF.
        let is_empty = match self.line {
            0 => piece == b"\r\n" || piece == b"\n",
            _ => self.is_cr && piece == b"\n",
        };
        if is_empty {
            self.ended = true;
            return;
        }
        self.is_cr = self.line == 0 && piece == b"\r";
        let wanted = RECEIVED.get(self.line..).unwrap_or_default();
        let common = wanted.len().min(piece.len());
        if self.alike && common > 0 {
            let same = |(a, b): (&u8, &u8)| a.to_ascii_lowercase() == *b;
            self.alike = piece.iter().zip(wanted).all(same);
            if self.alike && common == wanted.len() {
                self.received = self.received.saturating_add(1);
            }
        }
        if piece.ends_with(b"\n") {
            self.line = 0;
            self.alike = true;
        } else {
            self.line = self.line.saturating_add(piece.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn received_lines_of_the_header_are_counted_however_it_is_cut(cut in 0usize..120, second in 0usize..120) {
            // RFC 5321 §6.3
            let content = b"Received: a\r\n folded\r\nreceived:b\r\nX-Received: no\r\nRECEIVED: c\r\nRece\r\n\r\nReceived: body\r\n";
            let mut observer = HeaderObserver::new();
            let (first, rest) = content.split_at(cut.min(content.len()));
            let (middle, last) = rest.split_at(second.min(rest.len()));
            for piece in [first, middle, last] {
                observer.observe(piece);
            }
            prop_assert_eq!(observer.received(), 3);
        }

        #[test]
        fn cutting_the_input_elsewhere_changes_nothing(
            text in "(Received:|x|\r\n|\r\n|\r|\n){0,20}",
            piece in 1usize..5,
        ) {
            let mut whole = HeaderObserver::new();
            whole.observe(text.as_bytes());
            let mut cut = HeaderObserver::new();
            text.as_bytes().chunks(piece).for_each(|piece| cut.observe(piece));
            prop_assert_eq!(cut.received(), whole.received());
        }
    }
}
