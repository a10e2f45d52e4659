//! The time at which a pair is stored, and the fate of the pairs that callers get earlier.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod behind;
mod collisions;
mod gate;
#[path = "../support/mod.rs"]
mod support;
