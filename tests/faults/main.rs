//! Faults that were found by attacking the crate, each with a test that fails if the fault comes back. `table.toml`
//! lists all of them, including those whose tests are in other folders.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod kept_token;
mod left_tokens;
mod panics;
mod runtime;
mod seeds;
mod table;
mod two_users;
mod waiting;
