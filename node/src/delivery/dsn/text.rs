//! Foreign text made fit for a report: one line, no control, broken where it is too long. Pure.

/// A word that is longer is broken too: the bound of RFC 5322 §2.1.1 with room for what stands in front.
const LONGEST_WORD: usize = 700;

/// Printable ASCII; everything else is a question mark.
pub(super) fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// What can be read, in one line; what cannot is a question mark.
pub(super) fn in_one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '?' } else { c })
        .collect()
}

/// Appends a text, with `line_end` in place of the space where a line would get longer than `width` octets.
pub(super) fn wrap_to(to: &mut String, text: &str, width: usize, line_end: &str) {
    let mut column = 0;
    for (number, word) in text.split(' ').enumerate() {
        // A fold needs a word in front of it and one behind: a line of white space alone is none (RFC 5322 §3.2.2).
        if number > 0 && column > 0 && !word.is_empty() && column + 1 + word.len() > width {
            to.push_str(line_end);
            column = 0;
        } else if number > 0 {
            to.push(' ');
            column += 1;
        }
        for c in word.chars() {
            if column + c.len_utf8() > LONGEST_WORD.max(width) {
                to.push_str(line_end);
                column = 0;
            }
            to.push(c);
            column += c.len_utf8();
        }
    }
}
