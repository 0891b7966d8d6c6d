//! Every reason that a verdict can have, each with its meaning, its weight and the condition that it belongs to. Pure.

use std::fmt;

use crate::verdict::{Condition, Severity};

/// Why a verdict was given. The set is closed: conditions, events, metrics and the documentation all draw on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An Accept-all domain has lists of recipients, or `MailRecipients`: they would never be asked.
    AcceptAllWithLists,
    /// In a cluster, `networks` counts only where client addresses are known to be real, and nothing says that they are.
    AddressesNotTrusted,
    /// An alias of the domain is a domain, or an alias of one, that another resource holds.
    AliasClaimed,
    /// Aliases and groups lead back to where they began.
    AliasLoop,
    /// The certificate is not valid any more.
    CertificateExpired,
    /// No certificate of the listener names the gateway's host name.
    CertificateNameDiffers,
    /// The certificate is not valid yet.
    CertificateNotYetValid,
    /// Two fields that exclude each other are both given.
    ConflictingFields,
    /// The domain is held by another resource, or two claim it and nothing says who was first.
    DomainClaimed,
    /// The `MailDomain` that is named does not exist.
    DomainNotFound,
    /// The gateway grants this domain to no resource of this namespace.
    DomainNotGranted,
    /// A list has the same entry twice.
    DuplicateEntry,
    /// A recipient is listed again elsewhere; the other entry holds.
    DuplicateRecipient,
    /// A list that needs entries has none.
    EmptyList,
    /// A rule matches by nothing and does not say `always`.
    EmptyMatch,
    /// Another operator looks after the gateway.
    ForeignController,
    /// Unknown recipients are forwarded in a circle.
    ForwardLoop,
    /// The gateway that is named does not exist.
    GatewayNotFound,
    /// The gateway that is named is itself refused.
    GatewayRefused,
    /// The gateway lets resources of this namespace connect to no such address.
    HostNotAllowed,
    /// A text is no mailbox, or no local part.
    InvalidAddress,
    /// A text is no cron expression of five fields.
    InvalidCron,
    /// A text is no domain in A-labels.
    InvalidDomain,
    /// A span of time is too short or too long for what it is for.
    InvalidDuration,
    /// A text is neither a host name in A-labels nor an address.
    InvalidHost,
    /// A text does not fit as the name that it should be.
    InvalidName,
    /// A text is no network in CIDR form.
    InvalidNetwork,
    /// A text is no pattern of addresses, or of domains.
    InvalidPattern,
    /// A number is no port.
    InvalidPort,
    /// What a Secret says cannot be used; what that is, is not told.
    InvalidSecret,
    /// A size is too small for what it is for.
    InvalidSize,
    /// A text is no time of day, or two times leave no time between them.
    InvalidTime,
    /// A text names no time zone.
    InvalidTimeZone,
    /// Another `MailUser` of the gateway has the login, or two claim it and nothing says who was first.
    LoginClaimed,
    /// A field is needed because of what another one says.
    MissingField,
    /// The gateway takes no resources from this namespace.
    NamespaceNotAllowed,
    /// A schedule never fires: none of its times exists, or is one when it may.
    NeverFires,
    /// A field is given where it changes nothing.
    NoEffect,
    /// Nothing uses the schedule.
    NotReferenced,
    /// The field or kind is not built yet; the message says what happens instead.
    NotSupportedYet,
    /// The domain that `renamedFrom` names is gone; its name is no alias any more.
    NothingToTakeOver,
    /// Two listeners would be bound to one port.
    PortClaimed,
    /// Another domain is the gateway's primary, or two claim it and nothing says who was first.
    PrimaryClaimed,
    /// A primary domain of a gateway must be in the gateway's namespace.
    PrimaryNotAllowed,
    /// Domains that share a queue deliver it differently.
    QueueDeliveryDiffers,
    /// Another gateway's queue has the same id, or two claim it and nothing says who was first.
    QueueIdClaimed,
    /// The queue belongs to another namespace.
    QueueNotGranted,
    /// A group or an alias names a recipient that the domain does not have.
    RecipientNotFound,
    /// In a cluster the queue must be in Redis.
    RedisRequired,
    /// Mail is held on request, but nobody may request it.
    ReleaseMissing,
    /// The `MailSchedule` that is named does not exist.
    ScheduleNotFound,
    /// The Secret has no such key.
    SecretKeyNotFound,
    /// The Secret that is named does not exist.
    SecretNotFound,
    /// The Secret that is named is there, but its form is refused, so nobody knows what it says.
    SecretRefused,
    /// A rule can never take effect: one before it always does.
    Shadowed,
    /// Another domain took the name over by `renamedFrom`; this one may be deleted.
    Superseded,
    /// The tier is not for rules of this namespace.
    TierNotAllowed,
    /// The `MailUser` that is named does not exist.
    UserNotFound,
}

impl Reason {
    /// All reasons, by name.
    pub const ALL: [Self; 58] = [
        Self::AcceptAllWithLists,
        Self::AddressesNotTrusted,
        Self::AliasClaimed,
        Self::AliasLoop,
        Self::CertificateExpired,
        Self::CertificateNameDiffers,
        Self::CertificateNotYetValid,
        Self::ConflictingFields,
        Self::DomainClaimed,
        Self::DomainNotFound,
        Self::DomainNotGranted,
        Self::DuplicateEntry,
        Self::DuplicateRecipient,
        Self::EmptyList,
        Self::EmptyMatch,
        Self::ForeignController,
        Self::ForwardLoop,
        Self::GatewayNotFound,
        Self::GatewayRefused,
        Self::HostNotAllowed,
        Self::InvalidAddress,
        Self::InvalidCron,
        Self::InvalidDomain,
        Self::InvalidDuration,
        Self::InvalidHost,
        Self::InvalidName,
        Self::InvalidNetwork,
        Self::InvalidPattern,
        Self::InvalidPort,
        Self::InvalidSecret,
        Self::InvalidSize,
        Self::InvalidTime,
        Self::InvalidTimeZone,
        Self::LoginClaimed,
        Self::MissingField,
        Self::NamespaceNotAllowed,
        Self::NeverFires,
        Self::NoEffect,
        Self::NotReferenced,
        Self::NotSupportedYet,
        Self::NothingToTakeOver,
        Self::PortClaimed,
        Self::PrimaryClaimed,
        Self::PrimaryNotAllowed,
        Self::QueueDeliveryDiffers,
        Self::QueueIdClaimed,
        Self::QueueNotGranted,
        Self::RecipientNotFound,
        Self::RedisRequired,
        Self::ReleaseMissing,
        Self::ScheduleNotFound,
        Self::SecretKeyNotFound,
        Self::SecretNotFound,
        Self::SecretRefused,
        Self::Shadowed,
        Self::Superseded,
        Self::TierNotAllowed,
        Self::UserNotFound,
    ];

    /// Whether it refuses something or only warns.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::AddressesNotTrusted
            | Self::CertificateExpired
            | Self::CertificateNameDiffers
            | Self::CertificateNotYetValid
            | Self::DuplicateRecipient
            | Self::ForeignController
            | Self::NeverFires
            | Self::NoEffect
            | Self::NotReferenced
            | Self::NotSupportedYet
            | Self::NothingToTakeOver
            | Self::Shadowed
            | Self::Superseded => Severity::Warning,
            Self::AcceptAllWithLists
            | Self::AliasClaimed
            | Self::AliasLoop
            | Self::ConflictingFields
            | Self::DomainClaimed
            | Self::DomainNotFound
            | Self::DomainNotGranted
            | Self::DuplicateEntry
            | Self::EmptyList
            | Self::EmptyMatch
            | Self::ForwardLoop
            | Self::GatewayNotFound
            | Self::GatewayRefused
            | Self::HostNotAllowed
            | Self::InvalidAddress
            | Self::InvalidCron
            | Self::InvalidDomain
            | Self::InvalidDuration
            | Self::InvalidHost
            | Self::InvalidName
            | Self::InvalidNetwork
            | Self::InvalidPattern
            | Self::InvalidPort
            | Self::InvalidSecret
            | Self::InvalidSize
            | Self::InvalidTime
            | Self::InvalidTimeZone
            | Self::LoginClaimed
            | Self::MissingField
            | Self::NamespaceNotAllowed
            | Self::PortClaimed
            | Self::PrimaryClaimed
            | Self::PrimaryNotAllowed
            | Self::QueueDeliveryDiffers
            | Self::QueueIdClaimed
            | Self::QueueNotGranted
            | Self::RecipientNotFound
            | Self::RedisRequired
            | Self::ReleaseMissing
            | Self::ScheduleNotFound
            | Self::SecretKeyNotFound
            | Self::SecretNotFound
            | Self::SecretRefused
            | Self::TierNotAllowed
            | Self::UserNotFound => Severity::Error,
        }
    }

    /// Whether it takes away what the resource had, or says that another has it: then what was programmed of it before must not stay. All
    /// others are slips that the owner of the resource can correct, or name something that is missing, which opens nothing to anybody.
    #[must_use]
    pub const fn revokes(self) -> bool {
        match self {
            Self::AliasClaimed
            | Self::DomainClaimed
            | Self::DomainNotGranted
            | Self::ForeignController
            | Self::GatewayNotFound
            | Self::GatewayRefused
            | Self::HostNotAllowed
            | Self::LoginClaimed
            | Self::NamespaceNotAllowed
            | Self::PrimaryClaimed
            | Self::PrimaryNotAllowed
            | Self::QueueIdClaimed
            | Self::QueueNotGranted
            | Self::Superseded
            | Self::TierNotAllowed => true,
            Self::AcceptAllWithLists
            | Self::AddressesNotTrusted
            | Self::AliasLoop
            | Self::CertificateExpired
            | Self::CertificateNameDiffers
            | Self::CertificateNotYetValid
            | Self::ConflictingFields
            | Self::DomainNotFound
            | Self::DuplicateEntry
            | Self::DuplicateRecipient
            | Self::EmptyList
            | Self::EmptyMatch
            | Self::ForwardLoop
            | Self::InvalidAddress
            | Self::InvalidCron
            | Self::InvalidDomain
            | Self::InvalidDuration
            | Self::InvalidHost
            | Self::InvalidName
            | Self::InvalidNetwork
            | Self::InvalidPattern
            | Self::InvalidPort
            | Self::InvalidSecret
            | Self::InvalidSize
            | Self::InvalidTime
            | Self::InvalidTimeZone
            | Self::MissingField
            | Self::NeverFires
            | Self::NoEffect
            | Self::NotReferenced
            | Self::NotSupportedYet
            | Self::NothingToTakeOver
            | Self::PortClaimed
            | Self::QueueDeliveryDiffers
            | Self::RecipientNotFound
            | Self::RedisRequired
            | Self::ReleaseMissing
            | Self::ScheduleNotFound
            | Self::SecretKeyNotFound
            | Self::SecretNotFound
            | Self::SecretRefused
            | Self::Shadowed
            | Self::UserNotFound => false,
        }
    }

    /// The condition that carries it, and whether that condition is then true.
    #[must_use]
    pub const fn condition(self) -> (Condition, bool) {
        match self {
            Self::DomainNotFound
            | Self::HostNotAllowed
            | Self::InvalidSecret
            | Self::RecipientNotFound
            | Self::ScheduleNotFound
            | Self::SecretKeyNotFound
            | Self::SecretNotFound
            | Self::SecretRefused
            | Self::UserNotFound
            | Self::NothingToTakeOver => (Condition::ResolvedRefs, false),
            Self::CertificateExpired | Self::CertificateNameDiffers | Self::CertificateNotYetValid => {
                (Condition::ResolvedRefs, true)
            }
            Self::GatewayRefused | Self::RedisRequired => (Condition::Programmed, false),
            Self::NotReferenced | Self::NotSupportedYet => (Condition::Programmed, true),
            Self::AddressesNotTrusted | Self::DuplicateRecipient | Self::NoEffect => {
                (Condition::Accepted, true)
            }
            Self::NeverFires | Self::Shadowed => (Condition::Shadowed, true),
            _ => (Condition::Accepted, false),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f) // the variants are named as conditions name them
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_in_the_list() {
        let declared = include_str!("reason.rs")
            .lines()
            .skip_while(|line| !line.starts_with("pub enum Reason"))
            .skip(1)
            .take_while(|line| *line != "}")
            .filter(|line| !line.trim_start().starts_with("///"))
            .map(|line| line.trim().trim_end_matches(','));
        assert!(declared.eq(Reason::ALL.iter().map(ToString::to_string)));
    }

    #[test]
    fn tenancy_grants_and_claims_revoke_and_nothing_else_does() {
        let revoking: Vec<_> = Reason::ALL.into_iter().filter(|reason| reason.revokes()).collect();
        let expected = [
            Reason::AliasClaimed,
            Reason::DomainClaimed,
            Reason::DomainNotGranted,
            Reason::ForeignController,
            Reason::GatewayNotFound,
            Reason::GatewayRefused,
            Reason::HostNotAllowed,
            Reason::LoginClaimed,
            Reason::NamespaceNotAllowed,
            Reason::PrimaryClaimed,
            Reason::PrimaryNotAllowed,
            Reason::QueueIdClaimed,
            Reason::QueueNotGranted,
            Reason::Superseded,
            Reason::TierNotAllowed,
        ];
        assert_eq!(revoking, expected);
    }
}
