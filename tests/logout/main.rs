//! Logging out. A caller does not get a token after a logout, whatever was in flight and whatever fails. The session is
//! removed from the server and from the store. Time is simulated.

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
