//! Base64 as SASL profiles carry it: RFC 4648 §4, padded, canonical, with nothing else in between. No I/O.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Octets that are not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("it is not base64")]
pub struct NotBase64;

/// The octets that `text` stands for; empty text stands for none.
///
/// RFC 4954 §4, RFC 4648 §3.3: white space, missing padding and letters outside of the alphabet are refused, not skipped.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, NotBase64> {
    STANDARD.decode(text).map_err(|_| NotBase64)
}

/// `octets` in base64, in one line.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// How many characters `octets` octets have in base64.
#[must_use]
pub fn encoded_length(octets: usize) -> usize {
    octets.div_ceil(3).saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_canonical_base64_is_taken() {
        // RFC 4648 §10
        for (octets, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(decode(text.as_bytes()), Ok(octets.into()), "{text}");
        }
        // RFC 4648 §3.2, §3.3, §3.5
        for bad in ["Zg", "Zg=", "Zh==", "Zm 8=", "Zm9v\r\n", "Zm9-", "=", "*", "Zg==Zg==", "Zm9v\0"] {
            assert_eq!(decode(bad.as_bytes()), Err(NotBase64), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_out_as_it_was_and_its_length_is_foretold(octets in any::<Vec<u8>>()) {
            let text = encode(&octets);
            prop_assert_eq!(text.len(), encoded_length(octets.len()));
            prop_assert_eq!(decode(text.as_bytes()), Ok(octets));
        }

        #[test]
        fn what_is_taken_has_no_other_form(text in any::<Vec<u8>>()) {
            if let Ok(octets) = decode(&text) {
                prop_assert_eq!(encode(&octets).into_bytes(), text);
            }
        }
    }
}
