//! Headers and `User-Agent` go to the token endpoint, and nowhere else.

use evertoken::TokenManager;

use super::{connect, oauth2};
use crate::raw_server::{RawServer, Request, Step, ok};
use crate::{directory, file, refusal};

const PAIR: &str = r#"{"access_token":"a1","refresh_token":"r2"}"#;

const KEYS: &str = "headers = { X-Gateway-Key = { env = \"CARGO_PKG_NAME\" }, x-tier = \"gold\" }\nuser_agent = \"importer/7\"";

fn assert_own(request: &Request) {
    assert_eq!(request.header("x-gateway-key"), Some("evertoken"));
    assert_eq!(request.header("x-tier"), Some("gold"));
    assert_eq!(request.header("user-agent"), Some("importer/7"));
}

async fn call(tokens: &TokenManager, url: &str) {
    let request = reqwest::Client::new().get(url);
    tokens.send(request).await.unwrap();
}

#[tokio::test]
async fn configured_headers_go_to_the_token_endpoint_with_every_request_and_not_to_the_api() {
    let steps = [ok(PAIR), ok("")].map(Step::AnswerAndClose);
    let server = RawServer::start(steps).await;
    let api = RawServer::start([Step::AnswerAndClose(ok("{}"))]).await;
    let others = format!(
        "[http]\norigins = [\"{}\"]\n[endpoint]\nrevocation_url = \"{}\"",
        api.url(""),
        server.url("/revoke")
    );
    let text = oauth2(&server.url("/token"), KEYS).replacen("[endpoint]", &others, 1);
    let tokens = connect(&text).await.unwrap();
    call(&tokens, &api.url("/records")).await;
    assert!(tokens.logout().await.is_complete());
    let requests = server.requests().await;
    assert_eq!(requests.len(), 2);
    requests.iter().for_each(assert_own);
    let called = &api.requests().await[0];
    assert_eq!(called.header("authorization"), Some("Bearer a1"));
    for name in ["x-gateway-key", "x-tier", "user-agent"] {
        assert_eq!(called.header(name), None, "{name}");
    }
}

/// The server repeats the header. Its words are for an operator, and may be logged.
#[tokio::test]
async fn no_error_quotes_a_configured_header_that_is_a_secret() {
    let directory = directory("no_error_quotes_a_configured_header");
    let short = file(&directory, "short", "S3same", 0o600);
    for (value, said, is_quoted) in [
        (format!("{{ file = {short:?} }}"), "S3same", false),
        (
            "\"S3same-0pen-th3-d00r\"".to_owned(),
            "0pen-th3-d00r",
            false,
        ),
        ("\"gold\"".to_owned(), "gold", true),
    ] {
        let body =
            format!(r#"{{"error":"unauthorized_client","error_description":"not for {said}"}}"#);
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let server = RawServer::start([Step::AnswerAndClose(answer.into())]).await;
        let keys = format!("headers = {{ X-Gateway-Key = {value} }}");
        let tokens = connect(&oauth2(&server.url("/token"), &keys))
            .await
            .unwrap();
        let error = tokens.token().await.unwrap_err();
        let shown = format!("{error} {error:?} {tokens:?}");
        assert_eq!(shown.contains(said), is_quoted, "{shown}");
        assert!(shown.contains("unauthorized_client"), "{shown}");
        assert_eq!(server.requests().await.len(), 1);
    }
}

/// FOLIO's login service repeats the header.
#[cfg(feature = "folio")]
#[tokio::test]
async fn no_error_of_folio_quotes_a_configured_header_that_is_a_secret() {
    let body = r#"{"errors":[{"message":"not for evertoken","code":"no"}]}"#;
    let answer = format!(
        "HTTP/1.1 422 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for (keys, is_quoted) in [(KEYS, false), ("", true)] {
        let server = RawServer::start([Step::AnswerAndClose(answer.clone().into())]).await;
        let tokens = connect(&folio(&server, keys)).await.unwrap();
        let error = tokens.token().await.unwrap_err();
        let shown = format!("{error:?}");
        assert_eq!(shown.contains("not for evertoken"), is_quoted, "{shown}");
        assert_eq!(server.requests().await.len(), 1);
    }
}

/// What a request carries without a configuration is not for the configuration to change.
#[tokio::test]
async fn a_header_of_the_endpoint_or_of_the_connection_cannot_be_configured() {
    let server = RawServer::start([Step::AnswerAndClose(ok(PAIR))]).await;
    let secret = "client_secret = \"sesame\"\n[seed]";
    let text = oauth2(&server.url("/token"), "").replacen("[seed]", secret, 1);
    connect(&text).await.unwrap().token().await.unwrap();
    let requests = server.requests().await;
    let sent = requests.iter().flat_map(Request::names);
    let never = [
        "cookie",
        "proxy-authorization",
        "proxy-connection",
        "connection",
        "keep-alive",
        "range",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "content-encoding",
    ];
    let mut names = 0;
    for name in sent.chain(never.map(str::to_owned)) {
        for name in [name.to_uppercase(), name] {
            let keys = format!("headers = {{ {name} = \"sesame\" }}");
            let refused = refusal(&oauth2("https://id.example.org/token", &keys)).await;
            let said = format!("endpoint.http.headers.{name}: cannot be configured");
            assert!(refused.contains(&said), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
            names += 1;
        }
    }
    assert!(names >= 38, "{names}");
}

/// The headers of FOLIO are its endpoint's alone: a gateway before another server may have the same.
#[cfg(feature = "folio")]
#[tokio::test]
async fn the_headers_of_folio_cannot_be_configured_for_folio_alone() {
    let requests = of_folio("").await;
    for name in requests.iter().flat_map(Request::names) {
        let keys = format!("headers = {{ {name} = \"sesame\" }}");
        let server = RawServer::start([]).await;
        let refused = refusal(&folio(&server, &keys)).await;
        let said = format!("endpoint.http.headers.{name}: cannot be configured");
        assert!(refused.contains(&said), "{refused}");
    }
    for name in ["x-okapi-tenant", "x-okapi-token"] {
        let server = RawServer::start([Step::AnswerAndClose(ok(PAIR))]).await;
        let keys = format!("headers = {{ {name} = \"diku\" }}");
        let text = oauth2(&server.url("/token"), &keys);
        connect(&text).await.unwrap().token().await.unwrap();
        assert_eq!(server.requests().await[0].header(name), Some("diku"));
        let server = RawServer::start([]).await;
        let refused = refusal(&folio(&server, &keys)).await;
        assert!(refused.contains("cannot be configured"), "{refused}");
    }
}

/// A wrong header costs no request, also where the endpoint could sign in.
#[tokio::test]
async fn nothing_is_sent_where_a_key_is_wrong() {
    let server = RawServer::start([]).await;
    let text = oauth2(
        &server.url("/token"),
        "headers = { Authorization = \"sesame\" }",
    );
    let sign_in = "client_secret = \"a\"\nsign_in = \"client-credentials\"\n[seed]";
    let error = connect(&text.replacen("[seed]", sign_in, 1)).await;
    let error = error.map(|_| ()).unwrap_err();
    assert_eq!(error.path(), "endpoint.http.headers.Authorization");
    assert_eq!(error.position(), Some((9, 13)));
    assert_eq!(server.requests().await.len(), 0);
}

#[cfg(feature = "folio")]
#[tokio::test]
async fn folio_has_the_same_keys() {
    let requests = of_folio(KEYS).await;
    assert_eq!(requests[0].header("x-okapi-tenant"), Some("diku"));
    assert_own(&requests[0]);
}

/// The request of a rotation in FOLIO.
#[cfg(feature = "folio")]
async fn of_folio(http: &str) -> Vec<Request> {
    let cookie = |name: &str| format!("Set-Cookie: {name}=t; Max-Age=600; Path=/; HttpOnly\r\n");
    let answer = format!(
        "HTTP/1.1 201 Created\r\n{}{}Content-Length: 2\r\n\r\n{{}}",
        cookie("folioAccessToken"),
        cookie("folioRefreshToken")
    );
    let server = RawServer::start([Step::AnswerAndClose(answer.into())]).await;
    connect(&folio(&server, http))
        .await
        .unwrap()
        .token()
        .await
        .unwrap();
    server.requests().await
}

#[cfg(feature = "folio")]
fn folio(server: &RawServer, http: &str) -> String {
    format!(
        "[endpoint]\nkind = \"folio\"\nmode = \"okapi\"\nurl = \"{}\"\ntenant = \"diku\"\n\
         sign_in = {{ username = \"a\", password = \"b\" }}\n[endpoint.http]\n{http}",
        server.url("")
    )
}
