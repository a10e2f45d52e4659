//! The client's clock is an hour ahead of the server's, or an hour behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::clock::Clock;
use evertoken::testing::{AuthorizationServer, FaultyStore, TestClock};
use evertoken::{
    BackgroundTimer, EndpointError, Grant, Issued, MemoryStore, OnRequest, OptimisticEarly,
    RefreshStrategy, Rejection, TokenEndpoint, TokenManager, TokenPair, async_trait,
};
use parking_lot::Mutex;

use crate::support::{SECOND, TTL, World, loaded, settle};

/// By how many seconds the client's clock is ahead.
const SKEWS: [i64; 3] = [0, 3_600, -3_600];

fn skewed(by: i64) -> TestClock {
    let clock = TestClock::new();
    match Duration::from_secs(by.unsigned_abs()) {
        back if by < 0 => clock.step_wall_back(back),
        ahead => clock.step_wall(ahead),
    }
    clock
}

/// Steps the clock of a store by this many seconds.
fn step(store: &FaultyStore, seconds: i64) {
    match Duration::from_secs(seconds.unsigned_abs()) {
        back if seconds < 0 => store.step_time_back(back),
        ahead => store.step_time(ahead),
    }
}

/// Makes one request a second for an hour. Returns the number of exchanges, and checks that none of them was too late.
async fn exchanges_with(strategy: impl RefreshStrategy, skew: i64) -> u64 {
    let world = World::new(600 * SECOND);
    let builder = world.builder(strategy).clock(skewed(skew));
    let tokens = builder.build().unwrap();
    for _ in 0..3_600 {
        assert!(world.is_live(&tokens.token().await.unwrap()), "{skew}");
        world.clock.advance(SECOND).await;
    }
    world.assert_unharmed();
    world.server.exchanges()
}

/// Where the server sends `expires_in`, a skewed clock changes nothing.
#[tokio::test(start_paused = true)]
async fn fm18_with_expires_in_a_skew_changes_nothing() {
    for skew in SKEWS {
        // Rotations at 590, 1180, ..., 3540 s.
        assert_eq!(exchanges_with(OnRequest::default(), skew).await, 6);
        // Rotations at 480, 960, ..., 3360 s.
        assert_eq!(exchanges_with(BackgroundTimer::default(), skew).await, 7);
        // Rotations at 540, 1080, ..., 3240 s.
        assert_eq!(exchanges_with(OptimisticEarly::default(), skew).await, 6);
    }
}

/// The evidence of the server's time besides `exp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Date,
    IssuedAt,
    Nothing,
}

/// An endpoint that issues JWTs by a clock of its own.
#[derive(Debug, Clone)]
struct Issuer {
    clock: TestClock,
    told: Told,
    calls: Arc<AtomicU64>,
    /// The expiry of every token, in seconds since the Unix epoch.
    expiries: Arc<Mutex<HashMap<String, u64>>>,
}

impl Issuer {
    fn new(clock: TestClock, told: Told) -> Self {
        Self {
            clock,
            told,
            calls: Arc::default(),
            expiries: Arc::default(),
        }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn first(&self) -> TokenPair {
        TokenPair::new(self.token()).refresh_token("r0")
    }

    /// Whether an API of this server accepts the token.
    fn is_live(&self, token: &str) -> bool {
        self.expiries.lock()[token] > self.clock.wall().as_secs()
    }

    fn token(&self) -> String {
        let iat = self.clock.wall().as_secs();
        let exp = iat + TTL.as_secs();
        let claims = match self.told {
            Told::IssuedAt => format!(r#"{{"exp":{exp},"iat":{iat}}}"#),
            Told::Date | Told::Nothing => format!(r#"{{"exp":{exp}}}"#),
        };
        let token = format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims));
        self.expiries.lock().insert(token.clone(), exp);
        token
    }
}

#[async_trait]
impl TokenEndpoint for Issuer {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let issued = Issued::new(self.token()).refresh_token(format!("r{call}"));
        Ok(match self.told {
            Told::Date => issued.server_time(self.clock.wall()),
            Told::IssuedAt | Told::Nothing => issued,
        })
    }
}

/// Makes one request a second for an hour to an API that checks the tokens. Returns the number of calls of the issuer, and
/// the number of tokens that the API rejects.
async fn calls_and_rejections(told: Told, skew: i64) -> (u64, u64) {
    let issuer = Issuer::new(TestClock::new(), told);
    let clock = skewed(skew);
    let tokens = TokenManager::builder(issuer.clone())
        .clock(clock.clone())
        .strategy(OnRequest::default())
        // The seed has no access token: only the answers of the issuer, with a `Date` or an `iat`, can show the skew.
        .seed(TokenPair::from_refresh_token("r"))
        .build()
        .unwrap();
    let mut rejected = 0;
    for _ in 0..3_600 {
        let token = tokens.token().await.unwrap();
        if !issuer.is_live(token.expose()) {
            rejected += 1;
            assert_eq!(tokens.reject(&token), Rejection::Rotating);
            let next = tokens.token().await.unwrap();
            assert!(issuer.is_live(next.expose()), "{told:?} {skew}");
        }
        clock.advance(SECOND).await;
    }
    (issuer.calls(), rejected)
}

/// Without `expires_in`, the `exp` of a JWT is read by the server's clock, known from `Date` or `iat`.
#[tokio::test(start_paused = true)]
async fn fm18_the_expiry_of_a_jwt_is_read_by_the_servers_clock_where_that_is_known() {
    for told in [Told::Date, Told::IssuedAt] {
        for skew in SKEWS {
            // Rotations at once, and at 590, 1180, ..., 3540 s.
            let counts = calls_and_rejections(told, skew).await;
            assert_eq!(counts, (7, 0), "{told:?} {skew}");
        }
    }
}

/// Where the server's clock is unknown, a skewed clock costs rejections of the API, and neither the API nor the issuer
/// is stormed.
#[tokio::test(start_paused = true)]
async fn fm18_a_jwt_read_by_a_skewed_clock_causes_no_storm() {
    let right = calls_and_rejections(Told::Nothing, 0).await;
    assert_eq!(right, (7, 0), "with a correct clock");
    // With a clock behind, tokens look valid for 4,200 s, and the API rejects them at 600, 1200, ..., 3000 s. With a
    // clock ahead, tokens look expired when they arrive: that shows a wrong clock, and not when they expire.
    for skew in [-3_600, 3_600] {
        let counts = calls_and_rejections(Told::Nothing, skew).await;
        assert_eq!(counts, (6, 5), "{skew}");
    }
}

/// A seed that is a JWT costs at most one needless rotation, whatever the skew.
#[tokio::test(start_paused = true)]
async fn fm18_a_seed_that_is_a_jwt_costs_one_needless_rotation_at_most() {
    for told in [Told::Date, Told::IssuedAt, Told::Nothing] {
        for (skew, needless) in [(0, 0), (-3_600, 0), (3_600, 1)] {
            let issuer = Issuer::new(TestClock::new(), told);
            let clock = skewed(skew);
            let tokens = TokenManager::builder(issuer.clone())
                .clock(clock.clone())
                .seed(issuer.first())
                .build()
                .unwrap();
            for _ in 0..500 {
                let token = tokens.token().await.unwrap();
                assert!(issuer.is_live(token.expose()));
                clock.advance(SECOND).await;
            }
            assert_eq!(issuer.calls(), needless, "{told:?} {skew}");
        }
    }
}

/// Times in a record are the store's, so the skew of the store changes nothing.
#[tokio::test(start_paused = true)]
async fn fm18_times_in_a_store_are_the_stores_and_its_skew_changes_nothing() {
    for skew in SKEWS {
        let clock = TestClock::new();
        let server = AuthorizationServer::builder().clock(clock.clone()).build();
        let store = FaultyStore::new(MemoryStore::with_clock(clock.clone()));
        step(&store, skew);
        let first = server.issue();
        let builder = |skew| {
            TokenManager::builder(server.endpoint())
                .clock(skewed(skew))
                .store(store.clone())
                .seed(first.clone())
                .jitter(0.0)
        };
        // Three machines, each with its own clock.
        let here = loaded(builder(0)).await;
        clock.advance(300 * SECOND).await;
        for other in [3_600, -3_600] {
            let there = loaded(builder(other)).await;
            let left = there.status().access_expires_in;
            assert_eq!(left, here.status().access_expires_in, "{skew} {other}");
            clock.advance(100 * SECOND).await;
            assert_eq!(server.exchanges(), 0, "{skew} {other}");
        }
        clock.advance(90 * SECOND).await;
        let rotated = here.token().await.unwrap();
        let late = loaded(builder(3_600)).await;
        assert_eq!(late.token().await.unwrap().pair_id(), rotated.pair_id());
        assert_eq!((server.exchanges(), server.replays()), (1, 0));
    }
}

/// A step of the store's clock costs at most one needless rotation.
#[tokio::test(start_paused = true)]
async fn fm18_a_store_whose_clock_is_stepped_costs_one_needless_rotation_at_most() {
    for (forward, needless) in [(true, 1), (false, 0)] {
        let world = World::new(600 * SECOND);
        let store = FaultyStore::new(MemoryStore::with_clock(world.clock.clone()));
        let builder = || world.builder(OnRequest::default()).store(store.clone());
        let here = loaded(builder()).await;
        world.clock.advance(100 * SECOND).await;
        step(&store, if forward { 3_600 } else { -3_600 });
        let others = [loaded(builder()).await, loaded(builder()).await];
        for _ in 0..400 {
            for node in [&here, &others[0], &others[1]] {
                assert!(world.is_live(&node.token().await.unwrap()));
            }
            world.clock.advance(SECOND).await;
        }
        settle().await;
        world.assert_exchanges(needless);
    }
}

/// A wall clock at the epoch or centuries away causes no panic.
#[tokio::test(start_paused = true)]
async fn fm18_a_manager_does_not_panic_when_the_wall_clock_is_at_the_epoch_or_far_away() {
    for skew in [-1_800_000_000, 3_000_000_000] {
        let world = World::new(600 * SECOND);
        let clock = skewed(skew);
        let builder = world.builder(BackgroundTimer::default());
        let tokens = loaded(builder.clock(clock.clone())).await;
        world.clock.advance(1_000 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        assert!(clock.wall() < Duration::from_secs(5_000_000_000));
        // Rotations at 480 and 960 s.
        world.assert_exchanges(2);
    }
}
