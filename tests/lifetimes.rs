//! Tokens that live for no time, for ever, or for nobody knows how long; and rotation that neither runs
//! wild nor stops because of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, Timestamp};
use evertoken::testing::{Fault, RefreshTokens, TestClock};
use evertoken::{
    BackgroundTimer, EndpointError, Error, Grant, Issued, Key, OnRequest, OptimisticEarly,
    RefreshStrategy, Rejection, Token, TokenEndpoint, TokenManager, TokenPair, async_trait,
};
use parking_lot::Mutex;
use support::{
    Greedy, HOUR, HalfLife, Hooked, MINUTE, SECOND, World, call, drain, ended, later, loaded,
    rotated, settle, text,
};
use tokio::runtime::Handle;

const MILLIS: Duration = Duration::from_millis(1);

fn strategies() -> [Arc<dyn RefreshStrategy>; 6] {
    [
        Arc::new(OnRequest::default()),
        Arc::new(OnRequest::default().at_fraction(0.0)),
        Arc::new(BackgroundTimer::default()),
        Arc::new(BackgroundTimer::default().at_fraction(0.0)),
        Arc::new(OptimisticEarly::default().window(24 * HOUR)),
        Arc::new(Greedy),
    ]
}

/// Issues whatever the test says, for any refresh token.
#[derive(Clone)]
struct Scripted {
    clock: TestClock,
    calls: Arc<Mutex<Vec<Timestamp>>>,
    answer: Arc<dyn Fn(u64) -> Issued + Send + Sync>,
}

impl Scripted {
    fn new(clock: &TestClock, answer: impl Fn(u64) -> Issued + Send + Sync + 'static) -> Self {
        Self {
            clock: clock.clone(),
            calls: Arc::default(),
            answer: Arc::new(answer),
        }
    }

    fn calls(&self) -> usize {
        self.calls.lock().len()
    }

    fn manager(&self, seed: TokenPair, strategy: impl RefreshStrategy) -> TokenManager {
        TokenManager::builder(self.clone())
            .clock(self.clock.clone())
            .strategy(strategy)
            .jitter(0.0)
            .seed(seed)
            .build()
            .unwrap()
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenEndpoint for Scripted {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let call = {
            let mut calls = self.calls.lock();
            calls.push(self.clock.now());
            calls.len() as u64
        };
        Ok((self.answer)(call))
    }

    fn key(&self) -> Key {
        Key::new("scripted", "client")
    }
}

/// A pair with nothing said of how long it lives.
fn seed() -> TokenPair {
    TokenPair::new("at-0").refresh_token("rt-0")
}

/// No leeway and no window makes a manager rotate more often than the shortest interval permits.
#[tokio::test(start_paused = true)]
async fn fm17_no_margin_is_wide_enough_to_rotate_without_end() {
    // The shortest interval is 1 s, or a tenth of the lifetime if that is less.
    for (lifetime, interval) in [
        (600 * SECOND, SECOND),
        (10 * SECOND, SECOND),
        (SECOND, SECOND / 10),
        (100 * MILLIS, 10 * MILLIS),
    ] {
        for strategy in strategies() {
            let world = World::new(lifetime);
            let shown = format!("{strategy:?} {lifetime:?}");
            let tokens = loaded(world.builder(strategy).leeway(24 * HOUR)).await;
            let start = world.clock.now();
            for _ in 0..200 {
                let token = tokens.token().await.unwrap();
                assert!(world.is_live(&token), "{shown}");
                world.clock.advance(interval / 10).await;
            }
            let span = world.clock.now().since(start);
            let most = span.as_nanos() / interval.as_nanos() + 1;
            let exchanges = u128::from(world.server.exchanges());
            assert!(exchanges <= most, "{shown}: {exchanges} > {most}");
            world.assert_unharmed();
        }
    }
}

/// A user's strategy that asks for a rotation at every moment gets one a second.
#[tokio::test(start_paused = true)]
async fn fm17_a_greedy_user_strategy_gets_exactly_one_rotation_a_second() {
    let world = World::new(600 * SECOND);
    let _tokens = world.manager(Greedy).await;
    world.clock.advance(100 * SECOND).await;
    world.assert_exchanges(100);
}

/// A window wider than the lifetime is cut to half of the lifetime.
#[tokio::test(start_paused = true)]
async fn fm17_a_window_wider_than_the_lifetime_is_cut_to_half_of_the_lifetime() {
    let world = World::new(60 * SECOND);
    let tokens = world
        .manager(OptimisticEarly::default().window(10 * MINUTE))
        .await;
    for _ in 0..600 {
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.clock.advance(SECOND).await;
    }
    // At 30, 60, .. 570 s.
    world.assert_exchanges(19);
}

#[tokio::test(start_paused = true)]
async fn lifetimes_shorter_than_the_servers_latency_serve_what_was_issued_and_back_off() {
    // The token is a second over when it arrives. Each caller gets one, and the server some rest.
    let world = World::with(|server| server.access_ttl(SECOND).latency(4 * SECOND));
    for strategy in strategies() {
        let before = world.server.exchanges();
        let tokens = world.builder(strategy).seed(world.server.issue());
        let tokens = loaded(tokens).await;
        for _ in 0..60 {
            tokens.token().await.unwrap();
            world.clock.advance(SECOND).await;
        }
        let exchanges = world.server.exchanges() - before;
        assert!((1..=8).contains(&exchanges), "{exchanges}");
        drop(tokens);
    }
    world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn expires_in_0_is_served_and_asked_for_again_after_a_pause_that_doubles() {
    let clock = TestClock::new();
    let endpoint = Scripted::new(&clock, |call| {
        Issued::new(format!("at-{call}"))
            .refresh_token(format!("rt-{call}"))
            .expires_in(Duration::ZERO)
    });
    let tokens = endpoint.manager(seed().expires_in(MINUTE), OnRequest::default());
    tokens.token().await.unwrap();
    clock.advance(MINUTE).await;
    let start = clock.now();
    for _ in 0..1_000 {
        let token = tokens.token().await.unwrap();
        assert_eq!(token.expose(), format!("at-{}", endpoint.calls()));
        clock.advance(SECOND / 10).await;
    }
    let at: Vec<_> = endpoint.calls.lock().clone();
    let at: Vec<_> = at.iter().map(|at| at.since(start).as_secs()).collect();
    assert_eq!(at, [0, 4, 12, 28, 60]);
}

/// An issuer that returns one token until the token expires is not stormed.
#[tokio::test(start_paused = true)]
async fn fm22_fm37_an_issuer_that_returns_the_same_token_until_it_expires_is_not_stormed() {
    // Like a metadata server: one token for 600 s, whoever asks, and a fresh one at its end.
    for strategy in strategies() {
        let clock = TestClock::new();
        let start = clock.now();
        let endpoint = Scripted::new(&clock, {
            let clock = clock.clone();
            move |_| {
                let age = clock.now().since(start).as_millis();
                let (generation, age) = (age / 600_000, (age % 600_000) as u64);
                Issued::new(format!("at-{generation}"))
                    .expires_in(Duration::from_millis(600_000 - age))
            }
        });
        let shown = format!("{strategy:?}");
        let seed = TokenPair::new("at-0")
            .refresh_token("rt")
            .expires_in(600 * SECOND);
        let tokens = endpoint.manager(seed, strategy);
        for second in 0..1_800_u64 {
            let token = tokens.token().await.unwrap();
            let generation = second / 600;
            assert_eq!(
                token.expose(),
                format!("at-{generation}"),
                "{shown}: at {second} s"
            );
            clock.advance(SECOND).await;
        }
        let calls = endpoint.calls();
        assert!((2..=60).contains(&calls), "{shown}: {calls} calls");
    }
}

/// A token that is always near its expiry is served, and the calls for the next one become less frequent.
#[tokio::test(start_paused = true)]
async fn fm37_an_issuer_of_tokens_near_their_expiry_is_called_ever_less_often() {
    // The same bytes with 30 s left, whenever it is asked; a timer of 24 s and callers besides.
    let clock = TestClock::new();
    let endpoint = Scripted::new(&clock, |_| Issued::new("at-0").expires_in(30 * SECOND));
    let seed = TokenPair::new("at-0")
        .refresh_token("rt")
        .expires_in(30 * SECOND);
    let tokens = endpoint.manager(seed, BackgroundTimer::default());
    for _ in 0..36_000 {
        assert_eq!(text(&tokens.token().await), "at-0");
        clock.advance(SECOND / 10).await;
    }
    // No more than one every 24 s, as if there had been progress.
    let calls = endpoint.calls();
    assert!((60..=150).contains(&calls), "{calls} calls");
}

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
        let world = World::new(600 * SECOND);
        let tokens = world.manager(BackgroundTimer::default()).await;
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
        // One failure in the first lifetime, and the rotations of 470 s to 2,470 s besides.
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
    let world = World::with(|server| server.access_ttl(600 * SECOND).client("importer", "secret"));
    // The right client, and a server that does not know it for a while.
    let tokens = loaded(world.builder(BackgroundTimer::default())).await;
    let fault = Fault::Status {
        status: 401,
        body: r#"{"error":"invalid_client"}"#.to_owned(),
        retry_after: None,
    };
    world.server.fail_always(Some(fault));
    world.clock.advance(599 * SECOND).await;
    // A human has to mend it, so the timer leaves the longest pause in between.
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
async fn fm31_the_last_handle_takes_the_worker_along() {
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
        // It waits: for the end of a pause, for the answer, or for the next attempt.
        Fault::status(500),
        Fault::Delay(20 * SECOND),
        later(None),
    ];
    for fault in faults {
        let world = World::new(600 * SECOND);
        let before = Handle::current().metrics().num_alive_tasks();
        let endpoint = Arc::new(Hooked::new(world.server.endpoint()));
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
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(5 * SECOND));
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
        let world = World::new(600 * SECOND);
        let tokens = world.manager(strategy).await;
        let first = tokens.token().await.unwrap();
        for back in [SECOND, HOUR, 24 * 365 * HOUR, Duration::MAX] {
            world.clock.advance(SECOND).await;
            world.clock.step_wall_back(back);
            assert_eq!(text(&tokens.token().await), first.expose());
            assert_eq!(text(&tokens.try_token()), first.expose());
        }
        assert!(tokens.token_valid_for(500 * SECOND).await.is_ok());
        world.assert_exchanges(0);
        // It is not good for longer either.
        world.clock.advance(596 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_exchanges(1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_lifetime_sets_no_timer_and_rejections_drive_it() {
    // The greedy one sets its own, whatever the lifetime.
    for strategy in strategies().into_iter().take(5) {
        let clock = TestClock::new();
        let endpoint = Scripted::new(&clock, |call| {
            Issued::new(format!("at-{call}")).refresh_token(format!("rt-{call}"))
        });
        let shown = format!("{strategy:?}");
        let tokens = endpoint.manager(seed(), strategy);
        let first = tokens.token().await.unwrap();
        for _ in 0..100 {
            assert_eq!(text(&tokens.token().await), "at-0");
            clock.advance(HOUR).await;
        }
        assert_eq!(endpoint.calls(), 0, "{shown}");
        assert_eq!(tokens.reject(&first), Rejection::Rotating);
        assert_eq!(text(&tokens.token().await), "at-1");
        clock.advance(100 * HOUR).await;
        assert_eq!(text(&tokens.token().await), "at-1");
        assert_eq!(endpoint.calls(), 1, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_never_expires_is_never_rotated_by_any_strategy() {
    for strategy in strategies() {
        let clock = TestClock::new();
        let endpoint = Scripted::new(&clock, |_| Issued::new("at-1"));
        let tokens = endpoint.manager(seed().never_expires(), strategy);
        for _ in 0..100 {
            assert_eq!(text(&tokens.token().await), "at-0");
            clock.advance(24 * HOUR).await;
        }
        assert!(tokens.token_valid_for(1_000 * HOUR).await.is_ok());
        assert_eq!(endpoint.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_refresh_token_is_served_until_it_expires_and_never_rotated() {
    let clock = TestClock::new();
    let endpoint = Scripted::new(&clock, |_| Issued::new("at-1"));
    let tokens = endpoint.manager(
        TokenPair::new("at-0").expires_in(600 * SECOND),
        BackgroundTimer::default(),
    );
    let first = tokens.token().await.unwrap();
    for _ in 0..600 {
        assert_eq!(text(&tokens.token().await), "at-0");
        clock.advance(SECOND).await;
    }
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    assert_eq!(tokens.reject(&first), Rejection::Ended);

    let tokens = endpoint.manager(TokenPair::new("at-0"), OnRequest::default());
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&first), Rejection::NotRotatable);
    assert!(matches!(tokens.rotate().await, Err(Error::NotRotatable)));
    assert_eq!(text(&tokens.token().await), "at-0");
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_omitted_empty_or_echoed_is_kept_and_used_again() {
    for refresh_tokens in [
        RefreshTokens::Omitted,
        RefreshTokens::Empty,
        RefreshTokens::Echoed,
        RefreshTokens::Rotated,
    ] {
        for strategy in strategies() {
            let world = World::with(|server| {
                server
                    .access_ttl(600 * SECOND)
                    .refresh_tokens(refresh_tokens)
            });
            let shown = format!("{refresh_tokens:?} {strategy:?}");
            let builder = world.shared(strategy);
            let tokens = loaded(builder).await;
            for _ in 0..19 {
                world.clock.advance(100 * SECOND).await;
                let token = tokens.token().await;
                assert!(world.is_live(&token.unwrap()), "{shown}");
            }
            settle().await;
            let exchanges = world.server.exchanges();
            assert!(exchanges >= 3, "{shown}");
            assert_eq!(world.server.rotations(), exchanges, "{shown}");
            world.assert_unharmed();
            drop(tokens);
            // It is what a restart finds as well.
            world.clock.advance(600 * SECOND).await;
            let again = loaded(world.shared(OnRequest::default())).await;
            assert!(world.is_live(&again.token().await.unwrap()), "{shown}");
            assert_eq!(world.server.exchanges(), exchanges + 1, "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_timer_follows_each_new_lifetime() {
    let clock = TestClock::new();
    let lifetimes = [60, 600, 10, 1_000];
    let endpoint = Scripted::new(&clock, move |call| {
        let lifetime = lifetimes[usize::try_from(call - 1).unwrap() % 4] * SECOND;
        Issued::new(format!("at-{call}"))
            .refresh_token(format!("rt-{call}"))
            .expires_in(lifetime)
    });
    let start = clock.now();
    let tokens = endpoint.manager(seed().expires_in(100 * SECOND), BackgroundTimer::default());
    tokens.token().await.unwrap();
    clock.advance(700 * SECOND).await;
    let at: Vec<_> = endpoint.calls.lock().clone();
    let at: Vec<_> = at.iter().map(|at| at.since(start).as_secs()).collect();
    assert_eq!(at, [80, 80 + 48, 80 + 48 + 480, 80 + 48 + 480 + 8]);
}

#[tokio::test(start_paused = true)]
async fn refresh_in_from_the_server_wins_over_the_strategys_own_time() {
    let clock = TestClock::new();
    let endpoint = Scripted::new(&clock, |call| {
        Issued::new(format!("at-{call}"))
            .refresh_token(format!("rt-{call}"))
            .expires_in(600 * SECOND)
            .refresh_in(100 * SECOND)
    });
    let tokens = endpoint.manager(seed().expires_in(10 * SECOND), BackgroundTimer::default());
    tokens.token().await.unwrap();
    clock.advance(8 * SECOND).await;
    assert_eq!(endpoint.calls(), 1);
    clock.advance(100 * SECOND - MILLIS).await;
    assert_eq!(endpoint.calls(), 1);
    clock.advance(MILLIS).await;
    assert_eq!(endpoint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn token_valid_for_rotates_once_if_needed_and_never_for_the_impossible() {
    let world = World::new(600 * SECOND);
    let tokens = world.manager(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(300 * SECOND).await;
    assert_eq!(
        text(&tokens.token_valid_for(300 * SECOND).await),
        first.expose()
    );
    // Longer than any token of this session: no call.
    let error = tokens.token_valid_for(601 * SECOND).await.unwrap_err();
    assert!(matches!(error, Error::ShortLived { valid_for, .. } if valid_for == 300 * SECOND));
    assert!(!error.is_retryable() && !error.needs_sign_in());
    world.assert_exchanges(0);
    // A second more than it has left: one rotation, however many ask.
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.token_valid_for(301 * SECOND).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap().pair_id().version, 2);
    }
    assert!(tokens.token_valid_for(600 * SECOND).await.is_ok());
    world.assert_exchanges(1);
    // Where the rotation fails, the token is not good for so long, whatever it is good for.
    world.clock.advance(300 * SECOND).await;
    world.server.set_reachable(false);
    assert!(tokens.token_valid_for(400 * SECOND).await.is_err());
    assert!(tokens.token().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn rotate_ignores_the_strategy_and_respects_the_cool_down() {
    let world = World::new(600 * SECOND);
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    // Also as the first thing of all.
    let second = tokens.rotate().await.unwrap();
    assert_eq!(second.pair_id().version, 2);
    world.assert_exchanges(1);
    world.server.fail_next(later(None));
    assert!(tokens.rotate().await.is_err());
    let error = tokens.rotate().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(4 * SECOND));
    world.assert_exchanges(2);
    assert_eq!(text(&tokens.token().await), second.expose());
    world.clock.advance(4 * SECOND).await;
    assert_eq!(tokens.rotate().await.unwrap().pair_id().version, 3);
    world.assert_exchanges(3);
}

#[tokio::test]
async fn try_token_never_waits_and_can_be_called_from_any_thread() {
    // Paused time is known to the runtime's own thread only, so this one goes by real time; what has
    // to pass, the machine sleeps through.
    let world = World::new(600 * SECOND);
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let from_a_thread = |tokens: &TokenManager| -> Result<Token, Error> {
        let tokens = tokens.clone();
        std::thread::spawn(move || tokens.try_token())
            .join()
            .unwrap()
    };
    // Nothing is loaded yet: that is started, and done a moment later.
    assert!(matches!(from_a_thread(&tokens), Err(Error::Pending)));
    settle().await;
    let first = from_a_thread(&tokens).unwrap();
    let hold = world.server.hold();
    world.clock.suspend(600 * SECOND);
    for _ in 0..10 {
        assert!(matches!(from_a_thread(&tokens), Err(Error::Pending)));
    }
    world.server.arrived(1).await;
    drop(hold);
    settle().await;
    let second = from_a_thread(&tokens).unwrap();
    assert_ne!(second.expose(), first.expose());
    world.assert_exchanges(1);
    // In the leeway it starts the rotation and goes on with what is valid.
    world.clock.suspend(591 * SECOND);
    assert_eq!(from_a_thread(&tokens).unwrap().expose(), second.expose());
    settle().await;
    assert_ne!(from_a_thread(&tokens).unwrap().expose(), second.expose());
    world.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_is_rejected_again_backs_off_and_the_pause_doubles() {
    let world = World::new(24 * HOUR);
    let tokens = world.manager(OnRequest::default()).await;
    let start = world.clock.now();
    let mut at = Vec::new();
    // An API that rejects every token, and is asked ten times a second for ten minutes.
    for _ in 0..6_000 {
        let token = tokens.token().await.unwrap();
        let before = world.server.exchanges();
        let rejection = tokens.reject(&token);
        settle().await;
        match rejection {
            Rejection::Rotating => {
                assert_eq!(world.server.exchanges(), before + 1);
                at.push(world.clock.now().since(start).as_secs());
            }
            other => assert_eq!(other, Rejection::TooSoon),
        }
        world.clock.advance(SECOND / 10).await;
    }
    let doubling = [0, 2, 6, 14, 30, 62];
    assert_eq!(at[..6], doubling);
    let every_minute: Vec<_> = (1..=8).map(|minute| 62 + 60 * minute).collect();
    assert_eq!(at[6..], every_minute);
    world.assert_exchanges(14);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_good_for_a_while_is_replaced_at_once_when_it_is_rejected() {
    let world = World::new(24 * HOUR);
    let tokens = world.manager(OnRequest::default()).await;
    for _ in 0..10 {
        let token = tokens.token().await.unwrap();
        assert_eq!(tokens.reject(&token), Rejection::Rotating);
        tokens.token().await.unwrap();
        world.clock.advance(MINUTE).await;
    }
    world.assert_exchanges(10);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_names_the_token_by_pair_id_and_not_by_its_bytes() {
    // A server that issues the same bytes within a second.
    let clock = TestClock::new();
    let endpoint = Scripted::new(&clock, |call| {
        Issued::new("at-0")
            .refresh_token(format!("rt-{call}"))
            .expires_in(600 * SECOND)
    });
    let tokens = endpoint.manager(seed().expires_in(600 * SECOND), OnRequest::default());
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&first), Rejection::Rotating);
    let second = tokens.token().await.unwrap();
    assert_eq!(second.expose(), first.expose());
    assert_ne!(second.pair_id(), first.pair_id());
    assert_eq!(tokens.reject(&first), Rejection::Outdated);
    assert_eq!(endpoint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_strategy_of_half_a_lifetime_takes_three_lines() {
    let world = World::new(600 * SECOND);
    let tokens = world.manager(HalfLife).await;
    world.clock.advance(299 * SECOND).await;
    tokens.token().await.unwrap();
    settle().await;
    world.assert_exchanges(0);
    world.clock.advance(SECOND).await;
    tokens.token().await.unwrap();
    settle().await;
    world.assert_exchanges(1);
}
