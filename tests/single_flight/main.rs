//! One rotation at a time, however many callers there are.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod callers;
mod failures;
#[path = "../support/mod.rs"]
mod support;
mod whole_pairs;
