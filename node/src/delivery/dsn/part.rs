//! One part of a report: its type, and its content in a transfer encoding that any next hop can carry. Pure.

/// RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6: octets of a line without its CRLF.
const LINE: usize = 998;

/// RFC 2045 §6.7: characters of a quoted-printable line, the `=` of a soft line break included.
const QUOTED_LINE: usize = 76;

/// A part of a multipart.
pub(super) struct Part<'p> {
    /// Its media type with its parameters.
    pub(super) kind: &'p str,
    /// What it is, for people who look at the source.
    pub(super) description: &'p str,
    /// Its content.
    pub(super) octets: &'p [u8],
}

impl Part<'_> {
    /// Appends the part behind its delimiter. `eight_bit`: 8-bit content may go as it is; otherwise it is encoded, so that the report needs no
    /// extension of any next hop: nobody is told of a report that is refused.
    pub(super) fn append_to(&self, content: &mut Vec<u8>, boundary: &str, eight_bit: bool) {
        let fits = has_mail_lines(self.octets);
        // RFC 2045 §6.2: 7bit is what an absent field says.
        let encoding = match (fits, self.octets.is_ascii()) {
            (true, true) => "",
            (true, false) if eight_bit => "Content-Transfer-Encoding: 8bit\r\n",
            _ => "Content-Transfer-Encoding: quoted-printable\r\n",
        };
        content.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Type: {}\r\nContent-Description: {}\r\n{encoding}\r\n",
                self.kind, self.description
            )
            .as_bytes(),
        );
        if fits && (eight_bit || self.octets.is_ascii()) {
            content.extend_from_slice(self.octets);
        } else {
            quote_to(content, self.octets);
        }
        // RFC 2046 §5.1.1: this line end belongs to the delimiter that follows.
        content.extend_from_slice(b"\r\n");
    }
}

/// Whether octets are lines of mail: ended by CRLF, within 998 octets, without NUL and without a CR or LF of its own (RFC 2045 §2.7, §2.8).
pub(super) fn has_mail_lines(octets: &[u8]) -> bool {
    let (mut length, mut previous) = (0, 0);
    for octet in octets {
        match (previous, *octet) {
            (b'\r', b'\n') => length = 0,
            (b'\r', _) | (_, b'\n' | 0) => return false,
            (_, b'\r') => {}
            _ if length == LINE => return false,
            _ => length += 1,
        }
        previous = *octet;
    }
    previous != b'\r'
}

/// Appends octets in quoted-printable (RFC 2045 §6.7): every octet comes back as it was.
fn quote_to(content: &mut Vec<u8>, octets: &[u8]) {
    let (mut column, mut rest) = (0, octets);
    while let [octet, after @ ..] = rest {
        if let Some(next_line) = rest.strip_prefix(b"\r\n") {
            content.extend_from_slice(b"\r\n");
            (column, rest) = (0, next_line);
            continue;
        }
        let ends_line = after.is_empty() || after.starts_with(b"\r\n");
        let is_literal = match octet {
            b'=' => false,
            b' ' | b'\t' => !ends_line,
            octet => octet.is_ascii_graphic(),
        };
        let width = if is_literal { 1 } else { 3 };
        if column + width >= QUOTED_LINE {
            content.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if is_literal {
            content.push(*octet);
        } else {
            content.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
        (column, rest) = (column + width, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(octets: &[u8]) -> String {
        let mut content = Vec::new();
        quote_to(&mut content, octets);
        String::from_utf8(content).unwrap()
    }

    #[test]
    fn quoted_printable_has_short_lines_and_hides_what_does_not_travel() {
        // RFC 2045 §6.7
        assert_eq!(quoted("a=\u{fc} \r\nb\t\r\n".as_bytes()), "a=3D=C3=BC=20\r\nb=09\r\n");
        assert_eq!(quoted(b"a\rb\nc\0 d"), "a=0Db=0Ac=00 d");
        let long = quoted(&[b'x'; 200]);
        assert!(long.split("\r\n").all(|line| line.len() <= QUOTED_LINE));
        assert_eq!(long.replace("=\r\n", ""), "x".repeat(200));
    }

    #[test]
    fn lines_of_mail_are_ended_by_crlf_and_within_998_octets() {
        // RFC 2045 §2.7, §2.8
        let long = "x".repeat(LINE);
        for good in ["", "a", "a\r\n", "\r\n\r\n", &format!("{long}\r\n{long}")] {
            assert!(has_mail_lines(good.as_bytes()), "{good:?}");
        }
        for bad in ["a\n", "a\rb", "a\r", "a\0", "\n", "\r\r\n", &format!("{long}x")] {
            assert!(!has_mail_lines(bad.as_bytes()), "{bad:?}");
        }
    }
}
