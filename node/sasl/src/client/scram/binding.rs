//! What the client says of channel binding (RFC 5802 §6). Pure.

/// How the exchange is bound to the TLS connection below it.
///
/// This is the place for SCRAM-…-PLUS: a variant with the exporter's keying material (RFC 9266 §2) has the header `p=tls-exporter,,` and appends
/// the material to the input; and one for a client that could, but was not offered -PLUS, has `y,,` (RFC 5802 §6: so a server notices
/// who struck it from the offer). The mechanisms, and the material in `Channel`, come with them; nothing else here changes.
pub(super) enum Binding {
    /// Not at all: this client cannot.
    None,
}

impl Binding {
    /// `gs2-header`: the flag, and no authorization identity.
    pub(super) fn gs2_header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
        }
    }

    /// `cbind-input`: the header again, under the proof now, and what binds.
    pub(super) fn input(&self) -> Vec<u8> {
        match self {
            Self::None => self.gs2_header().into(),
        }
    }
}
