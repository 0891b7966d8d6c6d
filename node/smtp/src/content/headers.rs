//! Watches the header of a message as it streams by: counts `Received` lines, for the loop limit of RFC 5321 §6.3, and finds the marks in them by
//! which a host knows its own.

/// The field that is counted.
const RECEIVED: &[u8] = b"received:";

/// What is looked at of one field: names, addresses and an id stand in front of the mark.
const FIELD_LENGTH: usize = 1024;

/// Marks that are kept: whoever has been through more hosts is in a loop anyway.
const MOST_MARKS: usize = 100;

/// The longest id, and the longest mark: no host of ours writes longer ones.
const WORD_LENGTH: usize = 64;

/// What a host wrote into its `Received` line to know it again: `id ID (mark MARK)`. Anybody can write one: whether it is the host's own, only that
/// host can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The queue id that the line tells.
    pub id: String,
    /// The mark behind it.
    pub mark: String,
}

impl Mark {
    /// The mark of a field, if it has one.
    fn find(field: &[u8]) -> Option<Self> {
        let mut words = field.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if word != b"id" {
                continue;
            }
            let (id, comment, mark) = (words.next()?, words.next()?, words.next()?);
            let mark = mark.strip_suffix(b";").unwrap_or(mark).strip_suffix(b")")?;
            let text = |word: &[u8]| {
                let is_short = word.len() <= WORD_LENGTH && word.is_ascii();
                is_short.then(|| String::from_utf8_lossy(word).into_owned())
            };
            return (comment == b"(mark").then_some(Self { id: text(id)?, mark: text(mark)? });
        }
        None
    }
}

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
    /// The `Received` field that has not ended yet, as far as it is looked at.
    field: Option<Vec<u8>>,
    marks: Vec<Mark>,
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

    /// The marks in them: all has come.
    #[must_use]
    pub fn into_marks(mut self) -> Vec<Mark> {
        self.end_field();
        self.marks
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
            self.end_field();
            return;
        }
        // RFC 5322 §2.2.3: a line that begins with white space goes on with the field.
        if self.line == 0 && !piece.starts_with(b" ") && !piece.starts_with(b"\t") {
            self.end_field();
        }
        self.is_cr = self.line == 0 && piece == b"\r";
        self.look(piece);
        if piece.ends_with(b"\n") {
            self.line = 0;
            self.alike = true;
        } else {
            self.line = self.line.saturating_add(piece.len());
        }
    }

    /// Keeps what is of a `Received` field, and sees where one begins.
    fn look(&mut self, piece: &[u8]) {
        if let Some(field) = &mut self.field {
            let room = FIELD_LENGTH.saturating_sub(field.len());
            field.extend(piece.iter().take(room));
            return;
        }
        let wanted = RECEIVED.get(self.line..).unwrap_or_default();
        let common = wanted.len().min(piece.len());
        if self.alike && common > 0 {
            let same = |(a, b): (&u8, &u8)| a.to_ascii_lowercase() == *b;
            self.alike = piece.iter().zip(wanted).all(same);
            if self.alike && common == wanted.len() {
                self.received = self.received.saturating_add(1);
                self.field = Some(piece.iter().skip(common).take(FIELD_LENGTH).copied().collect());
            }
        }
    }

    fn end_field(&mut self) {
        if let Some(field) = self.field.take()
            && self.marks.len() < MOST_MARKS
        {
            self.marks.extend(Mark::find(&field));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_kept_of_a_header_is_bounded() {
        let mut observer = HeaderObserver::new();
        let long = format!("Received: {} id 1 (mark 2)\r\n", "x".repeat(FIELD_LENGTH));
        observer.observe(long.as_bytes());
        for _ in 0..=MOST_MARKS {
            observer.observe(b"Received: by a id 3 (mark 4)\r\n");
            observer.observe(format!("Received: by a id 5 (mark {})\r\n", "6".repeat(65)).as_bytes());
        }
        let marks = observer.into_marks();
        assert_eq!(marks.len(), MOST_MARKS);
        assert!(marks.iter().all(|Mark { id, mark }| (id.as_str(), mark.as_str()) == ("3", "4")));
    }

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
        fn marks_are_found_however_the_header_is_cut(piece in 1usize..200) {
            // RFC 5321 §4.4: the id may be in any line of the field, and the body is no header.
            let content = b"Received: from a (b)\r\n\tby c with ESMTP id 01ab (mark 00ff);\r\n\tdate\r\nSubject: id 1 (mark 2)\r\n\
                X: y\r\n id 3 (mark 4)\r\nReceived: by d id 5\r\n (mark 6)\r\n for <e@f>; date\r\nReceived: by g id 7; date\r\n\
                Received: by h id 8 (mark9)\r\nreceived: id 10 (mark 11\r\n\r\nReceived: by i id 12 (mark 13);\r\n";
            let mut observer = HeaderObserver::new();
            content.chunks(piece).for_each(|piece| observer.observe(piece));
            let marks = observer.into_marks().into_iter().map(|Mark { id, mark }| (id, mark)).collect::<Vec<_>>();
            let expected = [("01ab", "00ff"), ("5", "6")].map(|(id, mark)| (id.to_owned(), mark.to_owned()));
            prop_assert_eq!(marks, expected);
        }

        #[test]
        fn cutting_the_input_elsewhere_changes_nothing(
            text in "(Received:|x|id |1 |\\(mark |2\\)|\r\n|\r\n|\r|\n| ){0,30}",
            piece in 1usize..5,
        ) {
            let mut whole = HeaderObserver::new();
            whole.observe(text.as_bytes());
            let mut cut = HeaderObserver::new();
            text.as_bytes().chunks(piece).for_each(|piece| cut.observe(piece));
            prop_assert_eq!(cut.received(), whole.received());
            prop_assert_eq!(cut.into_marks(), whole.into_marks());
        }
    }
}
