//! A static token without an endpoint.

use evertoken::testing::{AuthorizationServer, ImportApi, TestClock};
use evertoken::{
    BackgroundTimer, Builder, EndReason, Error, MemoryStore, OptimisticEarly, Rejection,
    StaticToken, TokenManager, Validity,
};

use crate::support::{HOUR, SECOND, built, drain};

fn builder(token: &str, clock: &TestClock) -> Builder {
    TokenManager::builder(StaticToken::new(token)).clock(clock.clone())
}

fn manager(token: &str, clock: &TestClock) -> TokenManager {
    built(builder(token, clock).strategy(BackgroundTimer::default()))
}

/// A static token has no timer and no rotation.
#[tokio::test(start_paused = true)]
async fn i11_a_token_that_never_changes_has_no_timer_and_no_rotation() {
    let clock = TestClock::new();
    let tokens = manager("sesame", &clock);
    let mut events = tokens.subscribe();
    for _ in 0..1_000 {
        assert_eq!(tokens.authorization().await.unwrap(), "Bearer sesame");
        clock.advance(HOUR).await;
    }
    let error = tokens.rotate().await.unwrap_err();
    assert!(matches!(error, Error::NotRotatable), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(tokens.status().access_expires_in, None);
    assert_eq!(tokens.status().end, None);
    assert_eq!(tokens.token().await.unwrap().expose(), "sesame");
    let told = drain(&mut events);
    assert!(
        told.len() <= 1,
        "more events than the failed rotation: {told:?}"
    );
}

/// A 401 for a static token is returned each time, and rotates nothing.
#[tokio::test(start_paused = true)]
async fn i11_a_401_for_a_static_token_is_returned_each_time_and_rotates_nothing() {
    let clock = TestClock::new();
    let server = AuthorizationServer::builder().clock(clock.clone()).build();
    let api = ImportApi::builder(&server).build();
    let http = api.listen().await.unwrap();
    let tokens = built(builder("a static token", &clock).origin(http.origin()));
    let client = reqwest::Client::new();
    for _ in 0..5 {
        let request = client.post(http.url()).body("record");
        assert_eq!(tokens.send(request).await.unwrap().status(), 401);
    }
    assert_eq!(api.calls(), 5);
    let token = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&token), Rejection::NotRotatable);
    assert_eq!(tokens.token().await.unwrap().expose(), "a static token");
    assert_eq!(server.exchanges(), 0);
}

/// A static JWT is served to its `exp`; after that the error asks for a sign-in.
#[tokio::test(start_paused = true)]
async fn i11_a_static_jwt_is_served_to_its_end_and_then_a_sign_in_is_needed() {
    let clock = TestClock::new();
    // The claims are {"exp":1700000600,"iat":1700000000}: the token expires 600 s after the start of the clock.
    let jwt = "e30.eyJleHAiOjE3MDAwMDA2MDAsImlhdCI6MTcwMDAwMDAwMH0.x";
    let tokens = manager(jwt, &clock);
    assert_eq!(tokens.token().await.unwrap().expose(), jwt);
    clock.advance(599 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().expose(), jwt);
    clock.advance(SECOND).await;
    let error = tokens.token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
    assert_eq!(tokens.status().end, Some(EndReason::Expired));
    // A token that has expired before the manager starts.
    let tokens = built(builder(jwt, &clock).strategy(OptimisticEarly::default()));
    let error = tokens.token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_token_on_the_same_store_is_another_session() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    for token in ["one", "two", "one"] {
        let tokens = built(builder(token, &clock).store(store.clone()));
        assert_eq!(tokens.token().await.unwrap().expose(), token);
        assert!(!format!("{tokens:?} {:?}", tokens.key()).contains(token));
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_of_a_token_that_never_changes_is_a_local_one_and_holds() {
    let clock = TestClock::new();
    let tokens = manager("sesame", &clock);
    tokens.token().await.unwrap();
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok());
    assert!(logout.revoked.is_err());
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
}

#[test]
fn the_debug_output_of_a_static_token_holds_no_secret() {
    let text = format!("{:?}", StaticToken::new("sesame"));
    assert!(!text.contains("sesame"), "{text}");
    assert_eq!(Validity::default(), Validity::Unknown);
}
