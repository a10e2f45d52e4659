//! `send()` over real HTTP on the loopback: what is replayed, what is waited for, who sees the token.

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
