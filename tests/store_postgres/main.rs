//! Records in PostgreSQL: the rows, what a rotation leaves when anything dies, and notifications.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod atomic;
mod budget;
#[cfg(feature = "config")]
mod configured;
mod connecting;
mod listening;
mod logs;
mod manager;
mod migration;
mod odd;
mod outage;
mod pooler;
mod proxy;
mod races;
mod retention;
mod rows;
mod scene;
#[path = "../store_file/seal.rs"]
mod seal;
mod sealed;
mod search;
#[path = "../support/services.rs"]
mod services;
mod suite;
mod written;
