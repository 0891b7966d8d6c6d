//! Reads replies: whole ones only, each bounded (RFC 5321 §4.2).

use memchr::memchr;
use posthouse_model::Reply;

use super::ProtocolError;
use crate::buffer::Input;

/// The longest reply, all its lines together. RFC 5321 §4.5.3.1.5 allows 512 octets a line and any number of lines; some bound there must be.
pub(super) const REPLY: usize = 64 * 1024;

/// What is kept of the text of a reply that is told to somebody: there may be one for each of a thousand recipients.
const KEPT: usize = 1024;

/// A reply of bounded length with the code, the status and the first words of this one.
pub(super) fn shortened(reply: Reply) -> Reply {
    let mut room = KEPT;
    let fits = reply.lines().all(|line| {
        let left = room.checked_sub(line.len() + 1);
        room = left.unwrap_or(0);
        left.is_some()
    });
    if fits {
        return reply;
    }
    let mut text = String::with_capacity(KEPT);
    for c in reply.lines().flat_map(|line| line.chars().chain(['\n'])) {
        if text.len() + c.len_utf8() > KEPT {
            break;
        }
        text.push(c);
    }
    Reply::new(reply.code(), reply.status(), &text)
}

/// Where in the input the current reply is.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// Octets of complete lines of the current reply.
    scanned: usize,
}

impl ReplyReader {
    /// The next reply, if it is complete. A line may end with a bare LF: old peers do that, and nothing can be smuggled in a reply.
    pub(super) fn read(&mut self, input: &mut Input) -> Result<Option<Reply>, ProtocolError> {
        loop {
            let unread = input.unread();
            let rest = unread.get(self.scanned..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                if unread.len() >= REPLY {
                    return Err(ProtocolError::ReplyTooLong);
                }
                if input.is_full() {
                    input.grow(REPLY.min(input.capacity() * 4));
                }
                return Ok(None);
            };
            let line = rest.get(..end).unwrap_or_default();
            self.scanned += end + 1;
            // What is no reply is seen at its first line, not after 64 KiB of it.
            if !line.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit)) {
                return Err(ProtocolError::MalformedReply);
            }
            if line.get(3) != Some(&b'-') {
                let length = std::mem::take(&mut self.scanned);
                let taken = input.consume(length);
                let text = String::from_utf8_lossy(input.slice(taken));
                return text.parse().map(Some).map_err(|_| ProtocolError::MalformedReply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, ProtocolError> {
        let (mut input, mut reader, mut replies) = (Input::new(16), ReplyReader::default(), Vec::new());
        let mut rest = bytes;
        loop {
            rest = &rest[input.push(rest)..];
            match reader.read(&mut input)? {
                Some(reply) => replies.push(reply),
                None if rest.is_empty() => return Ok(replies),
                None => {}
            }
        }
    }

    #[test]
    fn replies_are_read_whole_however_they_come() {
        // RFC 5321 §4.2.1
        let replies = read(b"220 a\r\n250-b\r\n250-SIZE 10\r\n250 c\n354\r\n55").unwrap();
        let texts: Vec<_> = replies.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["220 a", "250-b\n250-SIZE 10\n250 c", "354 "]);
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for bytes in ["HTTP/1.1 400\r\n", "250-a\r\n251 b\r\n", "25\r\n", "999 a\r\n", "\r\n", "250\tx\r\n"] {
            assert_eq!(read(bytes.as_bytes()), Err(ProtocolError::MalformedReply), "{bytes}");
        }
    }

    #[test]
    fn a_reply_has_at_most_64_kib() {
        assert_eq!(read(&b"250-x\r\n".repeat(REPLY / 7 + 1)), Err(ProtocolError::ReplyTooLong));
        assert_eq!(read(&vec![b'2'; REPLY]), Err(ProtocolError::ReplyTooLong));
    }

    #[test]
    fn what_is_kept_of_a_reply_is_bounded_and_what_is_short_is_kept_whole() {
        let short: Reply = "550-5.1.1 no\n550 5.1.1 body".parse().unwrap();
        assert_eq!(shortened(short.clone()), short);
        let empty_lines = "550-\n".repeat(9000) + "550 ";
        for long in [format!("550 5.1.1 {}", "é".repeat(9000)), empty_lines] {
            let kept = shortened(long.parse().unwrap());
            assert_eq!(kept.code().number(), 550);
            assert!(
                kept.lines().map(|line| line.len() + 1).sum::<usize>() <= KEPT + 1,
                "{}",
                kept.lines().len()
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
