//! Checks the lines of content whose length is known beforehand (BDAT, RFC 3030): it has no end to be found, but its lines end with CRLF all
//! the same, for it may go on by DATA.

use memchr::memchr2;

use super::{BadContent, CONTENT_LINE};

/// Where a stream of lines is: carried from one piece to the next.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    after_cr: bool,
    /// Octets of the current line so far.
    line: usize,
}

impl Lines {
    /// Before the first octet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the next piece. After an error it is of no more use.
    pub fn check(&mut self, mut piece: &[u8]) -> Result<(), BadContent> {
        while !piece.is_empty() {
            if self.after_cr {
                let [b'\n', rest @ ..] = piece else { return Err(BadContent::BareLineEnd) };
                piece = rest;
                self.after_cr = false;
                self.line = 0;
                continue;
            }
            let length = memchr2(b'\r', b'\n', piece).unwrap_or(piece.len());
            self.line += length;
            if self.line > CONTENT_LINE {
                return Err(BadContent::LineTooLong);
            }
            match piece.get(length..).unwrap_or_default() {
                [] => return Ok(()),
                [b'\r', rest @ ..] => {
                    self.after_cr = true;
                    piece = rest;
                }
                _ => return Err(BadContent::BareLineEnd),
            }
        }
        Ok(())
    }

    /// Whether the last octet was a CR: at the end of the content, a bare one.
    #[must_use]
    pub fn ends_with_cr(&self) -> bool {
        self.after_cr
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pieces: &[&[u8]]) -> Result<(), BadContent> {
        let mut lines = Lines::new();
        pieces.iter().try_for_each(|piece| lines.check(piece))?;
        if lines.ends_with_cr() { Err(BadContent::BareLineEnd) } else { Ok(()) }
    }

    #[test]
    fn a_line_ends_with_crlf_or_not_at_all() {
        // RFC 3030 §3, RFC 5321 §2.3.8
        for good in ["", "a", "a\r\nb", "a\r\n", "\r\n.\r\n", "a\0b\u{e9}"] {
            assert_eq!(check(&[good.as_bytes()]), Ok(()), "{good:?}");
        }
        for bad in ["\n", "a\nb", "\r", "a\rb\r\n", "a\r\r\n", "a\r\n\n"] {
            assert_eq!(check(&[bad.as_bytes()]), Err(BadContent::BareLineEnd), "{bad:?}");
        }
        assert_eq!(check(&[&[b'x'; 4096], b"\r\n", &[b'x'; 4096]]), Ok(()));
        assert_eq!(check(&[&[b'x'; 4096], b"x"]), Err(BadContent::LineTooLong));
    }

    proptest! {
        #[test]
        fn cutting_the_input_elsewhere_changes_nothing(
            stream in "(x|\\.|\r\n|\r\n|\r|\n){0,30}",
            cut in any::<usize>(),
        ) {
            let (a, b) = stream.as_bytes().split_at(cut % (stream.len() + 1));
            prop_assert_eq!(check(&[a, b]), check(&[stream.as_bytes()]));
        }
    }
}
