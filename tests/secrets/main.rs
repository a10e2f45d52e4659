//! fm40: 32 known secrets go through all functions of this crate, and none of them appears in any output.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "config")]
mod configured;
#[path = "../support/exchanges.rs"]
mod exchanges;
#[cfg(feature = "folio")]
mod folio;
mod known;
mod net;
mod oauth2;
#[path = "../support/raw_server.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod raw_server;
mod records;
mod user_code;
mod wire;

use std::panic;

/// A secret for the test of the net, which is not one of the known secrets.
const BAIT: &str = "QmFpdEJh/XRCYWl0+QmFp~dEJhaXQ=Qm";

#[test]
fn the_net_catches_a_secret_in_every_place_and_form() {
    net::cast();
    let mut before = 0;
    let mut is_caught = |place: &str| {
        let found = net::find(BAIT).split_off(before);
        assert!(!found.is_empty(), "{place}");
        let is_there = found.iter().all(|(at, _)| at.starts_with(place));
        assert!(is_there, "{found:?}");
        before += found.len();
    };
    tracing::trace!(token = BAIT, "a field");
    is_caught("event");
    tracing::info!("in the message: {BAIT}");
    is_caught("event");
    tracing::trace!(error = &std::io::Error::other(BAIT) as &dyn std::error::Error);
    is_caught("an error");
    let span = tracing::trace_span!("a span", token = BAIT, later = tracing::field::Empty);
    is_caught("span");
    span.record("later", BAIT);
    is_caught("span");
    log::trace!("of a dependency: {BAIT}");
    is_caught("log");
    net::debug(&Some(BAIT));
    is_caught("Debug");
    let bait = std::io::Error::other(BAIT);
    net::error(&evertoken::StoreError::with_source("down", bait));
    is_caught("an error");
    for form in known::forms(BAIT) {
        net::debug(&format_args!("some text and {form}, and more"));
        is_caught("Debug");
    }
    assert!(panic::catch_unwind(|| panic!("in a panic: {BAIT}")).is_err());
    is_caught("a panic");
}

/// No secret is in any text that a user or an operator can read.
#[test]
fn fm40_no_secret_is_seen_in_anything_that_can_be_read() {
    net::cast();
    real(oauth2::signs_in_and_rotates());
    real(oauth2::is_seeded_and_replaced());
    real(oauth2::gets_odd_answers());
    real(oauth2::sends());
    oauth2::is_handed_over();
    #[cfg(feature = "folio")]
    {
        real(folio::okapi());
        real(folio::legacy());
        real(folio::eureka());
    }
    #[cfg(feature = "config")]
    real(configured::everything());
    records::are_damaged();
    paused(user_code::fails());
    paused(user_code::panics());
    for (name, secret) in known::ALL {
        assert_eq!(net::find(secret), [], "{name}");
    }
    // Each kind of output was caught.
    let traced = ["event evertoken", "span evertoken", "log reqwest"];
    for place in traced.into_iter().chain(["Debug", "an error"]) {
        assert!(net::count(place) > 0, "nothing was caught of: {place}");
    }
    #[cfg(all(feature = "folio", feature = "config"))]
    assert_eq!(wire::unused(), [""; 0]);
}

fn real(scene: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(scene);
}

fn paused(scene: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.unwrap().block_on(scene);
}
