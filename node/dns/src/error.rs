//! Why there is no host to send mail to. Pure.

use posthouse_model::{EnhancedStatus, ReplyCode};

use crate::{answer::Failure, name::Destination};

/// Why there is no host to send mail to. The words are ours; nothing in them comes from the network but names that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHosts {
    /// RFC 7505: the domain says that it takes no mail.
    #[error("{0} takes no mail: its MX record is null")]
    NullMx(Destination),
    /// NXDOMAIN for a domain.
    #[error("the domain {0} does not exist")]
    NoSuchDomain(Destination),
    /// RFC 5321 §5.1: MX records, or none and the domain itself, but no host with an address.
    #[error("no host with an address takes mail for {0}")]
    NoUsableHost(Destination),
    /// There are hosts, but none at an address that mail may be sent to: who looks at addresses says so.
    #[error("the hosts of {0} are at addresses that no mail is sent to")]
    Forbidden(Destination),
    /// RFC 5321 §5.1: this gateway is the best host.
    #[error("the MX of {0} points back to this gateway")]
    Loop(Destination),
    /// A host that the configuration names has no address. Mail waits: whoever named it can correct it.
    #[error("the host {0} has no address")]
    NoSuchHost(Destination),
    /// A question has no answer now.
    #[error(transparent)]
    Unanswered(#[from] Failure),
}

impl NoHosts {
    /// For a metric's label.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::NullMx(_) => "null_mx",
            Self::NoSuchDomain(_) => "no_such_domain",
            Self::NoUsableHost(_) => "no_usable_host",
            Self::Forbidden(_) => "forbidden",
            Self::Loop(_) => "loop",
            Self::NoSuchHost(_) => "no_such_host",
            Self::Unanswered(failure) => failure.cause.category(),
        }
    }

    /// Whether another attempt is of no use.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::NullMx(_)
            | Self::NoSuchDomain(_)
            | Self::NoUsableHost(_)
            | Self::Forbidden(_)
            | Self::Loop(_) => true,
            Self::NoSuchHost(_) | Self::Unanswered(_) => false,
        }
    }

    /// The enhanced status of a recipient whose mail ends here.
    #[must_use]
    pub const fn status(&self) -> EnhancedStatus {
        match self {
            // RFC 7505 §6: 5.1.10, recipient address has null MX
            Self::NullMx(_) => EnhancedStatus::permanent(1, 10),
            // RFC 3463 §3.2: X.1.2, bad destination system address
            Self::NoSuchDomain(_) => EnhancedStatus::permanent(1, 2),
            // RFC 3463 §3.5: X.4.4, unable to route ("a DNS lookup returning only an SOA record")
            Self::NoUsableHost(_) | Self::Forbidden(_) => EnhancedStatus::permanent(4, 4),
            // RFC 3463 §3.5: X.4.6, routing loop detected
            Self::Loop(_) => EnhancedStatus::permanent(4, 6),
            Self::NoSuchHost(_) => EnhancedStatus::transient(4, 4),
            // RFC 3463 §3.5: X.4.3, directory server failure
            Self::Unanswered(_) => EnhancedStatus::transient(4, 3),
        }
    }

    /// The code of a reply that says so.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        let number = match self {
            Self::NullMx(_) => 556, // RFC 7504 §4, RFC 7505 §4.1
            Self::NoSuchDomain(_) | Self::NoUsableHost(_) | Self::Forbidden(_) => 550,
            Self::Loop(_) => 554,
            Self::NoSuchHost(_) | Self::Unanswered(_) => 451,
        };
        ReplyCode::new(number).unwrap_or(ReplyCode::LOCAL_ERROR) // all of them are codes
    }
}

#[cfg(test)]
mod tests {
    use posthouse_model::{Severity, StatusClass};

    use super::*;
    use crate::answer::{Cause, Kind, Question};

    #[test]
    fn each_error_has_its_code_and_status_and_they_agree() {
        let to = || "example.com".parse::<Destination>().unwrap();
        let question = Question { name: "example.com".parse().unwrap(), kind: Kind::Mx };
        for (error, code, status) in [
            (NoHosts::NullMx(to()), 556, "5.1.10"),
            (NoHosts::NoSuchDomain(to()), 550, "5.1.2"),
            (NoHosts::NoUsableHost(to()), 550, "5.4.4"),
            (NoHosts::Forbidden(to()), 550, "5.4.4"),
            (NoHosts::Loop(to()), 554, "5.4.6"),
            (NoHosts::NoSuchHost(to()), 451, "4.4.4"),
            (NoHosts::Unanswered(Failure { question, cause: Cause::Bogus }), 451, "4.4.3"),
        ] {
            assert_eq!(
                (error.code().number(), error.status().to_string().as_str()),
                (code, status),
                "{error}"
            );
            assert_eq!(error.is_permanent(), error.status().class() == StatusClass::Permanent, "{error}");
            assert_eq!(error.is_permanent(), error.code().severity() == Severity::Permanent, "{error}");
            assert!(error.to_string().contains("example.com"), "{error}");
        }
    }

    #[test]
    fn a_bogus_answer_names_what_was_asked() {
        let question = Question { name: "example.com".parse().unwrap(), kind: Kind::Mx };
        let error = NoHosts::Unanswered(Failure { question, cause: Cause::Bogus });
        assert_eq!(
            error.to_string(),
            "cannot find the MX of example.com: the answer is bogus: DNSSEC validation failed"
        );
    }
}
