//! Faults that were found by attacking the crate, each with the test that fails where it comes back. `table.toml` names
//! them all, those too whose tests are elsewhere.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod kept_token;
mod leases;
mod left_tokens;
mod panics;
mod runtime;
mod seeds;
mod table;
mod two_users;
mod waiting;
