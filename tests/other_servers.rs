//! Servers that answer a used refresh token in ways of their own: light-oauth2, what it was asked for, and
//! WSO2. Machines without a common store show what each server does.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use evertoken::testing::{AccessCheck, AuthorizationServer, Fault, InProcessEndpoint, Reuse};
use evertoken::{
    CoolDown, EndReason, EndpointError, Error, Key, MemoryStore, OAuth2, OnRequest, Token,
    TokenManager,
};
use serde_json::{Value, json};
use support::{HOUR, MINUTE, SECOND, World};

const WINDOW: Duration = MINUTE;

/// A machine of its own with the first pair, that takes the server for one that answers nothing twice.
fn machine(world: &World) -> TokenManager {
    machine_at(world, world.server.endpoint())
}

fn machine_at(world: &World, endpoint: InProcessEndpoint) -> TokenManager {
    let builder = world.builder_at(endpoint, OnRequest::default());
    builder.build().unwrap()
}

fn reason(rotated: Result<Token, Error>) -> EndReason {
    match rotated.unwrap_err() {
        Error::Ended { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_refused(error: &Error, code: &str) {
    let answer = error.endpoint().expect("the server answers");
    assert!(matches!(answer, EndpointError::Refused { .. }), "{error:?}");
    assert_eq!(answer.code(), Some(code));
    assert!(!error.needs_sign_in());
}

/// light-oauth2 with linked tokens answers a used token with the same pair inside the window, and refuses the token
/// after.
#[tokio::test(start_paused = true)]
async fn n15_a_linked_token_brings_the_same_pair_inside_the_window_and_is_refused_after_it() {
    let linked = Reuse::Linked { window: WINDOW };
    let world = World::of(AuthorizationServer::light_oauth2().reuse(linked));
    let [one, two, late] = [(); 3].map(|()| machine(&world));
    let first = one.rotate().await.unwrap();
    world.clock.advance(WINDOW - SECOND).await;
    let again = two.rotate().await.unwrap();
    assert_eq!(again.expose(), first.expose());
    assert_eq!((world.server.rotations(), world.server.replays()), (1, 1));
    world.clock.advance(SECOND).await;
    assert!(reason(late.rotate().await).is_rejected());
    // The machine that holds the pair goes on.
    assert!(one.rotate().await.is_ok());
    assert_eq!(world.server.families_revoked(), 0);
}

/// A linked token two generations old is refused even inside the window.
#[tokio::test(start_paused = true)]
async fn n15_a_linked_token_two_generations_old_is_refused_inside_the_window() {
    let linked = Reuse::Linked { window: WINDOW };
    let world = World::of(AuthorizationServer::light_oauth2().reuse(linked));
    let [one, two] = [(); 2].map(|()| machine(&world));
    one.rotate().await.unwrap();
    // A manager leaves time between two rotations.
    world.clock.advance(10 * SECOND).await;
    one.rotate().await.unwrap();
    assert!(reason(two.rotate().await).is_rejected());
    let token = one.token().await.unwrap();
    assert_eq!(world.server.check(token.expose()), AccessCheck::Live);
}

/// light-oauth2 burns a token that another client presents; the refusal does not end the session here.
#[tokio::test(start_paused = true)]
async fn n16_light_oauth2_burns_a_token_of_another_client_and_its_refusal_ends_no_session() {
    let server = AuthorizationServer::light_oauth2()
        .client("importer", "secret")
        .another_client("other", "secret");
    let world = World::of(server);
    let node = |id: &str, secret: &str| {
        let endpoint = world.server.endpoint().with_client(id, secret);
        let builder = world.builder_at(endpoint, OnRequest::default());
        builder.store(world.store.clone()).build().unwrap()
    };
    let (unknown, other) = (node("importer", "typo"), node("other", "secret"));
    let right = node("importer", "secret");
    for (node, code) in [(&unknown, "ERR12007"), (&other, "ERR12028")] {
        let error = node.rotate().await.unwrap_err();
        assert_refused(&error, code);
        assert!(right.token().await.is_ok(), "the session goes on");
        // No instance sends before that.
        world.clock.advance(error.retry_after().unwrap()).await;
    }
    assert!(reason(right.rotate().await).is_rejected());
    assert_eq!((world.server.exchanges(), world.server.replays()), (3, 0));
}

/// light-oauth2 burns no token for a client whose secret is wrong.
#[tokio::test(start_paused = true)]
async fn n16_light_oauth2_burns_no_token_for_an_unknown_client() {
    let world = World::of(AuthorizationServer::light_oauth2().client("importer", "secret"));
    let wrong = world.server.endpoint().with_client("importer", "typo");
    assert!(machine_at(&world, wrong).rotate().await.is_err());
    assert!(machine(&world).rotate().await.is_ok());
}

/// The first endpoint rotates, and the server refuses the second with this code. That burns the token, which the first one
/// learns at its next rotation.
async fn burns(
    server: &AuthorizationServer,
    endpoints: impl FnOnce(&str) -> [OAuth2; 2],
    code: &str,
) {
    let http = server.listen().await.unwrap();
    let first = server.issue();
    let store = MemoryStore::new();
    let [right, other] = endpoints(http.url()).map(|endpoint| {
        TokenManager::builder(endpoint)
            .store(store.clone())
            .key(Key::new("light-oauth2", "importer"))
            .cool_down(CoolDown::default().early(SECOND / 10))
            .seed(first.clone())
            .build()
            .unwrap()
    });
    right.rotate().await.unwrap();
    let error = other.rotate().await.unwrap_err();
    assert_refused(&error, code);
    assert!(right.token().await.is_ok(), "the session goes on");
    tokio::time::sleep(error.retry_after().unwrap()).await;
    assert!(reason(right.rotate().await).is_rejected());
    assert_eq!((server.exchanges(), server.replays()), (3, 0));
}

/// Over HTTP the error codes of light-oauth2 are understood.
#[tokio::test]
async fn n16_over_http_light_oauth2s_own_words_are_understood() {
    let server = AuthorizationServer::light_oauth2()
        .client("importer", "secret")
        .another_client("other", "secret")
        .build();
    let clients = |url: &str| {
        ["importer", "other"].map(|id| OAuth2::new(url, id).unwrap().client_secret("secret"))
    };
    burns(&server, clients, "ERR12028").await;
}

/// A client that is configured for more than the session has burns its token with each refresh that it tries.
#[tokio::test]
async fn n16_light_oauth2_burns_what_is_presented_with_a_scope_that_it_has_not() {
    let scope = "records.read records.write";
    let server = AuthorizationServer::light_oauth2().scope(scope).build();
    let scopes = ["records.read", "records.read users.write"];
    let scoped = |url: &str| scopes.map(|scope| OAuth2::new(url, "importer").unwrap().scope(scope));
    burns(&server, scoped, "ERR12027").await;
}

#[tokio::test(start_paused = true)]
async fn light_oauth2_answers_as_light_4j_does() {
    let server = AuthorizationServer::light_oauth2().build();
    let http = server.listen().await.unwrap();
    let first = server.issue();
    let token = first.refresh.as_ref().unwrap().expose();
    let refresh = || {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        reqwest::Client::new().post(http.url()).body(form).send()
    };
    let body: Value = refresh().await.unwrap().json().await.unwrap();
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(body["expires_in"], 600);
    assert!(body.get("refresh_expires_in").is_none());
    let response = refresh().await.unwrap();
    assert_eq!(response.status(), 404);
    let body: Value = response.json().await.unwrap();
    let expected = json!({
        "statusCode": 404, "code": "ERR12029", "message": "REFRESH_TOKEN_NOT_FOUND", "severity": "ERROR",
    });
    assert_eq!(body, expected);
}

#[tokio::test(start_paused = true)]
async fn light_oauth2_refuses_a_used_token_and_revokes_nothing() {
    let world = World::of(AuthorizationServer::light_oauth2());
    let [one, two] = [(); 2].map(|()| machine(&world));
    one.rotate().await.unwrap();
    assert!(reason(two.rotate().await).is_rejected());
    world.clock.advance(1_000 * HOUR).await;
    assert!(one.rotate().await.is_ok(), "refresh tokens have no expiry");
    assert_eq!(world.server.families_revoked(), 0);
}

/// WSO2 answers a used token inside its grace with a new pair, and the first successor is dead.
#[tokio::test(start_paused = true)]
async fn w15_reuse_inside_the_grace_brings_a_new_pair_and_the_first_successor_is_dead() {
    let world = World::of(AuthorizationServer::wso2());
    let [one, two] = [(); 2].map(|()| machine(&world));
    let first = one.rotate().await.unwrap();
    world.clock.advance(29 * SECOND).await;
    let second = two.rotate().await.unwrap();
    assert_ne!(first.expose(), second.expose());
    assert_eq!(world.server.check(first.expose()), AccessCheck::Revoked);
    assert_eq!(world.server.check(second.expose()), AccessCheck::Live);
    assert!(reason(one.rotate().await).is_rejected());
    assert_eq!((world.server.rotations(), world.server.replays()), (2, 1));
    world.clock.advance(10 * SECOND).await;
    assert!(two.rotate().await.is_ok());
}

/// WSO2 refuses a used token over the limit or after the grace, and the last pair lives on.
#[tokio::test(start_paused = true)]
async fn w15_a_reuse_over_the_limit_or_late_is_refused_and_the_last_pair_lives_on() {
    let renew = |times| Reuse::Renew {
        window: 30 * SECOND,
        times,
    };
    for (times, wait, refused) in [
        (1, SECOND, 2),
        (3, SECOND, 4),
        // The window counts from the first use, not from the last.
        (5, 12 * SECOND, 3),
    ] {
        let world = World::of(AuthorizationServer::wso2().reuse(renew(times)));
        let mut last = None;
        for nth in 0..5 {
            let node = machine(&world);
            let rotated = node.rotate().await;
            if nth < refused {
                last = Some((node, rotated.unwrap()));
            } else {
                assert!(reason(rotated).is_rejected(), "{times} {nth}");
            }
            world.clock.advance(wait).await;
        }
        let (node, token) = last.unwrap();
        assert_eq!(world.server.check(token.expose()), AccessCheck::Live);
        world.clock.advance(10 * SECOND).await;
        assert!(node.rotate().await.is_ok());
        assert_eq!(world.server.families_revoked(), 0);
    }
}

/// At WSO2 the use of the successor ends the grace.
#[tokio::test(start_paused = true)]
async fn w15_using_the_successor_ends_the_grace() {
    let world = World::of(AuthorizationServer::wso2());
    let [one, two] = [(); 2].map(|()| machine(&world));
    one.rotate().await.unwrap();
    world.clock.advance(10 * SECOND).await;
    one.rotate().await.unwrap();
    assert!(reason(two.rotate().await).is_rejected());
}

/// A lost answer of WSO2 is recovered inside the grace.
#[tokio::test(start_paused = true)]
async fn w15_a_lost_answer_is_recovered_inside_the_grace() {
    let world = World::of(AuthorizationServer::wso2());
    let node = machine(&world);
    node.token().await.unwrap();
    world.clock.advance(HOUR).await;
    world.server.fail_next(Fault::DropAfter);
    let token = node.token().await.unwrap();
    assert_eq!(world.server.check(token.expose()), AccessCheck::Live);
    assert_eq!((world.server.exchanges(), world.server.replays()), (2, 1));
}
