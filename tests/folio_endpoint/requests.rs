//! What goes over the wire, and what never does.

use std::time::Duration;

use evertoken::{AccessToken, EndpointError, Folio, Grant, RefreshToken, TokenEndpoint, TokenPair};

use crate::exchanges::{AGENT, answer, class, nowhere, refresh, sign_in, window};
use crate::raw_server::{RawServer, Request, Step};
use crate::{REFUSED, eureka, okapi, pair};

fn only(requests: &[Request]) -> &Request {
    let [request] = requests else {
        panic!("{} requests", requests.len());
    };
    request
}

#[tokio::test]
async fn a4_a_refresh_carries_only_the_refresh_tokens_cookie() {
    let server = RawServer::start([pair("a2", "r2")]).await;
    let endpoint = okapi(&server);
    refresh(&endpoint, "e.r.1-_").await.unwrap();
    let requests = server.requests().await;
    let request = only(&requests);
    assert_eq!(request.line(), "POST /okapi/authn/refresh HTTP/1.1");
    for (name, value) in [
        ("cookie", Some("folioRefreshToken=e.r.1-_")),
        ("x-okapi-tenant", Some("diku")),
        ("content-type", Some("application/json")),
        ("accept", Some("application/json, text/plain")),
        ("accept-encoding", Some("identity")),
        ("user-agent", Some(AGENT)),
        ("x-okapi-token", None),
        ("authorization", None),
        ("referer", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    assert_eq!(request.body(), "{}");
}

/// A browser would send these cookies only over https and to another path.
#[tokio::test]
async fn a4_the_next_refresh_uses_cookies_that_a_browser_would_not_send_back() {
    let server = RawServer::start([pair("a2", "r2"), pair("a3", "r3")]).await;
    let endpoint = eureka(&server);
    let issued = refresh(&endpoint, "r1").await.unwrap();
    let next = issued.refresh.unwrap();
    refresh(&endpoint, next.expose()).await.unwrap();
    let requests = server.requests().await;
    let cookies = requests.iter().filter_map(|it| it.header("cookie"));
    let expected = ["folioRefreshToken=r1", "folioRefreshToken=r2"];
    assert_eq!(cookies.collect::<Vec<_>>(), expected);
    assert_eq!(requests[1].line(), "POST /authn/refresh HTTP/1.1");
}

#[tokio::test]
async fn a_sign_in_is_json_and_sends_no_cookie() {
    let server = RawServer::start([pair("a1", "r1")]).await;
    let password = "s\"es\u{e4}me\\";
    let endpoint = okapi(&server).sign_in_with_password("ada", password);
    let issued = sign_in(&endpoint).await.unwrap();
    assert_eq!(issued.refresh, Some("r1".into()));
    let requests = server.requests().await;
    let request = only(&requests);
    let line = "POST /okapi/authn/login-with-expiry HTTP/1.1";
    assert_eq!(request.line(), line);
    assert_eq!(request.header("x-okapi-tenant"), Some("diku"));
    assert_eq!(request.header("cookie"), None);
    let body: serde_json::Value = serde_json::from_str(request.body()).unwrap();
    let expected = serde_json::json!({"username": "ada", "password": password});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_code_is_exchanged_once() {
    let server = RawServer::start([pair("a1", "r1")]).await;
    let endpoint = eureka(&server).sign_in_with_code("c/1&x", "https://folio.example.org/oidc?a=b");
    assert!(endpoint.can_sign_in());
    assert_eq!(class(sign_in(&endpoint).await), "issued");
    assert!(!endpoint.can_sign_in());
    assert_eq!(class(sign_in(&endpoint).await), "refused");
    let requests = server.requests().await;
    let request = only(&requests);
    let query = "code=c%2F1%26x&redirect-uri=https%3A%2F%2Ffolio.example.org%2Foidc%3Fa%3Db";
    assert_eq!(request.line(), format!("GET /authn/token?{query} HTTP/1.1"));
    assert_eq!(request.header("x-okapi-tenant"), Some("diku"));
    assert_eq!(request.body(), "");
}

#[tokio::test]
async fn a_code_that_was_not_sent_stays_usable() {
    let endpoint = Folio::eureka(nowhere(), "diku").unwrap();
    let endpoint = endpoint.sign_in_with_code("c1", "https://folio.example.org");
    assert_eq!(class(sign_in(&endpoint).await), "not sent");
    let closed = window(Duration::ZERO);
    let late = endpoint.exchange(Grant::sign_in(&closed)).await;
    assert_eq!(class(late), "not sent");
    assert!(endpoint.can_sign_in());
    // A code that the server did not use stays usable as well.
    let busy = |status| answer(status, &["Retry-After: 1"], "");
    let page = answer(404, &[], "<html>");
    let server = RawServer::start([busy(429), busy(503), page, pair("a1", "r1")]).await;
    let endpoint = eureka(&server).sign_in_with_code("c1", "https://folio.example.org");
    for expected in ["later", "unavailable", "page"] {
        assert_eq!(class(sign_in(&endpoint).await), expected);
        assert!(endpoint.can_sign_in());
    }
    assert_eq!(class(sign_in(&endpoint).await), "issued");
    // A code that the server may have used does not stay usable.
    let server = RawServer::start([Step::Close]).await;
    let endpoint = eureka(&server).sign_in_with_code("c1", "https://folio.example.org");
    assert_eq!(class(sign_in(&endpoint).await), "unknown");
    assert!(!endpoint.can_sign_in());
    assert_eq!(server.requests().await.len(), 1);
}

#[tokio::test]
async fn okapi_exchanges_no_codes() {
    let server = RawServer::start([]).await;
    let endpoint = okapi(&server).sign_in_with_code("c1", "https://folio.example.org");
    for _ in 0..2 {
        let error = sign_in(&endpoint).await.unwrap_err();
        let said = error.to_string();
        assert!(said.ends_with("sign in with a password"), "{said}");
        assert!(endpoint.can_sign_in(), "the code is not used up");
    }
    assert!(server.requests().await.is_empty());
}

#[tokio::test]
async fn t6_no_logout_is_sent_without_the_cookie_of_its_session() {
    let server = RawServer::start([answer(204, &[], "")]).await;
    let endpoint = okapi(&server);
    let pair = TokenPair::new("a1").refresh_token("r1");
    endpoint.revoke(&pair).await.unwrap();
    // This pair has no refresh token, or one that a cookie cannot hold.
    for (odd, expected) in [
        (TokenPair::new("a1"), "refused"),
        (TokenPair::new("a1").refresh_token(""), "refused"),
        (TokenPair::new("a1").refresh_token("r 1"), "refused"),
        (TokenPair::new("a1").refresh_token("r1;x=y"), "refused"),
        (TokenPair::default(), "issued"),
    ] {
        assert_eq!(class(endpoint.revoke(&odd).await), expected, "{odd:?}");
    }
    let requests = server.requests().await;
    let request = only(&requests);
    assert_eq!(request.line(), "POST /okapi/authn/logout HTTP/1.1");
    assert_eq!(request.header("cookie"), Some("folioRefreshToken=r1"));
    assert_eq!(request.header("x-okapi-token"), None);
}

/// The cookie and the access token of each request.
fn carried(requests: &[Request]) -> Vec<(Option<&str>, Option<&str>)> {
    let logouts = requests.iter();
    logouts
        .inspect(|it| assert_eq!(it.line(), "POST /authn/logout HTTP/1.1"))
        .map(|it| (it.header("cookie"), it.header("x-okapi-token")))
        .collect()
}

const COOKIE: Option<&str> = Some("folioRefreshToken=r1");

#[tokio::test]
async fn t4_in_eureka_a_logout_carries_the_cookie_and_the_access_token_of_its_session() {
    let server = RawServer::start([answer(204, &[], ""), answer(204, &[], "")]).await;
    let endpoint = eureka(&server);
    let pair = TokenPair::new("a1").refresh_token("r1");
    endpoint.revoke(&pair).await.unwrap();
    // An access token that a header cannot hold is left out.
    let odd = TokenPair::new("a\n1").refresh_token("r1");
    endpoint.revoke(&odd).await.unwrap();
    let requests = server.requests().await;
    assert_eq!(carried(&requests), [(COOKIE, Some("a1")), (COOKIE, None)]);
}

#[tokio::test]
async fn t6_in_eureka_no_logout_is_sent_without_the_cookie() {
    let server = RawServer::start([]).await;
    let endpoint = eureka(&server);
    for odd in ["", "r 1", "r1;x=y"] {
        let pair = TokenPair::new("a1").refresh_token(odd);
        assert_eq!(class(endpoint.revoke(&pair).await), "refused");
    }
    let alone = TokenPair::new("a1");
    assert_eq!(class(endpoint.revoke(&alone).await), "refused");
    assert!(server.requests().await.is_empty());
}

#[tokio::test]
async fn t4_in_eureka_a_logout_with_a_refused_access_token_is_repeated_with_the_cookie_alone() {
    let pair = TokenPair::new("a1").refresh_token("r1");
    let both = [(COOKIE, Some("a1")), (COOKIE, None)];
    for (first, second, expected, sent) in [
        (401, 204, "issued", &both[..]),
        (401, 422, "unknown", &both),
        (401, 401, "page", &both),
        // No other answer concerns the access token.
        (422, 204, "unknown", &both[..1]),
        (403, 204, "page", &both[..1]),
        (500, 204, "unknown", &both[..1]),
    ] {
        let server = RawServer::start([first, second].map(|status| answer(status, &[], ""))).await;
        let outcome = class(eureka(&server).revoke(&pair).await);
        assert_eq!(outcome, expected, "{first} {second}");
        let requests = server.requests().await;
        assert_eq!(carried(&requests), sent, "{first} {second}");
    }
    // A logout that began with the cookie alone is not repeated.
    let server = RawServer::start([answer(401, &[], REFUSED)]).await;
    let alone = TokenPair::from_refresh_token("r1");
    let outcome = class(eureka(&server).revoke(&alone).await);
    assert_eq!(outcome, "refused");
    assert_eq!(carried(&server.requests().await), [(COOKIE, None)]);
}

#[tokio::test]
async fn t6_logging_out_everywhere_is_a_separate_call() {
    let server = RawServer::start([answer(204, &[], ""), answer(401, &[], "Invalid token")]).await;
    let endpoint = eureka(&server);
    let access = AccessToken::new("a1");
    endpoint.logout_all(&access).await.unwrap();
    let error = endpoint.logout_all(&access).await.unwrap_err();
    assert!(matches!(error, EndpointError::Page { .. }), "{error}");
    let quote = error.quote().unwrap();
    assert_eq!(quote.status, Some(401));
    assert_eq!(quote.start.as_deref(), Some("Invalid token"));
    let requests = server.requests().await;
    assert_eq!(requests[0].line(), "POST /authn/logout-all HTTP/1.1");
    assert_eq!(requests[0].header("x-okapi-token"), Some("a1"));
    assert_eq!(requests[0].header("cookie"), None);
}

/// The token is in the head of the request, which must not leave before the window is checked.
#[tokio::test]
async fn no_part_of_a_refresh_leaves_after_its_window_closed() {
    let server = RawServer::start([pair("a2", "r2")]).await;
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    let (token, closed) = (RefreshToken::new("r1"), window(Duration::ZERO));
    for grant in [Grant::refresh(&token, &closed), Grant::sign_in(&closed)] {
        assert_eq!(class(endpoint.exchange(grant).await), "not sent");
    }
    assert!(server.requests().await.is_empty());
}

#[tokio::test]
async fn t13_a_refused_connection_spends_nothing() {
    let endpoint = Folio::okapi(nowhere(), "diku").unwrap();
    assert_eq!(class(refresh(&endpoint, "r1").await), "not sent");
}

#[tokio::test]
async fn t12_a_missing_answer_is_unknown_and_the_request_is_sent_once() {
    for step in [Step::Close, Step::Stall(Vec::new())] {
        let server = RawServer::start([step, pair("a2", "r2")]).await;
        let endpoint = okapi(&server).timeout(Duration::from_millis(500));
        assert_eq!(class(refresh(&endpoint, "r1").await), "unknown");
        assert_eq!(server.connections().await, [1]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let elsewhere = RawServer::start([pair("a2", "r2")]).await;
    let location = format!("Location: {}", elsewhere.url("/authn/refresh"));
    let server = RawServer::start([answer(307, &[&location], "")]).await;
    assert_eq!(class(refresh(&eureka(&server), "r1").await), "page");
    assert_eq!(server.connections().await, [1]);
    assert!(elsewhere.requests().await.is_empty());
}
