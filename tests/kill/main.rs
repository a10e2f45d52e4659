//! Imports as processes, which can be killed and measured.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used
)]

#[path = "../support/examples.rs"]
mod examples;
mod kills;
#[cfg(target_os = "linux")]
mod memory;
mod processes;
mod servers;
