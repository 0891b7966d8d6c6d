//! Tests of the whole: architecture, dialogues, durability, real peers, benchmarks.
