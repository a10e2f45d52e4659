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

use self::browser::Browser;

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

/// A job with its own sign-in that rotates on request.
pub fn signing_in(folio: &FolioServer, clock: &TestClock) -> TokenManager {
    let tokens = builder(own(folio), clock, OnRequest::default());
    tokens.build().unwrap()
}

/// A job with this pair.
pub fn seeded(folio: &FolioServer, pair: TokenPair, clock: &TestClock) -> TokenManager {
    let endpoint = folio.endpoint("diku").unwrap();
    let tokens = builder(endpoint, clock, OnRequest::default()).seed(pair);
    tokens.build().unwrap()
}

/// A browser, and a job that holds a copy of the browser's pair.
pub async fn shared(folio: &FolioServer, clock: &TestClock) -> (Browser, TokenManager) {
    let browser = Browser::signed_in(folio).await;
    let tokens = seeded(folio, copy(&browser), clock);
    (browser, tokens)
}

/// The pair of a browser, with the lifetimes that the browser knows.
pub fn copy(browser: &Browser) -> TokenPair {
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
