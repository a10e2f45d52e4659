//! Real sign-ins by `oauth2` and `openidconnect` over loopback. Each ends in a manager, which then sends calls to an API until
//! the tokens have been rotated twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;
mod web;

use std::cell::Cell;
use std::env;
use std::process::Command;
use std::time::Duration;

use evertoken::testing::{AuthorizationServer, HttpServer, ImportApi};
use evertoken::{ResponseError, Scope, TokenManager, TokenPair};
use evertoken_handover::{code, device, http};
use oauth2::TokenResponse as _;
use oauth2::basic::BasicTokenResponse;
use openidconnect::core::CoreTokenResponse;
use reqwest::StatusCode;
use reqwest::header::LOCATION;
use url::Url;

use crate::server::LoginServer;

/// A server that exchanges refresh tokens, and whose access tokens are good for a second.
fn authorization_server() -> AuthorizationServer {
    let server = AuthorizationServer::builder().client("uploader", "");
    server.access_ttl(Duration::from_secs(1)).build()
}

/// That server, a server where users sign in for its tokens, and an API that accepts them.
async fn world() -> (AuthorizationServer, LoginServer, HttpServer) {
    let server = authorization_server();
    let login = LoginServer::start(&server).await;
    let api = ImportApi::builder(&server).build();
    (server, login, api.listen().await.unwrap())
}

/// Whether the test has passed as a process of its own, without the variables that name proxies: no proxy of this machine has
/// to reach loopback, and the programs of the page use proxies as a program of a user does. Where no variable names one, the
/// test runs where it is.
fn passed_without_proxies(test: &str) -> bool {
    let names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    if names.iter().all(|name| env::var_os(name).is_none()) {
        return false;
    }
    let mut child = Command::new(env::current_exe().unwrap());
    names.iter().for_each(|name| {
        child.env_remove(name);
    });
    let done = child.args(["--exact", test]).output().unwrap();
    let shown = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && shown.contains("1 passed"),
        "{shown}"
    );
    true
}

/// Sends calls until the tokens have been rotated twice. The API accepts each of them.
async fn rotates_twice(tokens: &TokenManager, url: &str, server: &AuthorizationServer) {
    let client = reqwest::Client::new();
    let mut calls = 0;
    while server.rotations() < 2 {
        let answer = tokens.send(client.post(url).body("record")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        calls += 1;
        assert!(calls < 1_000, "{server:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nothing but the manager spent a refresh token, and it spent none twice.
    assert_eq!((server.exchanges(), server.replays()), (2, 0));
    assert_eq!(server.families_revoked(), 0);
}

#[tokio::test]
async fn a_device_sign_in_by_oauth2_goes_on_as_a_manager() {
    if passed_without_proxies("a_device_sign_in_by_oauth2_goes_on_as_a_manager") {
        return;
    }
    let (server, login, api) = world().await;
    let shown = Cell::new(0);
    let show = |url: &str, code: &str| {
        assert_eq!((url, code), (&*login.url("/enter"), "WDJB-MJHT"));
        shown.set(shown.get() + 1);
    };
    let tokens = device::sign_in(&login.url(""), api.origin(), show)
        .await
        .unwrap();
    assert_eq!(shown.get(), 1);
    assert_eq!(login.polls(), 2, "the user took a while");
    rotates_twice(&tokens, api.url(), &server).await;
}

#[tokio::test]
async fn a_browser_sign_in_by_openidconnect_goes_on_as_a_manager() {
    if passed_without_proxies("a_browser_sign_in_by_openidconnect_goes_on_as_a_manager") {
        return;
    }
    let (server, login, api) = world().await;
    let browse = async |url: Url| {
        let answer = http::client().unwrap().get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND);
        let back = Url::parse(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
        assert_eq!(back.path(), "/back");
        let value = |wanted: &str| {
            let mut pairs = back.query_pairs();
            pairs
                .find(|(name, _)| name == wanted)
                .unwrap()
                .1
                .into_owned()
        };
        (value("code"), value("state"))
    };
    let tokens = code::sign_in(&login.url(""), api.origin(), browse)
        .await
        .unwrap();
    rotates_twice(&tokens, api.url(), &server).await;
}

/// The answer of a server, as each library read it.
#[test]
fn what_the_libraries_read_is_the_pair_of_the_answer() {
    let answer = r#"{"access_token":"a1","token_type":"bearer","expires_in":300,"refresh_token":"r1","scope":"b a"}"#;
    let expected = TokenPair::new("a1")
        .refresh_token("r1")
        .expires_in(Duration::from_secs(300))
        .token_type("bearer")
        .scope("a b");
    let by_oauth2: BasicTokenResponse = serde_json::from_str(answer).unwrap();
    assert_eq!(TokenPair::from_response(&by_oauth2).as_ref(), Ok(&expected));
    let by_openidconnect: CoreTokenResponse = serde_json::from_str(answer).unwrap();
    assert_eq!(
        TokenPair::from_response(&by_openidconnect),
        Ok(expected.clone())
    );
    // The fields one by one, for a program that has other lifetimes.
    let by_hand = TokenPair::new(by_oauth2.access_token().secret().as_str())
        .refresh_token(by_oauth2.refresh_token().unwrap().secret().as_str())
        .expires_in(by_oauth2.expires_in().unwrap())
        .token_type(by_oauth2.token_type().as_ref())
        .scope(by_oauth2.scopes().into_iter().flatten().collect::<Scope>());
    assert_eq!(by_hand, expected);
}

#[test]
fn a_part_of_a_response_is_refused_without_its_text() {
    let answer = r#"{"access_token":"sesame","token_type":"bearer"}"#;
    let response: BasicTokenResponse = serde_json::from_str(answer).unwrap();
    let refused = TokenPair::from_response(response.access_token()).unwrap_err();
    assert_eq!(refused, ResponseError::NotAnObject);
    assert!(!format!("{refused} {refused:?}").contains("sesame"));
}
