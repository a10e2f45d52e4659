//! Processes that share one session: they rotate it once for all of them, and outlive each other.
//!
//! Runs with kills and pauses are short by default; `EVERTOKEN_INSTANCES_SECONDS` is how long they are
//! (two minutes at least are the real thing), and `EVERTOKEN_SEED` what they are drawn from.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

#[path = "../support/examples.rs"]
mod examples;
mod killed;
mod processes;
mod quiet;
mod run;
#[cfg(any(feature = "redis", feature = "postgres"))]
#[path = "../support/services.rs"]
mod services;
mod stores;
