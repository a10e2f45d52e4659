//! The worker survives failures and steps of the clock, and ends with the last handle.

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{Fault, FaultyEndpoint};
use evertoken::{BackgroundTimer, Error, OnRequest, OptimisticEarly, RefreshStrategy};
use tokio::runtime::Handle;

use crate::support::{
    HOUR, MINUTE, SECOND, World, call, drain, ended, later, loaded, refusal, rotated, settle, text,
};

/// The timer goes on after every transient error.
#[tokio::test(start_paused = true)]
async fn fm30_the_loop_survives_every_transient_error() {
    let faults = [
        later(None),
        later(Some(20 * SECOND)),
        Fault::status(500),
        Fault::status(409),
        Fault::DropBefore,
    ];
    for fault in &faults {
        let (world, tokens) = World::managed(BackgroundTimer::default()).await;
        let mut events = tokens.subscribe();
        world.clock.advance(470 * SECOND).await;
        world.server.fail_next(fault.clone());
        for _ in 0..2_000 {
            let token = tokens
                .token()
                .await
                .unwrap_or_else(|e| panic!("{fault:?}: {e}"));
            assert!(world.is_live(&token), "{fault:?}");
            world.clock.advance(SECOND).await;
        }
        let seen = drain(&mut events);
        // One failure in the first lifetime, and the rotations from 470 s to 2,470 s.
        assert_eq!(rotated(&seen), world.server.rotations());
        assert!(world.server.rotations() >= 4, "{fault:?}");
        assert_eq!(world.server.exchanges(), world.server.rotations() + 1);
        assert_eq!(ended(&seen), 0);
        world.assert_unharmed();
    }
}

/// A refused client is reported, and the session goes on without a restart once the client is known.
#[tokio::test(start_paused = true)]
async fn fm30_a_misconfiguration_is_reported_and_mended_without_a_restart() {
    let world = World::with(|server| server.client("importer", "secret"));
    // The client is correct, and the server does not know the client for a while.
    let tokens = loaded(world.builder(BackgroundTimer::default())).await;
    let fault = refusal(401, "invalid_client");
    world.server.fail_always(Some(fault));
    world.clock.advance(599 * SECOND).await;
    // Only a human can mend the configuration, so the timer makes the longest pause between attempts.
    world.assert_exchanges(2);
    tokens.token().await.unwrap();
    world.clock.advance(HOUR).await;
    assert!(world.server.exchanges() <= 63);
    let error = tokens.token().await.unwrap_err();
    assert!(!error.is_retryable() && !error.needs_sign_in(), "{error}");
    world.assert_unharmed();
    world.server.fail_always(None);
    world.clock.advance(MINUTE).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.clock.advance(480 * SECOND).await;
    assert_eq!(world.server.rotations(), 2);
    world.assert_unharmed();
}

/// The worker ends with the last handle.
#[tokio::test(start_paused = true)]
async fn fm31_the_worker_ends_with_the_last_handle() {
    let world = World::new(600 * SECOND);
    let before = Handle::current().metrics().num_alive_tasks();
    for _ in 0..100 {
        let tokens = world
            .builder(BackgroundTimer::default())
            .seed(world.server.issue());
        let tokens = loaded(tokens).await;
        let clone = tokens.clone();
        drop(tokens);
        settle().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before + 1);
        drop(clone);
        settle().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    }
    world.clock.advance(HOUR).await;
    world.assert_exchanges(0);
}

/// A rotation that is between two exchanges ends with the last handle.
#[tokio::test(start_paused = true)]
async fn fm31_a_rotation_between_two_exchanges_ends_with_the_last_handle() {
    let faults = [
        // The rotation waits for the end of a pause, for the answer, or for the next attempt.
        Fault::status(500),
        Fault::Delay(20 * SECOND),
        later(None),
    ];
    for fault in faults {
        let world = World::new(600 * SECOND);
        let before = Handle::current().metrics().num_alive_tasks();
        let endpoint = Arc::new(FaultyEndpoint::new(world.server.endpoint()));
        let alive = Arc::downgrade(&endpoint);
        let tokens = world.builder_at(endpoint, BackgroundTimer::default());
        let tokens = loaded(tokens).await;
        world.server.fail_next(fault.clone());
        world.clock.advance(481 * SECOND).await;
        drop(tokens);
        world.clock.advance(MINUTE).await;
        assert_eq!(
            Handle::current().metrics().num_alive_tasks(),
            before,
            "{fault:?}"
        );
        assert!(alive.upgrade().is_none(), "{fault:?}");
        world.assert_exchanges(1);
    }
}

/// A subscriber keeps no worker alive, and its stream ends with the last handle.
#[tokio::test(start_paused = true)]
async fn fm31_a_subscriber_keeps_no_worker_alive_and_its_stream_ends() {
    let world = World::new(600 * SECOND);
    let before = Handle::current().metrics().num_alive_tasks();
    let tokens = world.manager(BackgroundTimer::default()).await;
    let mut events = tokens.subscribe();
    drop(tokens);
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    assert!(events.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_the_rotation_under_way_and_fails_later_calls() {
    let world = World::with(|server| server.latency(5 * SECOND));
    let builder = world.shared(OnRequest::default());
    let tokens = loaded(builder).await;
    world.clock.advance(600 * SECOND).await;
    let caller = call(&tokens);
    world.clock.advance(SECOND).await;
    let start = world.clock.now();
    tokens.shutdown().await.unwrap();
    assert_eq!(world.clock.now().since(start), 4 * SECOND);
    assert!(world.is_live(&caller.await.unwrap().unwrap()));
    for answer in [
        tokens.token().await,
        tokens.rotate().await,
        tokens.try_token(),
    ] {
        assert!(matches!(answer, Err(Error::ShutDown)), "{answer:?}");
    }
    let again = loaded(world.shared(OnRequest::default())).await;
    assert!(world.is_live(&again.token().await.unwrap()));
    world.assert_exchanges(1);
}

/// A wall clock that steps back costs no rotation and no token.
#[tokio::test(start_paused = true)]
async fn fm35_a_wall_clock_that_steps_back_costs_nothing() {
    let strategies: [Arc<dyn RefreshStrategy>; 3] = [
        Arc::new(OnRequest::default()),
        Arc::new(BackgroundTimer::default()),
        Arc::new(OptimisticEarly::default()),
    ];
    for strategy in strategies {
        let (world, tokens) = World::managed(strategy).await;
        let first = tokens.token().await.unwrap();
        for back in [SECOND, HOUR, 24 * 365 * HOUR, Duration::MAX] {
            world.clock.advance(SECOND).await;
            world.clock.step_wall_back(back);
            assert_eq!(text(&tokens.token().await), first.expose());
            assert_eq!(text(&tokens.try_token()), first.expose());
        }
        assert!(tokens.token_valid_for(500 * SECOND).await.is_ok());
        world.assert_exchanges(0);
        // The step does not prolong the token either.
        world.clock.advance(596 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_exchanges(1);
    }
}
