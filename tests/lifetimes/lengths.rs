//! Lifetimes of every length, and how often the manager rotates for them.

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, Timestamp};
use evertoken::testing::{RefreshTokens, TestClock};
use evertoken::{
    BackgroundTimer, EndpointError, Error, Grant, Issued, Key, OnRequest, OptimisticEarly,
    RefreshStrategy, Rejection, TokenEndpoint, TokenManager, TokenPair, async_trait,
};
use parking_lot::Mutex;

use crate::support::{Greedy, HOUR, MINUTE, SECOND, World, built, loaded, settle, text};

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

/// An endpoint that issues what the test says, for any refresh token.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    clock: TestClock,
    start: Timestamp,
    calls: Arc<Mutex<Vec<Duration>>>,
    /// The answer to a call, by its number and by the time since the start.
    answer: fn(u64, Duration) -> Issued,
}

impl Scripted {
    pub(crate) fn new(answer: fn(u64, Duration) -> Issued) -> Self {
        let clock = TestClock::new();
        Self {
            start: clock.now(),
            clock,
            calls: Arc::default(),
            answer,
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.lock().len()
    }

    /// The times of the calls, in seconds since the start.
    fn called_at(&self) -> Vec<u64> {
        self.calls.lock().iter().map(Duration::as_secs).collect()
    }

    pub(crate) fn manager(&self, seed: TokenPair, strategy: impl RefreshStrategy) -> TokenManager {
        let builder = TokenManager::builder(self.clone()).clock(self.clock.clone());
        built(builder.strategy(strategy).jitter(0.0).seed(seed))
    }
}

#[async_trait]
impl TokenEndpoint for Scripted {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let at = self.clock.now().since(self.start);
        let mut calls = self.calls.lock();
        calls.push(at);
        Ok((self.answer)(calls.len() as u64, at))
    }

    fn key(&self) -> Key {
        Key::new("scripted", "client")
    }
}

/// What the call of this number issues: a pair of unknown lifetime.
pub(crate) fn issued(call: u64) -> Issued {
    Issued::new(format!("at-{call}")).refresh_token(format!("rt-{call}"))
}

/// A pair of unknown lifetime.
pub(crate) fn seed() -> TokenPair {
    TokenPair::new("at-0").refresh_token("rt-0")
}

/// No leeway and no window makes a manager rotate more often than the shortest interval permits.
#[tokio::test(start_paused = true)]
async fn fm17_no_leeway_and_no_window_causes_rotations_without_end() {
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
    let (world, _tokens) = World::managed(Greedy).await;
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
    world.assert_live_for(&tokens, 600 * SECOND).await;
    // Rotations at 30, 60, .. 570 s.
    world.assert_exchanges(19);
}

#[tokio::test(start_paused = true)]
async fn lifetimes_shorter_than_the_servers_latency_serve_what_was_issued_and_back_off() {
    // The token has been expired for a second when it arrives. Each caller gets a token, and the server gets a pause.
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
async fn a_token_with_expires_in_0_is_served_and_renewed_after_pauses_that_double() {
    let endpoint = Scripted::new(|call, _| issued(call).expires_in(Duration::ZERO));
    let tokens = endpoint.manager(seed().expires_in(MINUTE), OnRequest::default());
    tokens.token().await.unwrap();
    endpoint.clock.advance(MINUTE).await;
    for _ in 0..1_000 {
        let token = tokens.token().await.unwrap();
        assert_eq!(token.expose(), format!("at-{}", endpoint.calls()));
        endpoint.clock.advance(SECOND / 10).await;
    }
    assert_eq!(endpoint.called_at(), [60, 64, 72, 88, 120]);
}

/// An issuer that returns one token until the token expires is not stormed.
#[tokio::test(start_paused = true)]
async fn fm22_fm37_an_issuer_that_returns_the_same_token_until_it_expires_is_not_stormed() {
    // The issuer behaves like a metadata server: one token for 600 s for every client, and a fresh token at its expiry.
    for strategy in strategies() {
        let endpoint = Scripted::new(|_, at| {
            let (generation, age) = (at.as_secs() / 600, at.as_millis() % 600_000);
            let left = Duration::from_millis(600_000 - u64::try_from(age).unwrap());
            Issued::new(format!("at-{generation}")).expires_in(left)
        });
        let shown = format!("{strategy:?}");
        let tokens = endpoint.manager(seed().expires_in(600 * SECOND), strategy);
        for second in 0..1_800_u64 {
            let token = tokens.token().await.unwrap();
            let generation = second / 600;
            assert_eq!(
                token.expose(),
                format!("at-{generation}"),
                "{shown}: at {second} s"
            );
            endpoint.clock.advance(SECOND).await;
        }
        let calls = endpoint.calls();
        assert!((2..=60).contains(&calls), "{shown}: {calls} calls");
    }
}

/// A token that is always near its expiry is served, and the calls for the next one become less frequent.
#[tokio::test(start_paused = true)]
async fn fm37_an_issuer_of_tokens_near_their_expiry_is_called_ever_less_often() {
    // The issuer returns the same bytes with 30 s left, whenever a client asks. A timer of 24 s and callers ask.
    let endpoint = Scripted::new(|_, _| Issued::new("at-0").expires_in(30 * SECOND));
    let tokens = endpoint.manager(seed().expires_in(30 * SECOND), BackgroundTimer::default());
    for _ in 0..36_000 {
        assert_eq!(text(&tokens.token().await), "at-0");
        endpoint.clock.advance(SECOND / 10).await;
    }
    // The manager makes at most one call every 24 s, as if each call brought a new token.
    let calls = endpoint.calls();
    assert!((60..=150).contains(&calls), "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_unknown_lifetime_sets_no_timer_and_is_rotated_when_it_is_rejected() {
    // The greedy strategy sets a timer of its own, whatever the lifetime, so this test leaves it out.
    for strategy in strategies().into_iter().take(5) {
        let endpoint = Scripted::new(|call, _| issued(call));
        let shown = format!("{strategy:?}");
        let tokens = endpoint.manager(seed(), strategy);
        let first = tokens.token().await.unwrap();
        for _ in 0..100 {
            assert_eq!(text(&tokens.token().await), "at-0");
            endpoint.clock.advance(HOUR).await;
        }
        assert_eq!(endpoint.calls(), 0, "{shown}");
        assert_eq!(tokens.reject(&first), Rejection::Rotating);
        assert_eq!(text(&tokens.token().await), "at-1");
        endpoint.clock.advance(100 * HOUR).await;
        assert_eq!(text(&tokens.token().await), "at-1");
        assert_eq!(endpoint.calls(), 1, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_never_expires_is_never_rotated_by_any_strategy() {
    for strategy in strategies() {
        let endpoint = Scripted::new(|_, _| Issued::new("at-1"));
        let tokens = endpoint.manager(seed().never_expires(), strategy);
        for _ in 0..100 {
            assert_eq!(text(&tokens.token().await), "at-0");
            endpoint.clock.advance(24 * HOUR).await;
        }
        assert!(tokens.token_valid_for(1_000 * HOUR).await.is_ok());
        assert_eq!(endpoint.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_refresh_token_is_served_until_it_expires_and_never_rotated() {
    let endpoint = Scripted::new(|_, _| Issued::new("at-1"));
    let tokens = endpoint.manager(
        TokenPair::new("at-0").expires_in(600 * SECOND),
        BackgroundTimer::default(),
    );
    let first = tokens.token().await.unwrap();
    for _ in 0..600 {
        assert_eq!(text(&tokens.token().await), "at-0");
        endpoint.clock.advance(SECOND).await;
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
            let world = World::with(|server| server.refresh_tokens(refresh_tokens));
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
            // A restart finds the kept refresh token too.
            world.clock.advance(600 * SECOND).await;
            let again = loaded(world.shared(OnRequest::default())).await;
            assert!(world.is_live(&again.token().await.unwrap()), "{shown}");
            assert_eq!(world.server.exchanges(), exchanges + 1, "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_timer_follows_each_new_lifetime() {
    let endpoint = Scripted::new(|call, _| {
        let lifetimes = [60, 600, 10, 1_000];
        let lifetime = lifetimes[usize::try_from(call - 1).unwrap() % 4] * SECOND;
        issued(call).expires_in(lifetime)
    });
    let tokens = endpoint.manager(seed().expires_in(100 * SECOND), BackgroundTimer::default());
    tokens.token().await.unwrap();
    endpoint.clock.advance(700 * SECOND).await;
    assert_eq!(
        endpoint.called_at(),
        [80, 80 + 48, 80 + 48 + 480, 80 + 48 + 480 + 8]
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_in_from_the_server_wins_over_the_strategys_own_time() {
    let endpoint = Scripted::new(|call, _| {
        issued(call)
            .expires_in(600 * SECOND)
            .refresh_in(100 * SECOND)
    });
    let tokens = endpoint.manager(seed().expires_in(10 * SECOND), BackgroundTimer::default());
    tokens.token().await.unwrap();
    endpoint.clock.advance(8 * SECOND).await;
    assert_eq!(endpoint.calls(), 1);
    endpoint.clock.advance(100 * SECOND - MILLIS).await;
    assert_eq!(endpoint.calls(), 1);
    endpoint.clock.advance(MILLIS).await;
    assert_eq!(endpoint.calls(), 2);
}
