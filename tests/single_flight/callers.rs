//! Many callers share one exchange, and a caller that leaves does not stop the exchange.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{CallFault, EndpointCall, Fault, FaultyEndpoint, FaultyStore, StoreCall};
use evertoken::{BackgroundTimer, Coordination, Error, OldPair, OnRequest, Token, TokenManager};

use crate::support::{
    Caller, HOUR, SECOND, World, built, call, callers, drain, loaded, rotate, rotated, served,
    settle, text,
};

pub(crate) async fn expired(world: &World) -> TokenManager {
    let tokens = world.manager(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    tokens
}

/// Two tasks with one expired pair make one call, and both get pair 2.
#[tokio::test(start_paused = true)]
async fn n1_two_tasks_with_one_expired_pair_make_one_call_and_both_get_pair_2() {
    let world = World::with(|server| server.latency(2 * SECOND));
    let tokens = expired(&world).await;
    let (one, two) = tokio::join!(tokens.token(), tokens.token());
    assert_eq!(text(&one), text(&two));
    assert!(world.is_live(&one.unwrap()));
    world.assert_exchanges(1);
}

/// Checks that all callers get the same token.
async fn assert_all_same(callers: Vec<Caller>) {
    let tokens = served(callers).await;
    let texts: HashSet<_> = tokens.iter().map(Token::expose).collect();
    assert_eq!(texts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tasks_on_an_expired_token_make_one_exchange_and_all_wake() {
    let world = World::with(|server| server.latency(2 * SECOND));
    let tokens = expired(&world).await;
    let callers = callers(&tokens, 10_000);
    let start = world.clock.now();
    assert_all_same(callers).await;
    assert_eq!(world.clock.now().since(start), 2 * SECOND);
    world.assert_exchanges(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_tasks_on_several_threads_make_one_exchange_and_all_wake() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let hold = world.server.hold();
    world.clock.suspend(HOUR);
    let callers = callers(&tokens, 10_000);
    world.server.arrived(1).await;
    drop(hold);
    assert_all_same(callers).await;
    world.assert_exchanges(1);
}

/// Callers that come during a rotation do not start another.
#[tokio::test(start_paused = true)]
async fn n12_callers_that_queue_during_a_rotation_do_not_start_another() {
    let world = World::new(600 * SECOND);
    let tokens = expired(&world).await;
    let mut events = tokens.subscribe();
    let hold = world.server.hold();
    let mut waiting = callers(&tokens, 1);
    world.server.arrived(1).await;
    for _ in 0..20 {
        waiting.extend(callers(&tokens, 10));
        world.clock.advance(SECOND).await;
        // These callers ask for a rotation explicitly, and join the rotation under way.
        waiting.push(rotate(&tokens));
    }
    settle().await;
    drop(hold);
    let mut versions = Vec::new();
    for caller in waiting {
        versions.push(caller.await.unwrap().unwrap().pair_id().version);
    }
    versions.dedup();
    assert_eq!(versions, [2]);
    world.assert_exchanges(1);
    assert_eq!(rotated(&drain(&mut events)), 1);
}

/// 64 workers that cross the expiry cause one refresh, without a failure.
#[tokio::test(start_paused = true)]
async fn i10_64_workers_that_cross_the_expiry_cause_one_refresh_and_have_no_failure() {
    let world = World::with(|server| server.latency(3 * SECOND));
    let tokens = Arc::new(world.manager(OnRequest::default()).await);
    let world = Arc::new(world);
    world.clock.advance(580 * SECOND).await;
    let workers: Vec<_> = (0..64_u32)
        .map(|worker| {
            let (world, tokens) = (world.clone(), tokens.clone());
            tokio::spawn(async move {
                tokio::time::sleep(worker * SECOND / 64).await;
                for _ in 0..40 {
                    let token = tokens.token().await.unwrap();
                    assert!(world.is_live(&token));
                    tokio::time::sleep(SECOND).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    world.assert_exchanges(1);
}

/// Each call of the store takes 4 s from now on. With 25 s for the server, a rotation takes 37 s.
fn delay(store: &FaultyStore) {
    store.fail_always(StoreCall::Load, Some(CallFault::DelayAfter(4 * SECOND)));
    store.fail_always(StoreCall::Swap, Some(CallFault::DelayBefore(4 * SECOND)));
}

/// A waiter whose deadline passes gets a typed error, and the rotation goes on.
#[tokio::test(start_paused = true)]
async fn n6_a_waiter_whose_deadline_passes_gets_a_typed_error_and_the_rotation_goes_on() {
    let world = World::with(|server| server.latency(25 * SECOND));
    let world = world.with_store(FaultyStore::new);
    let tokens = loaded(world.shared(OnRequest::default()).wait(31 * SECOND)).await;
    delay(&world.store);
    world.clock.advance(600 * SECOND).await;
    let start = world.clock.now();
    let leader = call(&tokens);
    world.clock.advance(20 * SECOND).await;
    let second = call(&tokens);
    let error = leader.await.unwrap().unwrap_err();
    assert_eq!(world.clock.now().since(start), 31 * SECOND);
    assert!(matches!(error, Error::TimedOut { after, .. } if after == 31 * SECOND));
    assert!(error.is_retryable() && !error.needs_sign_in());
    // A caller that came later has its own deadline.
    assert!(world.is_live(&second.await.unwrap().unwrap()));
    assert_eq!(world.clock.now().since(start), 37 * SECOND);
    world.assert_exchanges(1);
}

/// A waiter whose deadline passes gets the token that is still valid.
#[tokio::test(start_paused = true)]
async fn n6_a_waiter_whose_deadline_passes_gets_the_token_that_is_still_valid() {
    let world = World::with(|server| server.latency(25 * SECOND));
    let mut world = world.with_store(FaultyStore::new);
    // The profile says that the old token dies with the rotation, so callers wait for a newer token until their
    // deadline.
    world.profile = world.profile.old_pair(OldPair::AccessDiesAtRotation);
    let tokens = loaded(world.shared(BackgroundTimer::default()).wait(31 * SECOND)).await;
    let first = tokens.token().await.unwrap();
    delay(&world.store);
    world.clock.advance(480 * SECOND).await;
    let start = world.clock.now();
    let answer = tokens.token().await;
    assert_eq!(world.clock.now().since(start), 31 * SECOND);
    assert_eq!(text(&answer), first.expose());
    assert!(world.is_live(&answer.unwrap()));
    world.clock.advance(6 * SECOND).await;
    assert_ne!(text(&tokens.token().await), first.expose());
    world.assert_exchanges(1);
}

/// A rotation commits although the caller that began it and all others have gone.
#[tokio::test(start_paused = true)]
async fn fm12_a_rotation_commits_although_every_caller_has_gone() {
    let world = World::new(600 * SECOND);
    let tokens = expired(&world).await;
    let hold = world.server.hold();
    let callers = callers(&tokens, 20);
    world.server.arrived(1).await;
    for caller in &callers {
        caller.abort();
    }
    for caller in callers {
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    drop(hold);
    settle().await;
    let start = world.clock.now();
    let second = tokens.token().await.unwrap();
    assert_eq!(world.clock.now(), start);
    assert_eq!(second.pair_id().version, 2);
    assert!(world.is_live(&second));
    world.assert_exchanges(1);
}

/// A caller that leaves at any moment of a rotation does not stop the rotation.
#[tokio::test(start_paused = true)]
async fn fm12_a_caller_that_leaves_at_any_moment_does_not_stop_the_rotation() {
    // Each step of the rotation takes a time of its own; the caller leaves in each of the steps.
    for leaves_at in 0..12 {
        let world = World::with(|server| server.latency(4 * SECOND));
        let world = world.with_store(FaultyStore::new);
        let tokens = loaded(world.shared(OnRequest::default())).await;
        delay(&world.store);
        world.clock.advance(600 * SECOND).await;
        let answer = tokio::time::timeout(leaves_at * SECOND, tokens.token()).await;
        assert!(answer.is_err());
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_exchanges(1);
    }
}

/// A pair is stored although the last handle is dropped during the rotation.
#[tokio::test(start_paused = true)]
async fn fm12_a_pair_is_stored_although_the_last_handle_goes_during_the_rotation() {
    let world = World::new(600 * SECOND);
    let build = || world.shared(OnRequest::default());
    let tokens = loaded(build()).await;
    world.clock.advance(600 * SECOND).await;
    let (hold, caller) = world.call_in_flight(&tokens).await;
    caller.abort();
    drop((caller, tokens));
    settle().await;
    drop(hold);
    settle().await;
    // A process that starts afterwards finds pair 2.
    let tokens = built(build());
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
    assert_eq!(token.pair_id().version, 2);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn rotate_called_by_many_at_once_is_one_exchange_and_one_after_the_other_is_one_each() {
    // Without leases, only the flight itself unites the callers.
    for coordination in [Coordination::Lease, Coordination::None] {
        let world = World::new(600 * SECOND);
        let endpoint = FaultyEndpoint::new(world.server.endpoint());
        let builder = world.builder_at(endpoint.clone(), OnRequest::default());
        let tokens = loaded(builder.coordination(coordination)).await;
        let at_once: Vec<_> = (0..100).map(|_| rotate(&tokens)).collect();
        for token in served(at_once).await {
            assert_eq!(token.pair_id().version, 2);
        }
        world.assert_exchanges(1);
        for version in 3..6 {
            assert_eq!(tokens.rotate().await.unwrap().pair_id().version, version);
        }
        world.assert_exchanges(4);
        assert_eq!(endpoint.calls(EndpointCall::Refresh), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn one_instance_without_leases_makes_one_exchange_for_all_its_callers() {
    let world = World::with(|server| server.latency(2 * SECOND));
    let builder = world.builder(OnRequest::default());
    let tokens = loaded(builder.coordination(Coordination::None)).await;
    world.clock.advance(600 * SECOND).await;
    world.assert_all_live(callers(&tokens, 1_000)).await;
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_during_a_rotation_lets_no_other_instance_spend_the_token() {
    let world = World::new(600 * SECOND);
    let (one, two) = world.two_managers(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    let (hold, one) = world.call_in_flight(&one).await;
    world.clock.step_wall(Duration::from_secs(300));
    let two = call(&two);
    world.clock.advance(SECOND).await;
    world.assert_exchanges(1);
    drop(hold);
    assert_eq!(text(&one.await.unwrap()), text(&two.await.unwrap()));
    world.assert_exchanges(1);
}

/// A caller that comes while the token is valid gets that token when the rotation takes longer.
#[tokio::test(start_paused = true)]
async fn n6_a_caller_in_the_leeway_gets_the_valid_token_when_the_rotation_is_slow() {
    // The token is in its leeway and the endpoint hangs: the token is valid for 8 s more, and the rotation takes 20 s.
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    world.server.fail_next(Fault::Delay(20 * SECOND));
    world.clock.advance(592 * SECOND).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    // The manager serves the token for 7 s more.
    let half = asked.elapsed().as_millis();
    assert_eq!(half, 3_500, "half of the remaining lifetime");
    // A caller that comes after the expiry waits for the end of the rotation.
    world.clock.advance(5 * SECOND).await;
    assert_ne!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    assert_eq!((world.server.exchanges(), world.server.replays()), (1, 0));
}

/// A seed is served before the rotation that stores it is over. A caller that asks for a newer pair by then gets one, and not
/// the seed with which that rotation ends.
#[tokio::test(start_paused = true)]
async fn rotate_during_the_first_load_brings_a_newer_pair_than_the_seed() {
    let world = World::new(600 * SECOND);
    let world = world.with_store(FaultyStore::new);
    let store = &world.store;
    store.work_next(StoreCall::Load, 1);
    store.fail_next(StoreCall::Load, 1, CallFault::HangBefore);
    let tokens = built(world.shared(OnRequest::default()));
    let first = call(&tokens);
    settle().await;
    let rotated = rotate(&tokens);
    settle().await;
    store.release();
    assert_eq!(first.await.unwrap().unwrap().pair_id().version, 1);
    assert_eq!(rotated.await.unwrap().unwrap().pair_id().version, 2);
    world.assert_exchanges(1);
}
