//! One rule for rejected tokens on every client: each case here passes for every way to call an API.

#![allow(missing_docs)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

mod bodies;
mod building;
mod early_death;
mod events;
mod load;
mod origins;
mod pair;
mod proxies;
#[allow(
    dead_code,
    reason = "shared with the tests of send(), which need more of it"
)]
#[path = "../send/recorder.rs"]
mod recorder;
mod redirects;
mod rejection;
#[path = "../support/mod.rs"]
mod support;
mod unavailable;
mod ways;
#[allow(
    dead_code,
    reason = "shared with the tests of send(), which need more of it"
)]
#[path = "../send/world.rs"]
mod world;
