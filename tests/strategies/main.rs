//! When each strategy rotates, and for what a caller waits.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod background_timer;
mod every;
mod on_request;
mod optimistic_early;
#[path = "../support/mod.rs"]
mod support;
