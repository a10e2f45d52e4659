//! The OAuth2 endpoint against servers whose answers the tests set byte by byte.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod answers;
#[path = "../support/raw_server.rs"]
mod raw_server;
mod requests;
#[cfg(feature = "rustls")]
mod tls;
mod unsent;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{EndpointError, Grant, Issued, OAuth2, RefreshToken, SendWindow, TokenEndpoint};

use self::raw_server::{RawServer, Step};

const HOUR: Duration = Duration::from_secs(3600);

/// Long enough for a loopback exchange on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_secs(1);

/// The `User-Agent` of a request, unless the user sets another.
const AGENT: &str = concat!("evertoken/", env!("CARGO_PKG_VERSION"));

/// Well before the default timeout of an exchange.
const SOON: Duration = Duration::from_secs(15);

fn window(open_for: Duration) -> SendWindow {
    SendWindow::new(Arc::new(SystemClock), SystemClock.now() + open_for)
}

async fn refresh(endpoint: &OAuth2, token: &str) -> Result<Issued, EndpointError> {
    let (token, window) = (RefreshToken::new(token), window(HOUR));
    endpoint.exchange(Grant::refresh(&token, &window)).await
}

fn public(server: &RawServer) -> OAuth2 {
    OAuth2::new(server.url("/token"), "importer").unwrap()
}

/// The outcome of each exchange with these answers of the server. Each exchange has its own connection.
async fn exchanges(
    steps: impl IntoIterator<Item = Step>,
) -> impl Iterator<Item = Result<Issued, EndpointError>> {
    let steps = Vec::from_iter(steps);
    let count = steps.len();
    let server = RawServer::start(steps).await;
    let endpoint = public(&server);
    let mut outcomes = Vec::new();
    for _ in 0..count {
        outcomes.push(refresh(&endpoint, "r1").await);
    }
    assert_eq!(server.connections().await, vec![1; count]);
    outcomes.into_iter()
}

async fn exchange(step: Step) -> Result<Issued, EndpointError> {
    exchanges([step]).await.next().unwrap()
}

fn refresh_token(outcome: Result<Issued, EndpointError>) -> Option<String> {
    let token = outcome.unwrap().refresh?;
    Some(token.expose().to_owned())
}

fn class(outcome: Result<Issued, EndpointError>) -> &'static str {
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
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut printed = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        printed += &format!("{error} {error:?} {error:#?}\n");
        next = error.source();
    }
    printed
}

/// An answer with this status, these headers and this body.
fn answered(status: &str, headers: &str, body: &str) -> Step {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    Step::AnswerAndClose(format!("{head}{body}").into())
}
