//! Finds command lines in the input: CRLF ends one and nothing else (RFC 5321 §2.3.8).

use crate::command::COMMAND_LINE;

/// What the input starts with.
pub(super) enum Line {
    /// No end yet; `drop` octets of it can be dropped, because the line is too long anyway.
    Incomplete {
        drop: usize,
        ends_with_cr: bool,
    },
    Complete {
        length: usize,
    },
    TooLong {
        consumed: usize,
    },
    BareLineEnd,
}

/// Finds the end of the line: CRLF and nothing else (RFC 5321 §2.3.8). A bare CR or LF is seen as soon as the octet behind it is there.
pub(super) fn next_line(input: &[u8], skipping: bool, after_cr: bool) -> Line {
    if after_cr && let Some(first) = input.first() {
        return if *first == b'\n' { Line::TooLong { consumed: 1 } } else { Line::BareLineEnd };
    }
    let Some(end) = memchr::memchr2(b'\r', b'\n', input) else {
        let too_long = skipping || input.len() + 2 > COMMAND_LINE;
        return Line::Incomplete { drop: if too_long { input.len() } else { 0 }, ends_with_cr: false };
    };
    match input.get(end..).unwrap_or_default() {
        [b'\r', b'\n', ..] if skipping || end + 2 > COMMAND_LINE => Line::TooLong { consumed: end + 2 },
        [b'\r', b'\n', ..] => Line::Complete { length: end },
        [b'\r'] => {
            let too_long = skipping || end + 2 > COMMAND_LINE;
            Line::Incomplete { drop: if too_long { end + 1 } else { 0 }, ends_with_cr: true }
        }
        _ => Line::BareLineEnd,
    }
}
