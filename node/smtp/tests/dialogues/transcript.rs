//! Reads transcripts.

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A step of a dialogue.
#[derive(Debug)]
pub(crate) enum Step {
    /// Lines that one side says at once.
    Say(Side, Vec<Spoken>),
    /// What the session told its driver.
    Event(String),
    /// A directive, in words.
    Directive(Vec<String>),
}

/// Octets that are said; `open` means that any text may follow up to the end of the line, or of the whole reply.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) octets: Vec<u8>,
    pub(crate) open: Option<Open>,
}

/// How much may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    Line,
    Reply,
}

/// How what is sent is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    Pieces(usize),
}

impl Cut {
    pub(crate) fn pieces(self, octets: &[u8]) -> impl Iterator<Item = &[u8]> {
        octets.chunks(match self {
            Self::Whole => octets.len().max(1),
            Self::Pieces(length) => length,
        })
    }
}

pub(crate) struct Transcript {
    pub(crate) path: String,
    /// The steps, each with its line number.
    pub(crate) steps: Vec<(usize, Step)>,
}

impl Transcript {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut steps: Vec<(usize, Step)> = Vec::new();
        for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text)) {
            let (mark, rest) = text.split_at(text.len().min(2));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match mark {
                "" | "#" | "# " => {}
                "C:" | "C-" | "S:" | "S-" | "S~" => {
                    let side = if mark.starts_with('C') { Side::Client } else { Side::Server };
                    let spoken = match mark {
                        "S~" => Spoken { octets: unescape(rest), open: Some(Open::Reply) },
                        _ => spoken(rest, mark.ends_with(':')),
                    };
                    match steps.last_mut() {
                        Some((_, Step::Say(last, lines))) if *last == side => lines.push(spoken),
                        _ => steps.push((line, Step::Say(side, vec![spoken]))),
                    }
                }
                "E:" => steps.push((line, Step::Event(rest.to_owned()))),
                "! " => steps.push((line, Step::Directive(words(rest)))),
                _ => panic!("{path}:{line}: what is {text:?}?"),
            }
        }
        Self { path: path.to_owned(), steps }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.steps.iter().any(|(_, step)| matches!(step, Step::Directive(words) if words[0] == "whole"))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn spoken(text: &str, line: bool) -> Spoken {
    let (text, open) = text.strip_suffix("\\…").map_or((text, None), |text| (text, Some(Open::Line)));
    let mut octets = unescape(text);
    if line && open.is_none() {
        octets.extend_from_slice(b"\r\n");
    }
    Spoken { octets, open }
}

pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "r" => octets.push(b'\r'),
            "n" => octets.push(b'\n'),
            "0" => octets.push(0),
            "\\" => octets.push(b'\\'),
            "x" => {
                let (digits, after) = after.split_at(2);
                octets.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            "*" => {
                let (inner, after) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')).unwrap();
                let (count, what) = inner.split_once(',').unwrap();
                octets.extend(unescape(what).repeat(count.parse().unwrap()));
                rest = after;
            }
            other => panic!("what is \\{other}?"),
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// Takes the expected lines off the head of what was said; panics where they differ.
pub(crate) fn expect(said: &mut Vec<u8>, lines: &[Spoken], place: &str) {
    for line in lines {
        let matches = said.starts_with(&line.octets);
        assert!(
            matches,
            "{place}: expected {:?}, was said {:?}",
            String::from_utf8_lossy(&line.octets),
            String::from_utf8_lossy(said)
        );
        said.drain(..line.octets.len());
        let mut is_last = line.open.is_none();
        while !is_last {
            // RFC 5321 §4.2.1: a hyphen behind the code says that another line follows
            is_last = line.open == Some(Open::Line) || said.first() == Some(&b' ');
            let end = said.iter().position(|octet| *octet == b'\n').expect("the rest of an open line");
            said.drain(..=end);
            if !is_last {
                assert!(said.starts_with(&line.octets), "{place}: the reply goes on otherwise");
                said.drain(..line.octets.len());
            }
        }
    }
}

pub(crate) fn octets(lines: &[Spoken]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.octets.iter().copied()).collect()
}
