//! The FOLIO server for tests: its answers to each client, in both kinds and through both faces.

#![allow(missing_docs, unreachable_pub)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

mod api;
mod browser;
mod faults;
mod logging_out;
mod over_http;
mod refreshing;
mod signing_in;
