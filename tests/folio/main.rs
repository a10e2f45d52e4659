//! Sessions at a correct FOLIO: what a job survives, what ends it, and what it does to other sessions.

#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../testing_folio_server/browser.rs"]
#[allow(dead_code, missing_debug_implementations)]
mod browser;
mod imports;
mod logging_out;
mod lost;
mod over_http;
mod sharing;
mod signing_in;
mod workers;

use std::time::Duration;

use evertoken::testing::{FolioServer, TestClock};
use evertoken::{
    Builder, EndReason, Error, Folio, OnRequest, RefreshStrategy, TokenManager, TokenPair,
};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// The endpoint of a job with its own sign-in.
pub fn own(folio: &FolioServer) -> Folio {
    let endpoint = folio.endpoint("diku").unwrap();
    endpoint.sign_in_with_password("diku_admin", "admin")
}

pub fn builder(endpoint: Folio, clock: &TestClock, strategy: impl RefreshStrategy) -> Builder {
    TokenManager::builder(endpoint)
        .clock(clock.clone())
        .strategy(strategy)
        .jitter(0.0)
}

/// A job with this pair.
pub fn seeded(folio: &FolioServer, pair: TokenPair, clock: &TestClock) -> TokenManager {
    let endpoint = folio.endpoint("diku").unwrap();
    let tokens = builder(endpoint, clock, OnRequest::default()).seed(pair);
    tokens.build().unwrap()
}

/// The pair of a browser, with the lifetimes that the browser knows.
pub fn copy(browser: &browser::Browser) -> TokenPair {
    TokenPair::new(browser.access.as_str())
        .refresh_token(browser.refresh.as_str())
        .expires_in(MINUTE)
        .refresh_expires_in(HOUR)
}

#[track_caller]
pub fn reason(error: Error) -> EndReason {
    match error {
        Error::Ended { reason, .. } => reason,
        other => panic!("{other}"),
    }
}
