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
#[path = "../support/exchanges.rs"]
mod exchanges;
#[path = "../support/raw_server.rs"]
#[allow(dead_code)]
mod raw_server;
#[path = "../support/recorder.rs"]
#[allow(dead_code)]
mod recorder;
mod requests;
mod secrets;
mod sessions;

use evertoken::Folio;

use self::exchanges::answer;
use self::raw_server::{RawServer, Step};

/// {"sub":"diku_admin","exp":1729780408,"iat":1729780348}
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkaWt1X2FkbWluIiwiZXhwIjoxNzI5NzgwNDA4LCJpYXQiOjE3Mjk3ODAzNDh9.sig-na_ture";

/// The answer of the login service that refuses a rotation.
const UNPROCESSABLE: &str = r#"{"errors":[{"message":"Authorization server unable to process token refresh request","type":"error","code":"token.refresh.unprocessable"}]}"#;

/// The answers of the login service without a cookie, and of Eureka's sidecar, which have the same form.
const REFUSED: &str =
    r#"{"errors":[{"message":"Bad request","type":"error","code":"token.parse.failure"}]}"#;

fn okapi(server: &RawServer) -> Folio {
    Folio::okapi(server.url("/okapi"), "diku").unwrap()
}

fn eureka(server: &RawServer) -> Folio {
    Folio::eureka(server.url(""), "diku").unwrap()
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
