//! When each strategy rotates, and what a caller waits for.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod background_timer;
mod every;
mod on_request;
mod optimistic_early;
#[path = "../support/mod.rs"]
mod support;
