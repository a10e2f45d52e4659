//! Clocks that are wrong: skewed, stepped, standing still; and the last moment of a token. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod issuer;
mod last_moment;
mod skew;
mod slow_store;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod suspend;
