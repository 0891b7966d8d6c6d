//! The two bounded buffers of a session: what came in and is not yet understood, what is to go out and is not yet written.

use std::{
    fmt::{self, Write as _},
    ops::Range,
};

use posthouse_model::Reply;

/// Octets that came in. Never holds more than it was told to: what does not fit stays in the socket, which is the back-pressure. Takes no memory
/// before something is to be read.
pub(crate) struct Input {
    /// Empty, or of the length `capacity`.
    buffer: Vec<u8>,
    capacity: usize,
    /// The capacity before it grew.
    least: usize,
    head: usize,
    tail: usize,
}

impl fmt::Debug for Input {
    /// What came in may be a password, or repeat one: nothing of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("unread", &(self.tail - self.head)).finish_non_exhaustive()
    }
}

impl Input {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buffer: Vec::new(), capacity, least: capacity, head: 0, tail: 0 }
    }

    /// What has not been consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.slice(self.head..self.tail)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// How many octets fit.
    pub(crate) fn room(&self) -> usize {
        self.capacity - (self.tail - self.head)
    }

    /// Whether the unread octets fill the whole buffer.
    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn grow(&mut self, capacity: usize) {
        self.capacity = self.capacity.max(capacity);
    }

    /// Gives the memory back while there is nothing in it; what it grew to is forgotten, too.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.clear();
            self.buffer = Vec::new();
            self.capacity = self.least;
        }
    }

    /// The free space, in one piece.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.head > 0 {
            self.buffer.copy_within(self.head..self.tail, 0);
            self.tail -= self.head;
            self.head = 0;
        }
        if self.buffer.len() < self.capacity {
            // What is kept comes to lie in the new memory, and nothing is allocated in steps.
            let mut buffer = vec![0; self.capacity];
            if let (Some(to), Some(from)) = (buffer.get_mut(..self.tail), self.buffer.get(..self.tail)) {
                to.copy_from_slice(from);
            }
            self.buffer = buffer;
        }
        self.buffer.get_mut(self.tail..).unwrap_or_default()
    }

    /// Takes `length` octets that were put into [`space`](Self::space).
    pub(crate) fn filled(&mut self, length: usize) {
        self.tail = self.buffer.len().min(self.tail + length);
    }

    /// Copies in as much as fits; says how much that was.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let length = space.len().min(bytes.len());
        if let (Some(to), Some(from)) = (space.get_mut(..length), bytes.get(..length)) {
            to.copy_from_slice(from);
        }
        self.filled(length);
        length
    }

    /// Drops octets from the front; says where they lie until the next [`space`](Self::space) or [`push`](Self::push).
    pub(crate) fn consume(&mut self, length: usize) -> Range<usize> {
        let start = self.head;
        self.head = self.tail.min(self.head + length);
        let consumed = start..self.head;
        if self.head == self.tail {
            // The octets stay where they are: only the marks move, so that the next read starts at the front without a copy.
            self.head = 0;
            self.tail = 0;
        }
        consumed
    }

    pub(crate) fn clear(&mut self) {
        self.head = 0;
        self.tail = 0;
    }

    /// Octets that [`consume`](Self::consume) told the place of.
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }
}

/// Octets to write. There are secrets among them: `Debug` shows none.
#[derive(Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    head: usize,
    /// All that was ever written, to know which commands have left.
    written: u64,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("unwritten", &self.len())
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// A reply line on the wire with its CRLF (RFC 5321 §4.5.3.1.5).
const REPLY_LINE: usize = 512;

impl Output {
    pub(crate) fn unwritten(&self) -> &[u8] {
        self.buffer.get(self.head..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.buffer.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.head
    }

    /// The place in the stream of the next octet to be pushed.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// The place in the stream up to which the driver has written.
    pub(crate) fn written_position(&self) -> u64 {
        self.written
    }

    pub(crate) fn written(&mut self, length: usize) {
        let length = length.min(self.len());
        self.written += length as u64;
        self.head += length;
        if self.is_empty() {
            self.buffer.clear();
            self.head = 0;
        }
    }

    /// Gives the memory back while there is nothing to write.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.buffer = Vec::new();
            self.head = 0;
        }
    }

    /// Forgets what is not written: the connection is going to be dropped.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.head = 0;
    }

    /// For encoders that append by themselves.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Writes a reply: the enhanced status on each line (RFC 2034 §4), no line above 512 octets, nothing beyond printable ASCII (the
    /// session has no SMTPUTF8).
    pub(crate) fn push_reply(&mut self, reply: &Reply) {
        let mut head = String::new();
        if let Some(status) = reply.status() {
            let _ = write!(head, "{status} "); // a String takes everything
        }
        let room = REPLY_LINE - "250-\r\n".len() - head.len();
        let mut lines = reply.lines().flat_map(|line| wrap(line, room)).peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            self.push(&format!("{}{separator}{head}{line}\r\n", reply.code()));
        }
    }
}

/// A line in pieces of at most `room` octets, in printable ASCII.
fn wrap(line: &str, room: usize) -> Vec<String> {
    let text: String = line.chars().map(|c| if matches!(c, ' '..='~' | '\t') { c } else { '?' }).collect();
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    while let Some((piece, after)) = rest.split_at_checked(room).filter(|(_, after)| !after.is_empty()) {
        pieces.push(piece.to_owned());
        rest = after;
    }
    pieces.push(rest.to_owned());
    pieces
}

#[cfg(test)]
mod tests {
    use posthouse_model::{EnhancedStatus, ReplyCode};

    use super::*;

    #[test]
    fn no_reply_line_is_longer_than_512_octets() {
        // RFC 5321 §4.5.3.1.5, RFC 2034 §4
        let reply = Reply::new(ReplyCode::FAILED, Some(EnhancedStatus::permanent(6, 0)), &"x".repeat(1200));
        let mut output = Output::default();
        output.push_reply(&reply);
        let text = String::from_utf8(output.unwritten().to_vec()).unwrap();
        let lines: Vec<_> = text.split_inclusive("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() <= 512 && line.get(3..).unwrap().contains("5.6.0 ")));
        assert!(lines[0].starts_with("554-") && lines[2].starts_with("554 "));
    }

    #[test]
    fn input_takes_no_more_than_its_room() {
        let mut input = Input::new(4);
        assert_eq!(input.push(b"abcdef"), 4);
        assert_eq!((input.push(b"x"), input.is_full()), (0, true));
        let taken = input.consume(3);
        assert_eq!(input.slice(taken), b"abc");
        assert_eq!(input.push(b"xyz!"), 3);
        assert_eq!(input.unread(), b"dxyz");
    }

    #[test]
    fn input_takes_no_memory_while_nothing_is_in_it() {
        let mut input = Input::new(4);
        assert_eq!(input.buffer.capacity(), 0);
        input.push(b"ab");
        input.grow(8);
        assert_eq!((input.push(b"cdefghi"), input.unread()), (6, b"abcdefgh".as_slice()));
        input.rest();
        assert_eq!(input.unread(), b"abcdefgh");
        input.consume(8);
        input.rest();
        assert_eq!((input.buffer.capacity(), input.room()), (0, 4));
    }
}
