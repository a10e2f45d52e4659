//! The start of a session: a first pair, a new sign-in of the user, the endpoint's own credentials, and a token that
//! never changes.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod first_pair;
mod instances;
mod over_http;
#[path = "../support/probe.rs"]
mod probe;
#[allow(dead_code, reason = "another test needs the rest")]
#[path = "../support/raw_server.rs"]
mod raw_server;
mod replace;
mod static_token;
#[path = "../support/mod.rs"]
mod support;
