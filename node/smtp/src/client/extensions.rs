//! What the peer offers (RFC 5321 §4.1.1.1).

use posthouse_model::Reply;

use super::Limits;

/// Mechanisms of AUTH that are remembered: more than any server has.
const MECHANISMS: usize = 64;

/// The longest name of a mechanism (RFC 4422 §3.1).
const LONGEST_MECHANISM: usize = 20;

/// The extensions in an answer to EHLO or LHLO that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a keyword that was said or not, whatever the others are"
)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870), if offered.
    pub size: Option<SizeLimit>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// CHUNKING (RFC 3030 §2).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030 §3). It is worth nothing without CHUNKING, and does not count then.
    pub binary_mime: bool,
    /// SMTPUTF8 (RFC 6531). It must come with 8BITMIME (§3.1), and does not count without.
    pub smtp_utf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689): noted only.
    pub require_tls: bool,
    /// AUTH (RFC 4954 §3): the names of mechanisms.
    pub auth: Vec<String>,
    /// LIMITS (RFC 9422).
    pub limits: Limits,
}

/// What SIZE says (RFC 1870 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SizeLimit {
    /// `SIZE` without a number, or with one that is none.
    Unknown,
    /// `SIZE 0`
    Unlimited,
    /// The largest message in octets.
    Octets(u64),
}

impl Extensions {
    /// Reads the answer: the first line is the peer's name, each further one a keyword with its arguments. Unknown keywords are ignored.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => found.pipelining = true,
                "SIZE" => found.size = Some(parse_size(words.next())),
                "8BITMIME" => found.eight_bit_mime = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "STARTTLS" => found.start_tls = true,
                "CHUNKING" => found.chunking = true,
                "BINARYMIME" => found.binary_mime = true,
                "SMTPUTF8" => found.smtp_utf8 = true,
                "DSN" => found.dsn = true,
                "REQUIRETLS" => found.require_tls = true,
                "AUTH" => found.note_mechanisms(words),
                "LIMITS" => words.for_each(|word| found.limits.note(word)),
                // What some servers said before there was an RFC, and say still.
                other => {
                    if let Some(mechanism) = other.strip_prefix("AUTH=") {
                        found.note_mechanisms([mechanism].into_iter().chain(words));
                    }
                }
            }
        }
        found.binary_mime &= found.chunking;
        found.smtp_utf8 &= found.eight_bit_mime;
        found
    }

    fn note_mechanisms<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names.filter(|name| (1..=LONGEST_MECHANISM).contains(&name.len())) {
            if self.auth.len() < MECHANISMS && !self.auth.iter().any(|known| known.eq_ignore_ascii_case(name))
            {
                self.auth.push(name.to_owned());
            }
        }
    }

    /// Whether a message of this size is more than the peer takes.
    #[must_use]
    pub fn is_too_large(&self, size: u64) -> bool {
        matches!(self.size, Some(SizeLimit::Octets(limit)) if size > limit)
    }
}

/// RFC 1870 §4: digits, and nothing else.
fn parse_size(value: Option<&str>) -> SizeLimit {
    match value.filter(|value| value.bytes().all(|b| b.is_ascii_digit())).map(str::parse) {
        Some(Ok(0)) => SizeLimit::Unlimited,
        Some(Ok(limit)) => SizeLimit::Octets(limit),
        _ => SizeLimit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(text: &str) -> Extensions {
        Extensions::parse(&text.parse().unwrap())
    }

    #[test]
    fn keywords_have_no_case_and_size_zero_is_no_limit() {
        // RFC 5321 §4.1.1.1, RFC 1870 §4
        let found =
            offers("250-PIPELINING is my name\n250-pipelining\n250-Size 10\n250-X-ODD a b\n250 8bitmime");
        assert!(found.pipelining && found.eight_bit_mime && !found.enhanced_status_codes);
        assert!(found.is_too_large(11) && !found.is_too_large(10));
        assert_eq!(offers("250-a\n250 SIZE 0").size, Some(SizeLimit::Unlimited));
        for none in ["SIZE", "SIZE +10", "SIZE -1", "SIZE 10x", "SIZE ten", "SIZE 99999999999999999999"] {
            assert_eq!(offers(&format!("250-a\n250 {none}")).size, Some(SizeLimit::Unknown), "{none}");
        }
        assert_eq!(offers("250 SIZE 10"), Extensions::default());
    }

    #[test]
    fn mechanisms_are_noted_once_and_in_both_forms() {
        // RFC 4954 §3
        assert_eq!(
            offers("250-a\n250-AUTH PLAIN LOGIN\n250 AUTH=plain XOAUTH2").auth,
            ["PLAIN", "LOGIN", "XOAUTH2"]
        );
        assert_eq!(offers("250-a\n250-AUTH\n250 AUTH=").auth, [""; 0]);
        let many: Vec<String> = (0..1000).map(|number| format!("X{number}")).collect();
        assert_eq!(
            offers(&format!("250-a\n250 AUTH {} {}", "Y".repeat(21), many.join(" "))).auth.len(),
            MECHANISMS
        );
    }

    #[test]
    fn what_needs_another_keyword_does_not_count_without_it() {
        // RFC 3030 §3, RFC 6531 §3.1
        let found = offers("250-a\n250-BINARYMIME\n250-SMTPUTF8\n250 DSN");
        assert!(!found.binary_mime && !found.smtp_utf8 && found.dsn);
        let found = offers("250-a\n250-SMTPUTF8\n250-8BITMIME\n250-BINARYMIME\n250 CHUNKING");
        assert!(found.binary_mime && found.smtp_utf8);
    }
}
