//! The browser for tests: which cookies it stores, sends and loses, and what its requests state about themselves. The limits
//! and the order of arrival are those that Chromium 156 showed.

#![allow(missing_docs, unreachable_pub)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

mod arriving;
mod lifetimes;
mod limits;
mod metadata;
mod over_http;
mod prefixes;
mod same_site;
mod scope;
mod tabs;

use std::time::Duration;

use evertoken::testing::browser::{Arrival, Call, Outcome, Refusal, Request};
use evertoken::testing::{Browser, TestClock};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode, Version};

pub const ORIGIN: &str = "https://app.example.org";
pub const SECOND: Duration = Duration::from_secs(1);

pub fn browser() -> Browser {
    Browser::with_clock(ORIGIN, TestClock::new()).unwrap()
}

/// The header fields of a response that sets these cookies.
pub fn setting<const N: usize>(lines: [&str; N]) -> HeaderMap {
    let field = |line: &str| {
        (
            SET_COOKIE,
            HeaderValue::from_bytes(line.as_bytes()).unwrap(),
        )
    };
    lines.into_iter().map(field).collect()
}

/// A response of status 200.
pub fn answer(request: Request, line: &str) -> Arrival {
    request.arrived(StatusCode::OK, &setting([line]))
}

/// What becomes of one cookie that a response to this call sets.
pub fn outcome_of(browser: &Browser, call: impl Into<Call>, line: &str) -> Outcome {
    let arrival = answer(browser.send(call), line);
    arrival.verdicts()[0].outcome
}

/// What becomes of one cookie that a response to a script of the browser's own pages sets.
pub fn set(browser: &Browser, line: &str) -> Outcome {
    outcome_of(browser, "/", line)
}

pub fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}

/// The joined cookies that a call takes along.
pub fn sent(browser: &Browser, call: impl Into<Call>) -> String {
    let headers = browser.send(call).headers(Version::HTTP_11);
    let cookie = headers.get("cookie");
    cookie.map_or_else(String::new, |cookie| cookie.to_str().unwrap().to_owned())
}
