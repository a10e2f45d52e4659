//! One rule for rejected tokens on every client: a case of `ways!` passes for every way to call an API. The other tests
//! hold `send()` and the crate's own client to the same rule, over real HTTP on loopback.

#![allow(missing_docs)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

mod bodies;
mod building;
mod early_death;
mod ended;
mod events;
mod in_flight;
mod load;
mod no_replay;
mod origins;
mod pair;
mod proxies;
#[path = "../support/recorder.rs"]
mod recorder;
mod redirects;
mod rejection;
mod secrets;
mod unavailable;
mod usage;
mod ways;
mod world;
