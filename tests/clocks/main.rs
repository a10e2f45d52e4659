//! Wrong clocks, in simulated time: a clock is skewed, stepped, or stands still. The last moment of a token is here
//! too.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod last_moment;
mod skew;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod suspend;
