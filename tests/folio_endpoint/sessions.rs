//! Managers of FOLIO sessions: which tokens are spent, when a session ends, and what is never sent again.

use std::time::Duration;

use evertoken::testing::TestClock;
use evertoken::{
    BackgroundTimer, Builder, EndReason, Error, Event, Folio, OnRequest, TokenEndpoint,
    TokenManager, TokenPair,
};

use crate::exchanges::{HOUR, answer};
use crate::raw_server::{RawServer, Request, Step};
use crate::{UNPROCESSABLE, eureka, okapi, pair};

const SECOND: Duration = Duration::from_secs(1);

fn builder(endpoint: impl TokenEndpoint) -> Builder {
    TokenManager::builder(endpoint).jitter(0.0)
}

/// A manager of a session of which only the refresh token is known.
fn resumed(endpoint: Folio) -> TokenManager {
    let seed = TokenPair::from_refresh_token("r1");
    builder(endpoint).seed(seed).build().unwrap()
}

fn first() -> TokenPair {
    TokenPair::new("a1").refresh_token("r1").expires_in(HOUR)
}

async fn cookies(server: RawServer) -> Vec<String> {
    let requests = server.requests().await;
    let cookie = |it: &Request| it.header("cookie").unwrap_or("none").to_owned();
    requests.iter().map(cookie).collect()
}

fn reason(error: Error) -> EndReason {
    match error {
        Error::Ended { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn i12_a_seeded_pair_is_rotated_at_once_and_from_then_on() {
    let server = RawServer::start([pair("a2", "r2"), pair("a3", "r3")]).await;
    let tokens = builder(okapi(&server)).seed(first()).build().unwrap();
    assert_eq!(tokens.rotate().await.unwrap().expose(), "a2");
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    assert_eq!(tokens.rotate().await.unwrap().expose(), "a3");
    let expected = ["folioRefreshToken=r1", "folioRefreshToken=r2"];
    assert_eq!(cookies(server).await, expected);
}

#[tokio::test]
async fn t11_a_422_ends_the_session_once_and_no_token_is_sent_again() {
    let server = RawServer::start([answer(422, &[], UNPROCESSABLE)]).await;
    let tokens = resumed(okapi(&server));
    let mut events = tokens.subscribe();
    for _ in 0..3 {
        let error = tokens.token().await.unwrap_err();
        assert!(error.needs_sign_in() && !error.is_retryable());
        let EndReason::Rejected(word) = reason(error) else {
            panic!("another reason");
        };
        assert_eq!(word.code(), Some("token.refresh.unprocessable"));
    }
    let ends = std::iter::from_fn(|| events.try_recv());
    let ends = ends.filter(|event| matches!(event, Event::Ended { .. }));
    assert_eq!(ends.count(), 1);
    assert_eq!(server.connections().await, [1]);
}

#[tokio::test]
async fn a_422_leaves_a_valid_access_token_usable() {
    let server = RawServer::start([answer(422, &[], UNPROCESSABLE)]).await;
    let tokens = builder(eureka(&server)).seed(first()).build().unwrap();
    assert!(tokens.rotate().await.is_err());
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    assert_eq!(server.connections().await, [1]);
}

#[tokio::test]
async fn a_sign_in_replaces_a_session_after_a_422() {
    let server = RawServer::start([answer(422, &[], UNPROCESSABLE), pair("a2", "r2")]).await;
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    let tokens = resumed(endpoint);
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    assert_eq!(cookies(server).await, ["folioRefreshToken=r1", "none"]);
}

#[tokio::test]
async fn t14_behind_okapi_a_token_that_may_be_spent_is_never_sent_again() {
    for step in [answer(500, &[], ""), Step::Close, answer(201, &[], "{}")] {
        let server = RawServer::start([step, pair("a2", "r2")]).await;
        let tokens = resumed(okapi(&server));
        for _ in 0..3 {
            let error = tokens.token().await.unwrap_err();
            assert_eq!(reason(error), EndReason::OutcomeUnknown);
        }
        assert_eq!(server.connections().await, [1]);
    }
}

#[tokio::test]
async fn t12_after_a_lost_answer_the_job_signs_in_and_sends_no_token_again() {
    let server = RawServer::start([Step::Close, pair("a2", "r2")]).await;
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    let tokens = resumed(endpoint);
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    assert_eq!(cookies(server).await, ["folioRefreshToken=r1", "none"]);
}

/// Each refresh consumes its token. After an answer without a new refresh token, the old token must not be sent again:
/// that would be a replay.
#[tokio::test]
async fn after_an_answer_without_a_refresh_token_the_old_one_is_not_sent_again() {
    let access = "Set-Cookie: folioAccessToken=a2; Max-Age=600";
    let server = RawServer::start([answer(201, &[access], ""), pair("a3", "r3")]).await;
    let tokens = resumed(okapi(&server));
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    let error = tokens.rotate().await.unwrap_err();
    assert!(matches!(error, Error::NotRotatable), "{error}");
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    assert_eq!(cookies(server).await, ["folioRefreshToken=r1"]);
}

#[tokio::test]
async fn t6_a_logout_of_a_session_without_a_refresh_token_sends_nothing() {
    let server = RawServer::start([]).await;
    let seed = TokenPair::new("a1").expires_in(HOUR);
    let tokens = builder(okapi(&server)).seed(seed).build().unwrap();
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok() && logout.revoked.is_err());
    let error = tokens.token().await.unwrap_err();
    assert_eq!(reason(error), EndReason::LoggedOut);
    assert!(server.requests().await.is_empty());
}

#[tokio::test]
async fn q10_a_logout_sends_its_cookie_and_its_failure_fails_no_caller() {
    let refused = || answer(401, &[], "");
    for (steps, requests, is_revoked) in [
        ([answer(204, &[], ""), refused()], 1, true),
        ([answer(422, &[], ""), refused()], 1, false),
        ([Step::Close, refused()], 1, false),
        // The access token has expired.
        ([refused(), answer(204, &[], "")], 2, true),
        ([refused(), answer(422, &[], "")], 2, false),
    ] {
        let server = RawServer::start(steps).await;
        let tokens = builder(eureka(&server)).seed(first()).build().unwrap();
        tokens.token().await.unwrap();
        let logout = tokens.logout().await;
        assert_eq!(logout.revoked.is_ok(), is_revoked);
        let error = tokens.token().await.unwrap_err();
        assert_eq!(reason(error), EndReason::LoggedOut);
        let expected = vec!["folioRefreshToken=r1"; requests];
        assert_eq!(cookies(server).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a7_a_token_without_an_expiry_is_neither_timed_nor_rotated() {
    let server = RawServer::start([
        answer(404, &[], ""),
        answer(201, &["X-Okapi-Token: forever"], "{}"),
    ])
    .await;
    let clock = TestClock::new();
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    let tokens = builder(endpoint)
        .clock(clock.clone())
        .strategy(BackgroundTimer::default())
        .build()
        .unwrap();
    for _ in 0..10 {
        assert_eq!(tokens.token().await.unwrap().expose(), "forever");
        clock.advance(100 * HOUR).await;
    }
    assert_eq!(server.connections().await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn q13_a_session_resumed_without_metadata_refreshes_with_the_first_request() {
    for (idle, expected) in [(9 * 60 * SECOND, 1), (11 * 60 * SECOND, 0)] {
        let server = RawServer::start([pair("a2", "r2")]).await;
        let clock = TestClock::new();
        let seed =
            TokenPair::from_refresh_token("r1").refresh_expires_in(Folio::REFRESH_IF_UNKNOWN);
        let tokens = builder(okapi(&server))
            .clock(clock.clone())
            .strategy(OnRequest::default())
            .seed(seed)
            .build()
            .unwrap();
        clock.advance(idle).await;
        let token = tokens.token().await;
        assert_eq!(token.is_ok(), expected == 1, "{token:?}");
        assert_eq!(server.connections().await.len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn r6_a_session_resumed_without_metadata_is_rotated_after_8_seconds() {
    let server = RawServer::start([pair("a2", "r2")]).await;
    let clock = TestClock::new();
    let seed = TokenPair::new("a1")
        .refresh_token("r1")
        .expires_in(Folio::ACCESS_IF_UNKNOWN)
        .refresh_expires_in(Folio::REFRESH_IF_UNKNOWN);
    let tokens = builder(okapi(&server))
        .clock(clock.clone())
        .strategy(BackgroundTimer::default())
        .seed(seed)
        .build()
        .unwrap();
    let mut events = tokens.subscribe();
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    clock.advance(Duration::from_millis(7_999)).await;
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    clock.advance(Duration::from_millis(1)).await;
    while !matches!(events.recv().await.unwrap(), Event::Rotated { .. }) {}
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    assert_eq!(cookies(server).await, ["folioRefreshToken=r1"]);
}
