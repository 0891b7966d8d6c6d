//! Why a text is no address: one closed error for domains, local parts, mailboxes and paths, so that a protocol can answer each case with
//! its own reply.

/// The longest local part, as given (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_LENGTH: usize = 64;

/// The longest domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_LENGTH: usize = 255;

/// The longest path with its angle brackets (RFC 5321 §4.5.3.1.3).
pub const PATH_LENGTH: usize = 256;

/// The longest label of a domain (RFC 1035 §2.3.4).
pub const LABEL_LENGTH: usize = 63;

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseAddressError {
    /// The local part is neither a dot-string nor a quoted string (RFC 5321 §4.1.2).
    #[error("the local part is not valid")]
    LocalPart,
    /// The local part is longer than 64 octets (RFC 5321 §4.5.3.1.1).
    #[error("the local part is longer than 64 octets")]
    LocalPartTooLong,
    /// No `@` follows the local part.
    #[error("there is no @ after the local part")]
    NoDomain,
    /// The domain is not made of labels of letters, digits and inner hyphens (RFC 5321 §4.1.2), or it ends with a dot.
    #[error("the domain is not valid")]
    Domain,
    /// The domain is longer than 255 octets, or one of its labels longer than 63.
    #[error("the domain is too long")]
    DomainTooLong,
    /// The address literal is neither `[IPv4]` nor `[IPv6:…]` (RFC 5321 §4.1.3).
    #[error("the address literal is not valid")]
    AddressLiteral,
    /// The path has no angle brackets around it.
    #[error("the path is not in angle brackets")]
    Brackets,
    /// The source route is not `@a,@b:` (RFC 5321 §4.1.2).
    #[error("the source route is not valid")]
    SourceRoute,
    /// The path with its brackets is longer than 256 octets (RFC 5321 §4.5.3.1.3).
    #[error("the path is longer than 256 octets")]
    PathTooLong,
    /// Something follows the end of the address.
    #[error("something follows the address")]
    Trailing,
}
