//! SMTP and LMTP wire and states, both sides, sans-IO.
