//! A failure that does not pass by itself is reported at once, in the server's words. Callers do not wait.

use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{EndReason, EndpointError, Error, TokenManager, TokenPair};
use tokio::time::Instant;

use crate::import::{Strategy, World, endpoint};
use crate::reasons::chain;

/// An error within this time counts as reported at once.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn failing(tokens: &TokenManager) -> Error {
    let began = Instant::now();
    let error = tokens.token().await.expect_err("a token is returned");
    let took = began.elapsed();
    assert!(took < AT_ONCE, "{took:?}: {}", chain(&error));
    error
}

fn first(server: &AuthorizationServer) -> TokenPair {
    let refresh = server.issue().refresh;
    TokenPair::from_refresh_token(refresh.expect("the pair has a refresh token"))
}

#[tokio::test]
async fn a_dead_session_ends_with_the_servers_words() {
    let world = World::new().await;
    let tokens = world
        .builder(Strategy::OnRequest)
        .seed(first(&world.server));
    let tokens = tokens.build().expect("the settings are valid");
    world.server.revoke_all();
    let error = failing(&tokens).await;
    let Error::Ended {
        reason: EndReason::Rejected(word),
        ..
    } = &error
    else {
        panic!("{}", chain(&error));
    };
    assert_eq!(word.code(), Some("invalid_grant"));
    assert!(chain(&error).contains("invalid_grant"), "{}", chain(&error));
}

#[tokio::test]
async fn a_wrong_secret_at_the_first_call_is_reported_with_the_servers_words() {
    let world = World::new().await;
    let tokens = TokenManager::builder(world.endpoint("wrong")).seed(first(&world.server));
    let error = failing(&tokens.build().expect("the settings are valid")).await;
    let Some(EndpointError::Refused { quote, .. }) = error.endpoint() else {
        panic!("{}", chain(&error));
    };
    assert_eq!(quote.code.as_deref(), Some("invalid_client"));
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_wrong_path_at_the_first_call_is_reported_with_status_and_first_words() {
    let world = World::new().await;
    let url = format!("{}/tokens", world.front.origin());
    let tokens = TokenManager::builder(endpoint(&url, "secret")).seed(first(&world.server));
    let error = failing(&tokens.build().expect("the settings are valid")).await;
    let Some(EndpointError::Page { quote, .. }) = error.endpoint() else {
        panic!("{}", chain(&error));
    };
    assert_eq!(quote.status, Some(404));
    assert!(chain(&error).contains("404"), "{}", chain(&error));
}

#[tokio::test]
async fn an_unknown_host_name_is_reported_at_once_and_waited_for() {
    let server = AuthorizationServer::builder().build();
    let wait = Duration::from_secs(5);
    // The name is reserved for this purpose (RFC 6761 section 6.4).
    let endpoint =
        endpoint("https://nowhere.invalid/token", "secret").timeout(Duration::from_secs(3));
    let tokens = TokenManager::builder(endpoint)
        .seed(first(&server))
        .wait(wait)
        .build()
        .expect("the settings are valid");
    let mut events = tokens.subscribe();
    let began = Instant::now();
    let waiter = tokens.clone();
    let waiting = tokio::spawn(async move { waiter.token().await });
    let event = tokio::time::timeout(AT_ONCE, events.recv()).await;
    let has_failed = matches!(event, Ok(Some(evertoken::Event::Failed { .. })));
    assert!(has_failed, "{event:?}");
    let called = waiting.await.expect("the caller does not panic");
    let error = called.expect_err("a token is returned");
    assert!(began.elapsed() < wait + AT_ONCE);
    let is_unsent = matches!(error.endpoint(), Some(EndpointError::NotSent { .. }));
    assert!(is_unsent, "{}", chain(&error));
}
