//! The OAuth2 endpoint against servers whose answers the tests set byte by byte.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod answers;
#[path = "../support/exchanges.rs"]
mod exchanges;
#[path = "../support/raw_server.rs"]
mod raw_server;
mod requests;
#[cfg(feature = "rustls")]
mod tls;
mod unsent;

use std::time::Duration;

use evertoken::{EndpointError, Issued, OAuth2};

use self::exchanges::refresh;
use self::raw_server::{RawServer, Step};

/// Long enough for a loopback exchange on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_secs(1);

/// Well before the default timeout of an exchange.
const SOON: Duration = Duration::from_secs(15);

fn public(server: &RawServer) -> OAuth2 {
    OAuth2::new(server.url("/token"), "importer").unwrap()
}

/// The outcome of each exchange with these answers of the server. Each exchange has its own connection.
async fn answers_to(
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
    answers_to([step]).await.next().unwrap()
}

fn refresh_token(outcome: Result<Issued, EndpointError>) -> Option<String> {
    let token = outcome.unwrap().refresh?;
    Some(token.expose().to_owned())
}
