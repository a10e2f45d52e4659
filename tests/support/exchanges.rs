//! Exchanges with an endpoint without a manager: what goes to a [`RawServer`](super::raw_server::RawServer), and what its
//! answer means.
#![allow(dead_code)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{EndpointError, Grant, Issued, RefreshToken, SendWindow, TokenEndpoint};

use crate::raw_server::Step;

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// The `User-Agent` of a request, unless the user sets another.
pub(crate) const AGENT: &str = concat!("evertoken/", env!("CARGO_PKG_VERSION"));

pub(crate) fn window(open_for: Duration) -> SendWindow {
    SendWindow::new(Arc::new(SystemClock), SystemClock.now() + open_for)
}

pub(crate) async fn refresh(
    endpoint: &impl TokenEndpoint,
    token: &str,
) -> Result<Issued, EndpointError> {
    let (token, window) = (RefreshToken::new(token), window(HOUR));
    endpoint.exchange(Grant::refresh(&token, &window)).await
}

pub(crate) async fn sign_in(endpoint: &impl TokenEndpoint) -> Result<Issued, EndpointError> {
    endpoint.exchange(Grant::sign_in(&window(HOUR))).await
}

/// A URL of loopback at which no server listens.
pub(crate) fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// An answer with these headers, one on each line, and this body.
pub(crate) fn answer(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Step {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let (body, length) = (body.as_ref(), body.as_ref().len());
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
    Step::Answer([head.as_bytes(), body].concat())
}

pub(crate) fn class<T>(outcome: Result<T, EndpointError>) -> &'static str {
    match outcome {
        Ok(_) => "issued",
        Err(EndpointError::NotSent { .. }) => "not sent",
        Err(EndpointError::Later { .. }) => "later",
        Err(EndpointError::Rejected { .. }) => "rejected",
        Err(EndpointError::UserNeeded { .. }) => "user needed",
        Err(EndpointError::Refused { .. }) => "refused",
        Err(EndpointError::Page { .. }) => "page",
        Err(EndpointError::Unavailable { .. }) => "unavailable",
        Err(EndpointError::Unknown { .. }) => "unknown",
        Err(_) => "another",
    }
}

/// The texts of an error and of all its sources.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let sources = std::iter::successors(Some(error), |&error| error.source());
    sources.map(|it| format!("{it} {it:?} {it:#?}\n")).collect()
}
