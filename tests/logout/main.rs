//! Logging out: no caller gets a token afterwards, whatever was under way, whatever fails, and nothing of the
//! session is left at the server or in the store. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod after;
mod failing;
mod in_flight;
#[path = "../support/probe.rs"]
mod probe;
mod signing_in;
#[path = "../support/mod.rs"]
mod support;
mod world;
