//! Records in PostgreSQL: what its rows show, what a rotation leaves there whatever dies, and who hears of it.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod races;
mod rows;
mod scene;
#[path = "../support/services.rs"]
mod services;
mod suite;
