//! What a subscriber, the callback for new pairs and `status()` report of a session. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod callback;
mod ending;
mod pairs;
#[path = "../support/probe.rs"]
mod probe;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod timeline;
