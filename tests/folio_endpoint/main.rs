//! FOLIO's login service as an endpoint, against servers whose answers the tests set byte by byte; and FOLIO's interfaces
//! as an API.
#![allow(missing_docs)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod answers;
mod api;
mod channels;
#[path = "../support/raw_server.rs"]
#[allow(dead_code)]
mod raw_server;
#[path = "../support/recorder.rs"]
#[allow(dead_code)]
mod recorder;
mod requests;
mod secrets;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{EndpointError, Folio, Grant, Issued, RefreshToken, SendWindow, TokenEndpoint};

use self::raw_server::{RawServer, Step};

const HOUR: Duration = Duration::from_secs(3_600);

/// {"sub":"diku_admin","exp":1729780408,"iat":1729780348}
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkaWt1X2FkbWluIiwiZXhwIjoxNzI5NzgwNDA4LCJpYXQiOjE3Mjk3ODAzNDh9.sig-na_ture";

/// The answer of the login service that refuses a rotation.
const UNPROCESSABLE: &str = r#"{"errors":[{"message":"Authorization server unable to process token refresh request","type":"error","code":"token.refresh.unprocessable"}]}"#;

/// The answers of the login service without a cookie, and of Eureka's sidecar, which have the same form.
const REFUSED: &str =
    r#"{"errors":[{"message":"Bad request","type":"error","code":"token.parse.failure"}]}"#;

fn window(open_for: Duration) -> SendWindow {
    SendWindow::new(Arc::new(SystemClock), SystemClock.now() + open_for)
}

async fn refresh(endpoint: &Folio, token: &str) -> Result<Issued, EndpointError> {
    let (token, window) = (RefreshToken::new(token), window(HOUR));
    endpoint.exchange(Grant::refresh(&token, &window)).await
}

async fn sign_in(endpoint: &Folio) -> Result<Issued, EndpointError> {
    endpoint.exchange(Grant::sign_in(&window(HOUR))).await
}

fn okapi(server: &RawServer) -> Folio {
    Folio::okapi(server.url("/okapi"), "diku").unwrap()
}

fn eureka(server: &RawServer) -> Folio {
    Folio::eureka(server.url(""), "diku").unwrap()
}

/// An answer with these headers, one on each line, and this body.
fn answer(status: u16, headers: &[&str], body: &str) -> Step {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    Step::Answer(answer.into())
}

/// A pair as mod-login issues it, valid for 600 s and for a week, by a server's clock that is a year behind.
fn pair(access: &str, refresh: &str) -> Step {
    let access = format!(
        "Set-Cookie: folioAccessToken={access}; Max-Age=600; Expires=Fri, 17 Nov 2023 10:49:15 GMT; Path=/okapi/; Secure; HTTPOnly; SameSite=Lax"
    );
    let refresh = format!(
        "Set-Cookie: folioRefreshToken={refresh}; Max-Age=604800; Expires=Fri, 24 Nov 2023 10:39:15 GMT; Path=/okapi/authn; Secure; HTTPOnly; SameSite=Lax"
    );
    let date = "Date: Fri, 17 Nov 2023 10:39:15 GMT";
    let body = r#"{"accessTokenExpiration":"2023-11-17T10:49:15Z","refreshTokenExpiration":"2023-11-24T10:39:15Z"}"#;
    answer(201, &[date, &access, &refresh], body)
}

fn class<T>(outcome: Result<T, EndpointError>) -> &'static str {
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
