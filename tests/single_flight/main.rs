//! One rotation at a time, for any number of callers.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod callers;
mod failures;
#[path = "../support/mod.rs"]
mod support;
mod waiters;
mod whole_pairs;
