//! The client side of SMTP and LMTP.
