//! `send()` over real HTTP on loopback: which requests are replayed, what the manager waits for, and which hosts get the
//! token.

#![allow(missing_docs)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

mod ended;
mod in_flight;
mod no_replay;
mod origins;
mod recorder;
mod redirects;
mod rejection;
mod secrets;
mod unavailable;
mod usage;
mod world;
