//! Processes that share one session rotate once for all of them, and survive each other.
//!
//! Runs with kills and pauses are short by default. `EVERTOKEN_INSTANCES_SECONDS` sets their length in seconds (at
//! least two minutes for a thorough run), and `EVERTOKEN_SEED` the seed of their random choices.

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
