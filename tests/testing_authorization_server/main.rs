//! The HTTP face of the authorization server, as an ordinary HTTP client sees it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

mod authorize;
mod codes;
mod scene;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use evertoken::testing::{
    AuthorizationServer, AuthorizationServerBuilder, Fault, HttpServer, RefreshTokens, TestClock,
};
use evertoken::{RefreshExpiry, TokenPair};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// A server, its HTTP face, and the first refresh token of a session.
async fn listening(
    describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
) -> (AuthorizationServer, HttpServer, String) {
    let server = describe(AuthorizationServer::builder()).build();
    let http = server.listen().await.unwrap();
    let first = refresh_token(&server.issue()).to_owned();
    (server, http, first)
}

fn refresh_token(pair: &TokenPair) -> &str {
    pair.refresh.as_ref().unwrap().expose()
}

/// A grant that presents this refresh token.
async fn refresh(http: &HttpServer, token: &str) -> reqwest::Result<Response> {
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    post(http.url(), form).await
}

async fn post(url: &str, form: String) -> reqwest::Result<Response> {
    let client = Client::builder().timeout(30 * SECOND).build()?;
    let form_type = "application/x-www-form-urlencoded";
    let request = client.post(url).header("content-type", form_type);
    request.body(form).send().await
}

async fn status_and_body(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, response.json().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_answered_in_the_form_of_rfc_6749() {
    let (server, http, first) =
        listening(|server| server.clock(TestClock::new()).scope("write read")).await;
    let response = refresh(&http, &first).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["date"], "Tue, 14 Nov 2023 22:13:20 GMT");
    let (status, body) = status_and_body(response).await;
    assert_eq!(status, 200);
    let access = body["access_token"].as_str().unwrap();
    let second = body["refresh_token"].as_str().unwrap();
    assert!(server.is_live_refresh(second));
    let expected = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": 600,
        "refresh_token": second, "refresh_expires_in": 604_800, "scope": "read write",
    });
    assert_eq!(body, expected);

    let response = refresh(&http, &first).await.unwrap();
    let refusal = (StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" }));
    assert_eq!(status_and_body(response).await, refusal);
    assert!(!server.is_live_refresh(second));
    assert_eq!((server.exchanges(), server.replays()), (2, 1));
    assert_eq!(server.families_revoked(), 1);
}

#[tokio::test(start_paused = true)]
async fn simulated_time_works_over_sockets_on_one_thread() {
    let clock = TestClock::new();
    let (server, http, first) = listening(|server| {
        server
            .clock(clock.clone())
            .latency(2 * SECOND)
            .refresh_ttl(3_600 * SECOND)
    })
    .await;
    let start = tokio::time::Instant::now();
    let response = refresh(&http, &first).await.unwrap();
    assert_eq!(start.elapsed(), 2 * SECOND);
    let (_, body) = status_and_body(response).await;
    let second = body["refresh_token"].as_str().unwrap();

    clock.advance(3_600 * SECOND).await;
    let response = refresh(&http, second).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!((server.rotations(), server.replays()), (1, 0));
}

#[tokio::test]
async fn lifetimes_are_whole_seconds_or_fractions() {
    let (_server, http, first) = listening(|server| {
        server
            .access_ttl(Duration::from_millis(300))
            .refresh_ttl(2 * SECOND)
            .issue_refresh_expires_in(false)
    })
    .await;
    let body = refresh(&http, &first).await.unwrap();
    let body = body.text().await.unwrap();
    assert!(body.contains(r#""expires_in":0.3,"#), "{body}");
    assert!(!body.contains("refresh_expires_in"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_omits_the_refresh_token_or_leaves_it_empty_where_a_rule_says_so() {
    for (mode, said) in [
        (RefreshTokens::Omitted, None),
        (RefreshTokens::Empty, Some("")),
    ] {
        let (_server, http, first) = listening(|server| {
            server
                .refresh_expiry(RefreshExpiry::Absolute)
                .refresh_tokens(mode)
        })
        .await;
        let response = refresh(&http, &first).await.unwrap();
        let (_, body) = status_and_body(response).await;
        assert_eq!(body.get("refresh_token").and_then(Value::as_str), said);
        assert_eq!(body.get("refresh_expires_in"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_authenticates_in_the_header_or_in_the_body() {
    let (server, http, first) = listening(|server| server.client("odd:id", "p+ss w%rd/&=")).await;
    let encoded = ("odd%3Aid", "p%2Bss+w%25rd%2F%26%3D");
    let form = |more: &str| format!("grant_type=refresh_token&refresh_token={first}{more}");
    let in_body = format!("&client_id={}&client_secret={}", encoded.0, encoded.1);
    let send = async |basic: Option<(&str, &str)>, more: &str| {
        let request = Client::new().post(http.url()).body(form(more));
        let request = match basic {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        };
        let response = request.send().await.unwrap();
        let challenged = response.headers().contains_key("www-authenticate");
        let status = response.status().as_u16();
        assert_eq!(challenged, status == 401);
        let body: Value = response.json().await.unwrap();
        (status, body["error"].as_str().map(str::to_owned))
    };
    let wrong = (401, Some("invalid_client".to_owned()));
    assert_eq!(send(None, "").await, wrong);
    assert_eq!(send(Some(("odd%3Aid", "other")), "").await, wrong);
    assert_eq!(send(Some(("odd", "p+ss w%rd/&=")), "").await, wrong);
    assert_eq!(send(None, "&client_id=odd%3Aid").await, wrong);
    let both = (400, Some("invalid_request".to_owned()));
    assert_eq!(send(Some(encoded), &in_body).await, both);
    assert_eq!(server.exchanges(), 5);
    assert_eq!(server.rotations(), 0);

    assert_eq!(send(Some(encoded), "").await, (200, None));
    assert_eq!(send(None, &in_body).await.0, 400);
    assert_eq!((server.rotations(), server.replays()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_grant_is_refused_and_not_counted() {
    let server = AuthorizationServer::builder().build();
    let http = server.listen().await.unwrap();
    for (form, code) in [
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=refresh_token", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=", "invalid_request"),
        ("refresh_token=x", "invalid_request"),
        ("", "invalid_request"),
        ("grant_type=client_credentials", "unauthorized_client"),
    ] {
        let response = post(http.url(), form.to_owned()).await.unwrap();
        let refusal = (StatusCode::BAD_REQUEST, json!({ "error": code }));
        assert_eq!(status_and_body(response).await, refusal, "{form}");
    }
    let got = Client::new().get(http.url()).send().await.unwrap();
    assert_eq!(got.status(), 405);
    let lost = post(&format!("{}/tokens", http.origin()), String::new()).await;
    assert_eq!(lost.unwrap().status(), 404);
    assert_eq!((server.exchanges(), server.sign_ins()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_can_sign_in_and_revoke() {
    let server = AuthorizationServer::builder().sign_in(true).build();
    let http = server.listen().await.unwrap();
    let response = post(http.url(), "grant_type=client_credentials".to_owned()).await;
    let (status, body) = status_and_body(response.unwrap()).await;
    assert_eq!((status.as_u16(), server.sign_ins()), (200, 1));
    let token = body["refresh_token"].as_str().unwrap();
    assert!(server.is_live_refresh(token));

    let revoke = format!("{}/revoke", http.origin());
    let response = post(&revoke, format!("token={token}")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!server.is_live_refresh(token));
    let response = post(&revoke, "token=unknown".to_owned()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((server.revocations(), server.families_revoked()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_scripted_status_has_its_headers_and_rotates_nothing() {
    let (server, http, first) = listening(|server| server).await;
    server.fail_next(Fault::Status {
        status: 503,
        body: "busy".to_owned(),
        retry_after: Some(7 * SECOND),
    });
    let response = refresh(&http, &first).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.text().await.unwrap(), "busy");
    assert!(server.is_live_refresh(&first));

    server.fail_next(Fault::Body {
        status: 200,
        body: r#"{"refresh_token":"{refresh_token}"}"#.to_owned(),
    });
    let response = refresh(&http, &first).await.unwrap();
    let (_, body) = status_and_body(response).await;
    assert!(server.is_live_refresh(body["refresh_token"].as_str().unwrap()));
    assert_eq!((server.exchanges(), server.rotations()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_has_no_answer_whether_rotated_or_not() {
    for (fault, rotations) in [(Fault::DropBefore, 0), (Fault::DropAfter, 1)] {
        let (server, http, first) = listening(|server| server).await;
        server.fail_next(fault);
        let error = refresh(&http, &first).await.unwrap_err();
        assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!((server.exchanges(), server.rotations()), (1, rotations));
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_has_its_headers_and_half_its_body() {
    let (server, http, first) = listening(|server| server).await;
    server.fail_next(Fault::Truncate);
    let mut response = refresh(&http, &first).await.unwrap();
    assert_eq!(response.status(), 200);
    let declared = response.content_length().unwrap();
    let half = response.chunk().await.unwrap().unwrap();
    assert_eq!(half.len() as u64, declared / 2);
    assert!(response.chunk().await.is_err());
    assert_eq!((server.exchanges(), server.rotations()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_does_not_undo_its_grant() {
    let clock = TestClock::new();
    let (server, http, first) = listening(|server| server.clock(clock.clone())).await;
    let hold = server.hold();
    let given_up = tokio::time::timeout(SECOND, refresh(&http, &first)).await;
    assert!(given_up.is_err());
    // Time for the server to notice that the client has hung up.
    clock.advance(SECOND).await;
    assert_eq!((server.exchanges(), server.rotations()), (1, 0));
    drop(hold);
    clock.advance(SECOND).await;
    assert_eq!(server.rotations(), 1);
}

#[tokio::test]
async fn an_http_face_stops_listening_when_dropped_and_its_address_can_be_used_again() {
    let server = AuthorizationServer::builder().build();
    let http = server.listen().await.unwrap();
    let addr = http.addr();
    let mut open = std::net::TcpStream::connect(addr).unwrap();
    open.set_read_timeout(Some(10 * SECOND)).unwrap();
    let pair = server.issue();
    assert_eq!(http.url(), format!("http://{addr}/token"));
    // Time for the server to accept the connection, so that a connection is closed and not a backlog.
    tokio::time::sleep(SECOND / 20).await;
    drop(http);

    let read = tokio::task::spawn_blocking(move || open.read(&mut [0]));
    let closed = match read.await.unwrap() {
        Ok(length) => length == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(closed);
    let gone = Client::new().post(format!("http://{addr}/token")).send();
    assert!(gone.await.unwrap_err().is_connect());

    let http = server.listen_on(addr).await.unwrap();
    let back = refresh(&http, refresh_token(&pair)).await.unwrap();
    assert_eq!(back.status(), 200);
}
