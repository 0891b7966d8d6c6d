//! Dot-stuffs content for the wire and ends it.

use memchr::memmem;

/// Where outgoing content is: carried from one piece to the next. It adds dots at line starts and the end, and alters nothing: content is
/// CRLF-only by the receiver's rule, so no bare CR or LF can leave.
#[derive(Clone, Debug)]
pub struct Encoder {
    at_line_start: bool,
    ends_with_cr: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder before the first octet of content.
    #[must_use]
    pub fn new() -> Self {
        Self { at_line_start: true, ends_with_cr: false }
    }

    /// Appends the stuffed form of the next piece of content (RFC 5321 §4.5.2).
    pub fn encode(&mut self, content: &[u8], wire: &mut Vec<u8>) {
        let Some(last) = content.last() else { return };
        wire.reserve(content.len() + 64);
        if self.at_line_start && content.starts_with(b".") {
            wire.push(b'.');
        }
        let mut done = 0;
        for place in memmem::find_iter(content, b"\n.") {
            wire.extend_from_slice(content.get(done..=place).unwrap_or_default());
            wire.push(b'.');
            done = place + 1;
        }
        wire.extend_from_slice(content.get(done..).unwrap_or_default());
        self.at_line_start = *last == b'\n';
        self.ends_with_cr = *last == b'\r';
    }

    /// Appends the end: `.CRLF`, behind a CRLF if the content lacks its own (RFC 5321 §4.1.1.4).
    pub fn finish(self, wire: &mut Vec<u8>) {
        if !self.at_line_start {
            wire.extend_from_slice(if self.ends_with_cr { b"\n" } else { b"\r\n" });
        }
        wire.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pieces: &[&str]) -> String {
        let (mut encoder, mut wire) = (Encoder::new(), Vec::new());
        for piece in pieces {
            encoder.encode(piece.as_bytes(), &mut wire);
        }
        encoder.finish(&mut wire);
        String::from_utf8(wire).unwrap()
    }

    #[test]
    fn every_line_that_starts_with_a_dot_gets_another() {
        // RFC 5321 §4.5.2
        assert_eq!(encode(&[".a\r\n.\r\n", "..b\r\n"]), "..a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(encode(&["a\r\n", "", ".b\r\n"]), "a\r\n..b\r\n.\r\n");
        assert_eq!(encode(&["a.\r", "\n", "."]), "a.\r\n..\r\n.\r\n");
    }

    #[test]
    fn the_end_stands_on_a_line_of_its_own() {
        // RFC 5321 §4.1.1.4
        assert_eq!(encode(&[]), ".\r\n");
        assert_eq!(encode(&["a"]), "a\r\n.\r\n");
        assert_eq!(encode(&["a\r"]), "a\r\n.\r\n");
    }
}
