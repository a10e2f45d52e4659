//! The errors that callers get. An error carries the server's own words when the server ends a session or refuses a
//! client. A configuration that has never worked fails at once.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{EndpointError, Error, TokenManager, TokenPair};

use super::cases;
use crate::judge::{Judge, Rules};
use crate::relay::{Page, Step};
use crate::world::{World, assert_rejected, without_a_token};

cases![
    an_ended_session_has_the_servers_words,
    a_page_at_the_first_call_is_an_error_at_once,
    a_wrong_secret_at_the_first_call_is_an_error_at_once,
    a_client_that_is_refused_once_in_mid_session_waits_and_goes_on,
];

/// A time that is shorter than any pause.
const AT_ONCE: Duration = Duration::from_millis(1_500);

async fn an_ended_session_has_the_servers_words(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.begun().await;
    let pair = tokens.token().await.unwrap();
    assert_eq!(world.server.revoke(pair.expose()).await, 200);
    assert_rejected(without_a_token(&tokens).await);
    assert_eq!(world.relay.seen().repeated, 0);
}

async fn failed_at_once(tokens: &TokenManager) -> Error {
    let answer = tokio::time::timeout(AT_ONCE, tokens.token()).await;
    answer.expect("the error comes at once").unwrap_err()
}

/// No pair was ever committed with this endpoint, so the URL is probably wrong.
async fn a_page_at_the_first_call_is_an_error_at_once(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    world.relay.next(Step::Page(Page::html(404)));
    let refresh = &world.first.refresh_token;
    let tokens = world.refreshing(refresh).build().unwrap();
    let error = failed_at_once(&tokens).await;
    let Some(EndpointError::Page { quote, .. }) = error.endpoint() else {
        panic!("{error:?}");
    };
    assert_eq!(quote.status, Some(404));
    assert_eq!(quote.content_type.as_deref(), Some("text/html"));
    let start = quote.start.as_deref();
    assert!(start.is_some_and(|start| start.contains("in the way")));
    assert!(!error.needs_sign_in(), "{error:?}");
    assert_eq!(world.relay.seen().arrived, 1);
    // The session continues when the page is gone and the pause is over.
    tokio::time::sleep(error.retry_after().unwrap()).await;
    let token = tokens.token().await.unwrap();
    assert!(world.server.is_live_access(token.expose()).await);
    let seen = world.relay.seen();
    assert_eq!((seen.arrived, seen.exchanges, seen.repeated), (2, 1, 0));
}

#[track_caller]
fn assert_refused(error: &Error) {
    let answer = error.endpoint().unwrap();
    assert!(matches!(answer, EndpointError::Refused { .. }), "{error:?}");
    assert_eq!(answer.code(), Some("invalid_client"));
}

async fn a_wrong_secret_at_the_first_call_is_an_error_at_once(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let refresh = world.first.refresh_token.as_str();
    let tokens = TokenManager::builder(world.endpoint().client_secret("wrong"))
        .seed(TokenPair::from_refresh_token(refresh))
        .build()
        .unwrap();
    assert_refused(&failed_at_once(&tokens).await);
    assert_eq!(world.relay.seen().arrived, 1);
    assert!(world.server.is_live_refresh(refresh).await);
}

/// The server refuses a client for a while that it has accepted before, as during a deployment.
async fn a_client_that_is_refused_once_in_mid_session_waits_and_goes_on(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.begun().await;
    world.relay.next(Step::Page(Page {
        status: 401,
        content_type: "application/json",
        body: r#"{"error":"invalid_client"}"#,
    }));
    let token = without_a_token(&tokens).await.unwrap();
    assert!(world.server.is_live_access(token.expose()).await);
    let seen = world.relay.seen();
    assert_eq!((seen.arrived, seen.exchanges, seen.repeated), (3, 2, 0));
}
