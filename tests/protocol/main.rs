//! The rotation protocol, rule by rule. Several managers on one store stand for instances on different machines, with
//! a strict server and a store that fails on request. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod cluster;
mod commit;
mod leases;
mod outages;
mod outcomes;
mod pauses;
mod reconcile;
mod resending;
mod set_back;
#[path = "../support/mod.rs"]
mod support;
mod unloaded;
mod words;
