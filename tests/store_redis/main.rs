//! Records in Redis: what the server stores and receives, and what happens when servers and connections fail.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod changes;
mod connections;
mod failover;
mod index;
mod keys;
mod proxy;
mod restarts;
mod scene;
#[path = "../store_file/seal.rs"]
mod seal;
mod server;
#[path = "../support/services.rs"]
mod services;
mod suite;
mod world;
mod written;
