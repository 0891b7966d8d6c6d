//! The content of a message on the wire: dot-unstuffing on the way in, dot-stuffing on the way out, and what is learned in passing.
//!
//! Only CRLF ends a line and only CRLF.CRLF ends the content (RFC 5321 §2.3.8, §4.1.1.4); whatever another implementation might take for an
//! end is refused, so that no message can be smuggled inside another. Everything else passes unchanged: NUL and 8-bit octets too.

mod decoder;
mod encoder;
mod headers;
mod lines;
mod mime;

pub use decoder::{BadContent, Decoder, Next, Scan};
pub use encoder::Encoder;
pub use headers::{HeaderObserver, Mark};
pub use lines::Lines;
pub use mime::MimeHeaders;

/// The longest line of content, without its CRLF and stuffed dot: RFC 5321 §4.5.3.1.6 asks for 1,000; far more are seen in the field, and a
/// bound there must be.
pub const CONTENT_LINE: usize = 4096;
