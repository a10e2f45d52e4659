//! The backend for a browser, as browsers meet it: requests of several tabs on several instances, the cookies that they get, and the
//! calls that they cost. Time is simulated, but for the tests of the proxy.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod bad_input;
mod configured;
mod cookies;
mod cross_site;
#[path = "../support/examples.rs"]
mod examples;
mod facts;
mod load;
mod logout;
mod modes;
mod outages;
mod proxy;
mod reports;
mod world;
