//! Pairs and ids that browsers present to `Sessions`: which are accepted, on one instance and on several, and what each costs at the
//! server. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod current;
mod limits;
mod opaque;
mod refused;
mod replaced;
#[path = "../support/mod.rs"]
mod support;
mod unknown;
mod world;
