//! Endpoints that sign in by themselves, and several instances that share the store.

use evertoken::clock::Clock;
use evertoken::testing::Fault;
use evertoken::{
    BackgroundTimer, EndReason, Error, Event, OnRequest, OptimisticEarly, RefreshStrategy,
    TokenPair,
};

use crate::support::{
    HOUR, SECOND, World, built, callers, drain, ended, failed, loaded, refusal, served, settle,
};

/// A world whose endpoint signs in, and whose server takes a second.
fn world() -> World {
    World::with(|server| server.sign_in(true).latency(SECOND))
}

#[tokio::test(start_paused = true)]
async fn many_instances_on_one_store_sign_in_once() {
    let world = world();
    let nodes: [_; 20] = std::array::from_fn(|_| built(world.unseeded(OnRequest::default())));
    let callers: Vec<_> = nodes.iter().flat_map(|node| callers(node, 5)).collect();
    let tokens = served(callers).await;
    assert!(
        tokens
            .windows(2)
            .all(|two| two[0].pair_id() == two[1].pair_id())
    );
    assert_eq!(world.server.sign_ins(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_instances_sign_in_once_after_a_logout() {
    let world = world();
    let nodes: [_; 5] = std::array::from_fn(|_| built(world.unseeded(OnRequest::default())));
    for node in &nodes {
        node.token().await.unwrap();
    }
    nodes[0].logout().await;
    let token = nodes[0].sign_in().await.unwrap();
    assert_eq!(world.server.sign_ins(), 2);
    world.clock.advance(HOUR).await;
    for node in &nodes {
        let adopted = node.token().await.unwrap();
        assert_eq!(adopted.pair_id().family, token.pair_id().family);
        assert!(world.is_live(&adopted));
    }
    assert_eq!(world.server.sign_ins(), 2);
    world.assert_exchanges(1);
}

async fn is_replaced(strategy: impl RefreshStrategy + Clone) {
    let world = world();
    let tokens = loaded(world.unseeded(strategy)).await;
    let mut events = tokens.subscribe();
    world.server.revoke_all();
    world.clock.advance(HOUR).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(world.server.sign_ins(), 2);
    assert_eq!(ended(&drain(&mut events)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_ended_is_replaced_whatever_the_strategy() {
    is_replaced(OnRequest::default()).await;
    is_replaced(BackgroundTimer::default()).await;
    is_replaced(OptimisticEarly::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_in_place_of_a_session_that_ended_is_not_repeated_by_a_timer() {
    let world = world();
    let tokens = loaded(world.unseeded(BackgroundTimer::default())).await;
    let mut events = tokens.subscribe();
    world.server.revoke_all();
    world
        .server
        .fail_always(Some(refusal(400, "invalid_grant")));
    // Hours pass without a further attempt, because repeated refusals lock the account.
    for _ in 0..4 * 60 {
        world.clock.advance(60 * SECOND).await;
    }
    assert_eq!(failed(&drain(&mut events)), 1);
    assert_eq!(world.server.sign_ins(), 2);
    // A caller causes another sign-in, which works by then.
    world.server.fail_always(None);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(world.server.sign_ins(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_logged_out_is_not_replaced_before_a_sign_in() {
    let world = world();
    let builder = || world.unseeded(BackgroundTimer::default());
    let (here, there) = (loaded(builder()).await, loaded(builder()).await);
    here.logout().await;
    for _ in 0..100 {
        world.clock.advance(60 * SECOND).await;
        assert!(here.token().await.unwrap_err().needs_sign_in());
        if world.clock.wall().as_secs() > 1_700_000_000 + 600 {
            assert!(there.token().await.unwrap_err().needs_sign_in());
        }
    }
    let next = world.unseeded(BackgroundTimer::default()).build().unwrap();
    assert!(next.token().await.unwrap_err().needs_sign_in());
    assert_eq!(world.server.sign_ins(), 1);
    world.assert_exchanges(0);
    let token = here.sign_in().await.unwrap();
    assert!(world.is_live(&token));
    assert_eq!(here.status().end, None);
    assert_eq!(world.server.sign_ins(), 2);
}

/// A sign-in does not wait for a rotation that a logout left behind.
#[tokio::test(start_paused = true)]
async fn r4_a_sign_in_does_not_wait_for_a_rotation_that_the_logout_left_behind() {
    let world = world();
    let tokens = loaded(world.unseeded(OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    // The answer of the rotation takes 20 s more.
    world.server.fail_next(Fault::Delay(20 * SECOND));
    let _ = tokens.try_token();
    world.server.arrived(1).await;
    tokens.logout().await;
    let start = world.clock.now();
    let token = tokens.sign_in().await.unwrap();
    assert_eq!(world.clock.now().since(start), SECOND);
    world.clock.advance(60 * SECOND).await;
    assert!(world.is_live(&token));
    assert_eq!(tokens.token().await.unwrap().pair_id(), token.pair_id());
    assert_eq!(world.server.sign_ins(), 2);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_active_session_is_rotated_by_a_sign_in() {
    let world = world();
    let tokens = loaded(world.unseeded(OnRequest::default())).await;
    let before = tokens.token().await.unwrap();
    let token = tokens.sign_in().await.unwrap();
    assert_eq!(token.pair_id().family, before.pair_id().family);
    assert_eq!(token.pair_id().version, before.pair_id().version + 1);
    assert_eq!(world.server.sign_ins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_whose_answer_was_lost_is_reported_and_done_again_after_a_pause() {
    let world = world();
    let tokens = world.unseeded(OnRequest::default()).build().unwrap();
    let mut events = tokens.subscribe();
    world.server.fail_next(Fault::DropAfter);
    let callers = callers(&tokens, 50);
    // The sign-in is not repeated at once, however many callers ask.
    world.clock.advance(2 * SECOND).await;
    assert_eq!(world.server.sign_ins(), 1);
    let error = tokens.try_token().unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(!error.needs_sign_in());
    assert_eq!(error.to_string(), "the sign-in failed");
    world.assert_all_live(callers).await;
    assert_eq!(world.server.sign_ins(), 2);
    let events = drain(&mut events);
    assert!(
        matches!(
            events.as_slice(),
            [Event::Failed { .. }, Event::Rotated { .. }]
        ),
        "{events:?}"
    );
}

/// No session is created while an active pair is in memory or in the store.
#[tokio::test(start_paused = true)]
async fn w2_no_session_is_created_beside_an_active_pair_in_memory_or_in_the_store() {
    let world = world();
    let tokens = loaded(world.unseeded(OnRequest::default())).await;
    for _ in 0..100 {
        tokens.token().await.unwrap();
    }
    for _ in 0..10 {
        loaded(world.unseeded(OnRequest::default())).await;
    }
    assert_eq!(world.server.sign_ins(), 1);
    world.assert_exchanges(0);
}

/// A job that signs in for itself survives the logout of the user.
#[tokio::test(start_paused = true)]
async fn fm27_a_job_with_a_sign_in_of_its_own_survives_the_logout_of_the_user() {
    let world = world();
    let key = world.unseeded(OnRequest::default()).build().unwrap();
    let key = key.key().clone();
    let user = loaded(world.shared(OnRequest::default())).await;
    let job = loaded(world.unseeded(OnRequest::default()).key(key.label("job"))).await;
    let mut failures = 0;
    for minute in 0..120 {
        if minute == 30 {
            assert!(user.logout().await.is_complete());
        }
        match job.token().await {
            Ok(token) if world.is_live(&token) => {}
            _ => failures += 1,
        }
        world.clock.advance(60 * SECOND).await;
    }
    assert_eq!(failures, 0);
    assert_eq!(world.server.sign_ins(), 1);
    assert_eq!(user.status().end, Some(EndReason::LoggedOut));
}

/// An access token without a refresh token is replaced by a new sign-in.
#[tokio::test(start_paused = true)]
async fn fm27_a_one_shot_access_token_is_replaced_by_signing_in_anew() {
    let world = world();
    // The endpoint issued the access token once, and cannot refresh it.
    let access = world.first.access.clone().unwrap();
    let one_shot = TokenPair::new(access).expires_in(600 * SECOND);
    let tokens = loaded(world.unseeded(OnRequest::default()).seed(one_shot)).await;
    assert_eq!(world.server.sign_ins(), 0);
    for _ in 0..60 {
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.clock.advance(60 * SECOND).await;
    }
    assert_eq!(world.server.sign_ins(), 1);
    // The sign-in brought a refresh token, which is used from then on.
    assert_eq!(world.server.exchanges(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_of_another_instance_wins_over_a_session_believed_lost() {
    let world = world();
    let builder = || world.unseeded(OnRequest::default());
    let (here, there) = (loaded(builder()).await, loaded(builder()).await);
    world.clock.advance(600 * SECOND).await;
    let token = here.token().await.unwrap();
    assert_eq!(there.token().await.unwrap().pair_id(), token.pair_id());
    settle().await;
    assert_eq!(world.server.sign_ins(), 1);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_session_without_credentials_is_a_typed_error_and_sends_nothing() {
    let world = World::new(600 * SECOND);
    let tokens = built(world.unseeded(OnRequest::default()));
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error, Error::NoSession), "{error}");
    assert!(error.needs_sign_in());
    world.assert_exchanges(0);
}
