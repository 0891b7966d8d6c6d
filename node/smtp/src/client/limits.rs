//! What the peer says it takes in one session (RFC 9422).

/// The limits of a session. None where the peer names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// MAILMAX (§4.1): MAIL commands in a session.
    pub mails: Option<u32>,
    /// RCPTMAX (§4.2): RCPT commands in a transaction.
    pub recipients: Option<u32>,
    /// RCPTDOMAINMAX (§4.3): different domains of recipients in a session.
    pub recipient_domains: Option<u32>,
}

impl Limits {
    /// Takes note of `NAME=value`. §3: what is not known, or has a value that makes no sense, is ignored; of two values the stricter counts.
    pub(super) fn note(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let Some(value) = parse(value) else { return };
        let limit = match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => &mut self.mails,
            "RCPTMAX" => &mut self.recipients,
            "RCPTDOMAINMAX" => &mut self.recipient_domains,
            _ => return,
        };
        *limit = Some(limit.map_or(value, |known| known.min(value)));
    }
}

/// §4.1 to §4.3: one to six digits, the first no zero.
fn parse(value: &str) -> Option<u32> {
    let is_number = (1..=6).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_digit())
        && !value.starts_with('0');
    value.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_nonsense_is_none() {
        // RFC 9422 §3, §4
        let read = |text: &str| {
            let mut limits = Limits::default();
            text.split(' ').for_each(|word| limits.note(word));
            (limits.mails, limits.recipients, limits.recipient_domains)
        };
        assert_eq!(
            read("MAILMAX=10 rcptmax=999999 RCPTDOMAINMAX=1 FUTURE=3"),
            (Some(10), Some(999_999), Some(1))
        );
        assert_eq!(
            read("MAILMAX=0 RCPTMAX=1000000 RCPTDOMAINMAX=-1 RCPTMAX MAILMAX= MAILMAX=+1"),
            (None, None, None)
        );
        assert_eq!(read("RCPTMAX=5 RCPTMAX=3 RCPTMAX=03 RCPTMAX=9"), (None, Some(3), None));
    }
}
