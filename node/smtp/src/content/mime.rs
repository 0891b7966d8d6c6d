//! Watches the headers of a message at every level of MIME as it streams by, to learn whether one is beyond ASCII: such a message needs SMTPUTF8 on
//! its whole way (RFC 6531 §3.7.1, RFC 6532 §3). It is asked only of messages whose client said SMTPUTF8.
//!
//! It keeps one line at a time, bounded, and the boundaries of the multiparts that are open. In doubt (more boundaries, longer lines than it keeps) it
//! says yes, which costs a bounce that a conversion could have spared, and never harms a message.

use memchr::memchr;

/// Boundaries kept: the levels and siblings of multiparts that are told apart.
const BOUNDARIES: usize = 32;

/// Octets kept of one line; RFC 2046 §5.1.1: a boundary has at most 70.
const LINE: usize = 256;

/// Octets kept of one `Content-Type` field, unfolded.
const FIELD: usize = 2048;

/// Sees content pass.
#[derive(Clone, Debug)]
pub struct MimeHeaders {
    beyond_ascii: bool,
    in_header: bool,
    boundaries: Vec<Vec<u8>>,
    /// The start of the current line.
    line: Vec<u8>,
    /// Octets of the current line.
    length: usize,
    /// The `Content-Type` field of the header that is read, so far; absent while another field is read.
    field: Option<Vec<u8>>,
    /// The part whose header is read is a message itself.
    is_message: bool,
}

impl Default for MimeHeaders {
    fn default() -> Self {
        Self::new()
    }
}

impl MimeHeaders {
    /// Before the first octet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            beyond_ascii: false,
            in_header: true,
            boundaries: Vec::new(),
            line: Vec::new(),
            length: 0,
            field: None,
            is_message: false,
        }
    }

    /// Whether a header was beyond ASCII so far.
    #[must_use]
    pub fn is_beyond_ascii(&self) -> bool {
        self.beyond_ascii
    }

    /// Sees the next piece of content.
    pub fn observe(&mut self, mut piece: &[u8]) {
        while !self.beyond_ascii && !piece.is_empty() {
            let (part, rest, is_end) = match memchr(b'\n', piece) {
                Some(end) => {
                    let (part, rest) = piece.split_at(end + 1);
                    (part, rest, true)
                }
                None => (piece, [].as_slice(), false),
            };
            self.beyond_ascii |= self.in_header && !part.is_ascii();
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            self.length += part.len();
            if is_end {
                self.end_line();
            }
            piece = rest;
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        if self.is_boundary(text) {
            self.begin_header();
        } else if self.in_header {
            self.header_line(text, line.first().is_some_and(|b| matches!(b, b' ' | b'\t')));
        }
        self.line = line;
        self.line.clear();
        self.length = 0;
    }

    fn is_boundary(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(b"--") else { return false };
        self.boundaries.iter().any(|boundary| rest == boundary.as_slice())
    }

    fn begin_header(&mut self) {
        self.in_header = true;
        self.field = None;
        self.is_message = false;
    }

    fn header_line(&mut self, text: &[u8], is_folded: bool) {
        if !is_folded {
            self.end_field();
        }
        if text.is_empty() {
            // RFC 2046 §5.2.1: the content of such a part begins with a header again.
            self.in_header = std::mem::take(&mut self.is_message);
            return;
        }
        if self.length > LINE && (is_folded && self.field.is_some() || is_content_type(text)) {
            self.beyond_ascii = true; // a boundary may be in what was not kept
        } else if is_folded {
            if let Some(field) = &mut self.field {
                field.extend_from_slice(text);
                self.beyond_ascii |= field.len() > FIELD;
            }
        } else if is_content_type(text) {
            self.field = Some(text.to_vec());
        }
    }

    fn end_field(&mut self) {
        let Some(field) = self.field.take() else { return };
        let lower = field.to_ascii_lowercase();
        let value = lower.split(|b| *b == b':').nth(1).unwrap_or_default().trim_ascii_start();
        self.is_message = value.starts_with(b"message/rfc822") || value.starts_with(b"message/global");
        if value.starts_with(b"multipart/") {
            match boundary(&field) {
                Some(boundary) if self.boundaries.len() < BOUNDARIES => self.boundaries.push(boundary),
                _ => self.beyond_ascii = true,
            }
        }
    }
}

fn is_content_type(text: &[u8]) -> bool {
    const NAME: &[u8] = b"content-type";
    let (name, rest) = text.split_at(text.len().min(NAME.len()));
    name.eq_ignore_ascii_case(NAME) && rest.trim_ascii_start().starts_with(b":")
}

/// The value of the parameter `boundary` (RFC 2045 §5.1).
fn boundary(field: &[u8]) -> Option<Vec<u8>> {
    let mut rest = field;
    loop {
        let at = memchr(b';', rest)?;
        rest = rest.get(at + 1..)?.trim_ascii_start();
        let equals = memchr(b'=', rest)?;
        let (name, value) = rest.split_at(equals);
        let value = value.get(1..)?.trim_ascii_start();
        let found = match value.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted),
            None => value.split(|b| matches!(b, b';' | b' ' | b'\t' | b'(')).next()?.to_vec(),
        };
        if name.trim_ascii().eq_ignore_ascii_case(b"boundary") {
            return (!found.is_empty()).then_some(found);
        }
        rest = value;
    }
}

fn unquote(quoted: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let mut octets = quoted.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => break,
            b'\\' => value.extend(octets.next()),
            octet => value.push(*octet),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_beyond_ascii(content: &[u8], cut: usize) -> bool {
        let mut headers = MimeHeaders::new();
        let (a, b) = content.split_at(cut % (content.len() + 1));
        headers.observe(a);
        headers.observe(b);
        headers.is_beyond_ascii()
    }

    const PARTS: &str = "Subject: a\r\nContent-Type: multipart/mixed;\r\n boundary=\"b b\"\r\n\r\npré\r\n--b b\r\nContent-Type: text/plain\r\n\r\n\
                         J\u{f6}rg\r\n-- \r\nJ\u{f6}rg\r\n--b b--\r\n";

    #[test]
    fn a_body_beyond_ascii_needs_no_smtputf8() {
        // RFC 6532 §3
        assert!(!is_beyond_ascii("Subject: a\r\n\r\nJörg\r\n".as_bytes(), 0));
        assert!(!is_beyond_ascii(PARTS.as_bytes(), 0));
    }

    #[test]
    fn a_header_beyond_ascii_at_any_level_does() {
        assert!(is_beyond_ascii("Subject: Jörg\r\n\r\na\r\n".as_bytes(), 0));
        let part = PARTS.replace("Content-Type: text/plain\r\n", "Content-Description: Jörg\r\n");
        assert!(is_beyond_ascii(part.as_bytes(), 0));
        let nested = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: Jörg\r\n\r\na\r\n";
        assert!(is_beyond_ascii(nested.as_bytes(), 0));
        let inner = "Content-Type: message/global\r\n\r\nContent-Type: multipart/mixed; a=b; BOUNDARY = y \r\n\r\n--y\r\nX: ö\r\n";
        assert!(is_beyond_ascii(inner.as_bytes(), 0));
    }

    #[test]
    fn what_cannot_be_followed_counts_as_beyond_ascii() {
        let long =
            format!("Content-Type: multipart/mixed; a=\"{}\"; boundary=x\r\n\r\nbody\r\n", "x".repeat(300));
        assert!(is_beyond_ascii(long.as_bytes(), 0));
        assert!(is_beyond_ascii(b"Content-Type: multipart/mixed\r\n\r\nbody\r\n", 0));
    }

    proptest! {
        #[test]
        fn cutting_the_input_elsewhere_changes_nothing(cut in any::<usize>(), text in "(--b b|\r\n|Content-Type: multipart/x; boundary=\"?b b\"?|:|\u{f6}|x| ){0,30}") {
            prop_assert_eq!(is_beyond_ascii(text.as_bytes(), cut), is_beyond_ascii(text.as_bytes(), 0));
            prop_assert!(!is_beyond_ascii(PARTS.as_bytes(), cut));
        }
    }
}
