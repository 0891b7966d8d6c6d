//! The store as a whole: what a crash leaves, what a compaction keeps, what a full disk still allows.
