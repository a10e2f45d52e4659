//! Tokens of every lifetime: zero, unknown, endless. A lifetime neither causes rotations without end nor stops the
//! rotations.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod calls;
mod lengths;
#[path = "../support/mod.rs"]
mod support;
mod worker;
