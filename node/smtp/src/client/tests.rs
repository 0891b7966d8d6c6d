//! Whole sessions, in tests.
