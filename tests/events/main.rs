//! The reports of a session to subscribers, to the callback for new pairs, and by `status()`. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod callback;
mod ending;
mod pairs;
#[path = "../support/probe.rs"]
mod probe;
mod status;
#[path = "../support/mod.rs"]
mod support;
