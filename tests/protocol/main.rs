//! The rotation protocol, rule by rule. Several managers on one store stand for instances on different machines, with
//! a strict server and a store that fails on request. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod cluster;
mod commit;
mod fault_store;
mod leases;
mod outages;
mod outcomes;
mod pauses;
#[path = "../support/reasons.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod reasons;
mod reconcile;
mod resending;
mod server_errors;
mod set_back;
mod unloaded;
mod words;
