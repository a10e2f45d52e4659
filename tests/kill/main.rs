//! Imports as processes of their own, which can be killed.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod processes;
mod servers;
