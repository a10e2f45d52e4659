//! Tokens of every lifetime: none, unknown, endless. A rotation neither runs wild nor stops because of them.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod calls;
mod lengths;
#[path = "../support/mod.rs"]
mod support;
mod worker;
