//! What this side says in place of the peer, one named constructor each: code, enhanced status (RFC 3463, registry RFC 5248) and the section that
//! says so.

use posthouse_model::{EnhancedStatus, Reply, ReplyCode};
use posthouse_sasl::{
    CredentialsError,
    client::{ExchangeError, NoMechanism},
};

use super::{Origin, Refusal, Stage};

/// 454, RFC 3207 §4, RFC 4954 §6: TLS or authentication is not to be had now. That another attempt may find it, or another configuration, is what
/// makes it transient.
const NOT_NOW: ReplyCode = match ReplyCode::new(454) {
    Ok(code) => code,
    Err(_) => ReplyCode::LOCAL_ERROR,
};

/// 454 4.7.4, TLS is required and not offered: RFC 3207 §4, RFC 3463 §3.8. Nothing of the message is at fault.
pub(super) fn tls_not_offered() -> Refusal {
    let text = "TLS is required, and the next hop does not offer STARTTLS";
    refusal(Stage::StartTls, NOT_NOW, EnhancedStatus::transient(7, 4), text)
}

/// 454 4.7.0, TLS is required, and the peer refuses it, whatever for: RFC 3207 §4. This is said of each recipient, and the peer's own words were about
/// none: only its code is told.
pub(super) fn tls_refused(code: ReplyCode) -> Refusal {
    let text = format!("TLS is required, and the next hop refuses STARTTLS with {code}");
    refusal(Stage::StartTls, NOT_NOW, EnhancedStatus::transient(7, 0), &text)
}

/// 454 4.7.4 where the peer offers no mechanism that is wanted (RFC 3463 §3.8), 454 4.7.11 where those that it offers need an encrypted connection
/// (RFC 4954 §6).
pub(super) fn no_mechanism(error: &NoMechanism) -> Refusal {
    let status = match error {
        NoMechanism::NotOffered { .. } => EnhancedStatus::transient(7, 4),
        NoMechanism::Clear { .. } => EnhancedStatus::transient(7, 11),
    };
    not_authenticated(status, &error.to_string())
}

/// 454 4.7.8, credentials that the mechanism cannot say: RFC 4954 §6. They are not shown.
pub(super) fn bad_credentials(error: CredentialsError) -> Refusal {
    not_authenticated(EnhancedStatus::transient(7, 8), &error.to_string())
}

/// 454 4.7.0, the peer did not keep to the exchange: RFC 4954 §4, §6.
pub(super) fn exchange_failed(error: ExchangeError) -> Refusal {
    not_authenticated(EnhancedStatus::transient(7, 0), &error.to_string())
}

fn not_authenticated(status: EnhancedStatus, why: &str) -> Refusal {
    refusal(Stage::Authentication, NOT_NOW, status, &format!("cannot authenticate to the next hop: {why}"))
}

/// 552 5.3.4, larger than SIZE allows: RFC 1870 §6: do not even ask.
pub(super) fn too_large() -> Refusal {
    refusal(
        Stage::Mail,
        ReplyCode::TOO_MUCH,
        EnhancedStatus::permanent(3, 4),
        "larger than the next hop takes",
    )
}

/// 554 5.6.3, the peer lacks 8BITMIME: RFC 6152 §3.
pub(super) fn needs_eight_bit_mime() -> Refusal {
    let status = EnhancedStatus::permanent(6, 3);
    refusal(Stage::Mail, ReplyCode::FAILED, status, "the next hop takes no 8-bit content")
}

/// 554 5.6.1, the peer lacks BINARYMIME or CHUNKING: RFC 3030 §3: binary content must not be sent then, under any circumstances.
pub(super) fn needs_binary_mime() -> Refusal {
    let status = EnhancedStatus::permanent(6, 1);
    refusal(Stage::Mail, ReplyCode::FAILED, status, "the next hop takes no binary content")
}

/// 554 5.6.9, a header in UTF-8 and a peer without SMTPUTF8: RFC 6531 §3.2, §3.5.
pub(super) fn needs_smtp_utf8() -> Refusal {
    let status = EnhancedStatus::permanent(6, 9);
    refusal(Stage::Mail, ReplyCode::FAILED, status, "the next hop takes no header fields in UTF-8")
}

/// 550 5.6.7, a sender that has no form in ASCII: RFC 6531 §3.5.
pub(super) fn sender_beyond_ascii() -> Refusal {
    let status = EnhancedStatus::permanent(6, 7);
    let text = "the next hop takes no sender's address beyond ASCII";
    refusal(Stage::Mail, ReplyCode::MAILBOX_UNAVAILABLE, status, text)
}

/// 553 5.6.7, a recipient that has no form in ASCII: RFC 6531 §3.5.
pub(super) fn recipient_beyond_ascii() -> Refusal {
    let status = EnhancedStatus::permanent(6, 7);
    let text = "the next hop takes no recipient's address beyond ASCII";
    refusal(Stage::Rcpt, ReplyCode::NAME_NOT_ALLOWED, status, text)
}

fn refusal(stage: Stage, code: ReplyCode, status: EnhancedStatus, text: &str) -> Refusal {
    Refusal { stage, reply: Reply::new(code, Some(status), text), origin: Origin::Local }
}
