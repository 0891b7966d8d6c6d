//! Finds the end of the content and the stuffed dots, line by line, without copying.

use memchr::memchr2;

use super::CONTENT_LINE;

/// Where a stream of content is: carried from one piece of input to the next.
#[derive(Clone, Debug)]
pub struct Decoder {
    at_line_start: bool,
    /// Octets of the current line that were scanned so far.
    line: usize,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// So many octets at the head of the input are content.
    pub content: usize,
    /// What comes behind them.
    pub next: Next,
}

/// What follows the content octets of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing that can be judged yet: keep what is left (at most two octets), scan again when more has come.
    More,
    /// A stuffed dot: drop one octet, scan on (RFC 5321 §4.5.2).
    StuffedDot,
    /// The end, `.CRLF`: drop three octets.
    End,
    /// The content is refused here.
    Bad(BadContent),
}

/// Why content is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadContent {
    /// A CR without LF or an LF without CR (RFC 5321 §2.3.8).
    BareLineEnd,
    /// A line above [`CONTENT_LINE`].
    LineTooLong,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder before the first octet of content.
    #[must_use]
    pub fn new() -> Self {
        Self { at_line_start: true, line: 0 }
    }

    /// Scans input that starts where the last scan ended. After [`Next::Bad`] it may be asked on, to find where the refused content ends.
    pub fn scan(&mut self, input: &[u8]) -> Scan {
        let mut place = 0;
        loop {
            let rest = input.get(place..).unwrap_or_default();
            if self.at_line_start {
                match rest {
                    [b'.', b'\r', b'\n', ..] => return Scan { content: place, next: Next::End },
                    [] | [b'.'] | [b'.', b'\r'] => return Scan { content: place, next: Next::More },
                    [b'.', ..] => {
                        self.at_line_start = false;
                        return Scan { content: place, next: Next::StuffedDot };
                    }
                    _ => self.at_line_start = false,
                }
            }
            let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            self.line += length;
            place += length;
            if self.line > CONTENT_LINE {
                // Stops at the very octet that is too much, so that nothing depends on how the input was cut.
                let beyond = self.line - CONTENT_LINE - 1;
                self.line -= beyond;
                return Scan { content: place - beyond, next: Next::Bad(BadContent::LineTooLong) };
            }
            match rest.get(length..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {
                    place += 2;
                    self.line = 0;
                    self.at_line_start = true;
                }
                [] | [b'\r'] => return Scan { content: place, next: Next::More },
                _ => return Scan { content: place, next: Next::Bad(BadContent::BareLineEnd) },
            }
        }
    }

    /// After a line that was too long: counts no more of it, so that the next scan goes on behind it.
    pub fn forget_line(&mut self) {
        self.line = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Encoder, *};

    /// Everything out of a stream cut at the given places.
    fn decode(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Next>, Vec<u8>) {
        let (mut decoder, mut content, mut held) = (Decoder::new(), Vec::new(), Vec::new());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            held.extend_from_slice(&stream[pair[0]..pair[1]]);
            loop {
                let scan = decoder.scan(&held);
                content.extend(held.drain(..scan.content));
                match scan.next {
                    Next::More => break,
                    Next::StuffedDot => drop(held.drain(..1)),
                    end => {
                        let after = [held.as_slice(), &stream[pair[1]..]].concat();
                        return (content, Some(end), after);
                    }
                }
            }
            assert!(held.len() <= 2);
        }
        (content, None, held)
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_content() {
        // RFC 5321 §4.1.1.4
        assert_eq!(decode(b".\r\nX", &[]), (b"".to_vec(), Some(Next::End), b".\r\nX".to_vec()));
        assert_eq!(decode(b"a\r\n.\r\nX", &[]), (b"a\r\n".to_vec(), Some(Next::End), b".\r\nX".to_vec()));
        assert_eq!(decode(b"a\r\n..\r\n", &[]), (b"a\r\n.\r\n".to_vec(), None, vec![]));
        assert_eq!(decode(b"a.\r\n", &[]).1, None);
    }

    #[test]
    fn whatever_else_might_be_taken_for_an_end_is_refused() {
        // RFC 5321 §2.3.8: the rows of SMTP smuggling
        for stream in [
            "a\n.\nb\r\n",
            "a\n.\r\nb\r\n",
            "a\r\n.\nb\r\n",
            "a\r.\rb\r\n",
            "a\r\n.\rb\r\n",
            "a\r.\r\nb\r\n",
            "a\r\r\n",
            "\n",
            "a\r\0\n.\r\0\n",
        ] {
            let bad = Some(Next::Bad(BadContent::BareLineEnd));
            for cut in 0..stream.len() {
                assert_eq!(decode(stream.as_bytes(), &[cut]).1, bad, "{stream:?} at {cut}");
            }
        }
    }

    #[test]
    fn a_line_has_at_most_4096_octets_without_its_end() {
        let line = |length| [vec![b'x'; length], b"\r\n.\r\n".to_vec()].concat();
        assert_eq!(decode(&line(4096), &[]).1, Some(Next::End));
        assert_eq!(decode(&line(4096), &[4096]).1, Some(Next::End));
        assert_eq!(decode(&line(4097), &[]).1, Some(Next::Bad(BadContent::LineTooLong)));
        assert_eq!(decode(&vec![b'x'; 4097], &[17]).1, Some(Next::Bad(BadContent::LineTooLong)));
    }

    proptest! {
        #[test]
        fn what_was_stuffed_comes_out_as_it_was(
            lines in proptest::collection::vec("\\.{0,3}[ -~\\x00\\x80-\\xff]{0,9}", 0..20),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
            pieces in proptest::collection::vec(any::<usize>(), 0..9),
        ) {
            // RFC 5321 §4.5.2
            let content: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
            let mut pieces: Vec<usize> = pieces.iter().map(|piece| piece % (content.len() + 1)).collect();
            pieces.extend([0, content.len()]);
            pieces.sort_unstable();
            let (mut encoder, mut wire) = (Encoder::new(), Vec::new());
            for pair in pieces.windows(2) {
                encoder.encode(&content[pair[0]..pair[1]], &mut wire);
            }
            encoder.finish(&mut wire);
            wire.extend_from_slice(b"QUIT");
            prop_assert_eq!(decode(&wire, &cuts), (content, Some(Next::End), b".\r\nQUIT".to_vec()));
        }

        #[test]
        fn cutting_the_input_elsewhere_changes_nothing(
            stream in "(x|\\.|\r\n|\r\n|\r|\n|\r\n\\.){0,30}",
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            prop_assert_eq!(decode(stream.as_bytes(), &cuts), decode(stream.as_bytes(), &[]));
        }
    }
}
