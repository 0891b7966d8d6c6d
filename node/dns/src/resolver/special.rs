//! Names that no name server is asked for (RFC 6761, RFC 7686). Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::answer::{Answer, Content, Kind, Question};

/// The answer to a question for a special name; none for all other names.
pub(super) fn answer(question: &Question) -> Option<Answer> {
    let top = question.name.as_str().rsplit('.').next()?;
    let content = match (top, question.kind) {
        // RFC 6761 §6.3
        ("localhost", Kind::A) => Content::Addresses(vec![Ipv4Addr::LOCALHOST.into()]),
        ("localhost", Kind::Aaaa) => Content::Addresses(vec![Ipv6Addr::LOCALHOST.into()]),
        ("localhost", Kind::Mx) => Content::NoRecords,
        // RFC 6761 §6.4, RFC 7686 §2
        ("invalid" | "onion", _) => Content::NoSuchName,
        _ => return None,
    };
    Some(Answer { content, secure: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_here_and_invalid_is_nowhere() {
        let ask = |name: &str, kind| {
            let question = Question { name: name.parse().unwrap(), kind };
            answer(&question).map(|answer| answer.content)
        };
        let here = Content::Addresses(vec![Ipv4Addr::LOCALHOST.into()]);
        assert_eq!(ask("a.localhost", Kind::A), Some(here));
        assert_eq!(ask("localhost", Kind::Mx), Some(Content::NoRecords));
        assert_eq!(ask("x.invalid", Kind::Mx), Some(Content::NoSuchName));
        assert_eq!(ask("localhost.example", Kind::A), None);
    }
}
