//! The rotation protocol, rule by rule: several managers on one store, as if they were machines, a strict
//! server, and a store that fails on request. Time is simulated.

#![allow(missing_docs)]

mod claims;
mod cluster;
mod fault_store;
mod landing;
mod looks;
mod outcomes;
