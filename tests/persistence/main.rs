//! When a pair is stored, and what becomes of those that are given out before.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod behind;
mod collisions;
mod gate;
#[path = "../support/mod.rs"]
mod support;
