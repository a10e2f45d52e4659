//! What holds for every strategy: one suite for the three strategies of the crate, and for a strategy of the user that
//! is made in the program and named in a configuration.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::{
    BackgroundTimer, Builder, Config, Lifetime, OnRequest, OptimisticEarly, Plan, RefreshStrategy,
    Registry,
};
use serde::Deserialize;

use crate::support::{
    Greedy, HOUR, HalfLife, MINUTE, SECOND, World, drain, ended, failed, later, loaded, record,
    rotated, settle, text,
};

/// The pause of a worker between two requests. The pause is not a divisor of any lifetime.
const PAUSE: Duration = Duration::from_millis(370);

/// The way by which the manager gets its strategy.
trait Given {
    async fn builder(&self, world: &World) -> Builder;
}

impl<S: RefreshStrategy + Clone> Given for S {
    async fn builder(&self, world: &World) -> Builder {
        world.builder(self.clone())
    }
}

/// The value of `strategy` in a configuration.
struct Configured(&'static str);

impl Given for Configured {
    async fn builder(&self, world: &World) -> Builder {
        let text = format!("[refresh]\nstrategy = {}\njitter = 0", self.0);
        let config = Config::from_toml(&text).unwrap();
        let registry = Registry::builtin().strategy("fraction", |fraction: Fraction| {
            Ok::<_, Infallible>(fraction)
        });
        let endpoint = world.server.endpoint();
        let builder = config.builder_for(endpoint, &registry).await.unwrap();
        builder.clock(world.clock.clone()).seed(world.first.clone())
    }
}

/// A user's strategy with a parameter.
#[derive(Debug, Deserialize)]
struct Fraction {
    of_lifetime: f64,
}

impl RefreshStrategy for Fraction {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life).advisory_from(life.at_fraction(self.of_lifetime))
    }
}

/// Eight tasks import for an hour, with tokens of a minute and a slow server.
async fn imports_for_an_hour(given: impl Given, exchanges: u64) {
    let world = Arc::new(World::with(|server| {
        server
            .access_ttl(MINUTE)
            .refresh_ttl(HOUR)
            .latency(Duration::from_millis(200))
    }));
    let tokens = loaded(given.builder(&world).await).await;
    let events = record(tokens.subscribe());
    let start = world.clock.now();
    let workers: Vec<_> = (0..8_u32)
        .map(|worker| {
            let (world, tokens) = (world.clone(), tokens.clone());
            tokio::spawn(async move {
                tokio::time::sleep(worker * PAUSE / 8).await;
                let mut requests = 0_u64;
                while world.clock.now().since(start) < HOUR {
                    let token = tokens.token().await.unwrap();
                    // The request is on its way to the API.
                    tokio::time::sleep(PAUSE / 2).await;
                    assert!(world.is_live(&token));
                    tokio::time::sleep(PAUSE / 2).await;
                    requests += 1;
                }
                requests
            })
        })
        .collect();
    let mut requests = 0;
    for worker in workers {
        requests += worker.await.unwrap();
    }
    assert!(requests > 8 * 9_000, "{requests}");
    settle().await;
    let events = events.lock();
    assert_eq!(rotated(&events), world.server.exchanges());
    assert_eq!((failed(&events), ended(&events)), (0, 0));
    world.assert_exchanges(exchanges);
}

/// Two instances import on one store, and the server fails at random.
async fn two_instances_and_a_moody_server(given: impl Given) {
    let world = World::with(|server| {
        server
            .access_ttl(MINUTE)
            .latency(Duration::from_millis(200))
    });
    let build = async || given.builder(&world).await.store(world.store.clone());
    let (one, two) = (loaded(build().await).await, loaded(build().await).await);
    let events = [one.subscribe(), two.subscribe()].map(record);
    let mut faults = 0;
    for second in 0..1_800_u64 {
        if second % 97 == 0 {
            world.server.fail_next(later(None));
            faults += 1;
        }
        for tokens in [&one, &two] {
            let answer = tokens.token().await;
            // A caller may get an error, but never an expired token.
            assert!(answer.is_err() || world.is_live(&answer.unwrap()));
        }
        world.clock.advance(SECOND).await;
    }
    let rotations = world.server.rotations();
    settle().await;
    let rotated: u64 = events.iter().map(|events| rotated(&events.lock())).sum();
    assert_eq!(rotated, rotations);
    assert!(events.iter().all(|events| ended(&events.lock()) == 0));
    assert!(world.server.exchanges() - rotations <= faults);
    assert!(rotations >= 29);
    world.assert_unharmed();
}

/// A process ends and starts again, with its first pair in its configuration.
async fn restarts(given: impl Given) {
    let world = World::new(600 * SECOND);
    for run in 0..5_u64 {
        let tokens = loaded(given.builder(&world).await.store(world.store.clone())).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        settle().await;
        let before = world.server.exchanges();
        let second = tokens.rotate().await.unwrap();
        assert_eq!(world.server.exchanges(), before + 1, "in run {run}");
        tokens.shutdown().await.unwrap();
        let again = loaded(given.builder(&world).await.store(world.store.clone())).await;
        assert_eq!(text(&again.token().await), second.expose());
        drop(again);
        settle().await;
        world.clock.advance(900 * SECOND).await;
    }
    world.assert_unharmed();
}

/// The user logs out everywhere: the manager reports one end within the token's lifetime, and then makes no further
/// call.
async fn ends_once(given: impl Given) {
    let world = World::new(600 * SECOND);
    let tokens = loaded(given.builder(&world).await).await;
    let mut events = tokens.subscribe();
    world.server.revoke_all();
    let mut errors = 0;
    for _ in 0..2_000 {
        if let Err(error) = tokens.token().await {
            assert!(error.needs_sign_in(), "{error}");
            errors += 1;
        }
        world.clock.advance(SECOND).await;
    }
    assert!(errors >= 1_400, "{errors}");
    assert_eq!(ended(&drain(&mut events)), 1);
    world.assert_exchanges(1);
}

macro_rules! suite {
    ($($name:ident: $strategy:expr, $exchanges:literal;)*) => {$(
        mod $name {
            use super::*;

            /// Eight tasks import for an hour without a failed request.
            #[tokio::test(start_paused = true)]
            async fn n17_eight_tasks_import_for_an_hour_without_a_failed_request() {
                imports_for_an_hour($strategy, $exchanges).await;
            }

            /// Two instances share a session at a server that fails at random.
            #[tokio::test(start_paused = true)]
            async fn n17_two_instances_share_a_session_at_a_server_that_fails_at_random() {
                two_instances_and_a_moody_server($strategy).await;
            }

            /// The stored pair wins over the seed after every restart.
            #[tokio::test(start_paused = true)]
            async fn n17_the_stored_pair_wins_over_the_seed_after_every_restart() {
                restarts($strategy).await;
            }

            /// A session that the server ended is reported once, after one call.
            #[tokio::test(start_paused = true)]
            async fn n17_a_dead_session_ends_once_and_makes_one_call() {
                ends_once($strategy).await;
            }
        }
    )*};
}

// With tokens of 60 s, the strategies rotate every 54 s and a request (the leeway), 48 s, 30 s and a request (a window
// of 60 s is at most half the lifetime), 30 s and a request, and one second.
suite! {
    on_request: OnRequest::default(), 66;
    on_request_at_a_fraction: OnRequest::default().at_fraction(0.8), 74;
    background_timer: BackgroundTimer::default(), 75;
    optimistic_early: OptimisticEarly::default(), 119;
    one_of_the_users_own: HalfLife, 119;
    a_greedy_one_of_the_users_own: Greedy, 3_600;
    configured_by_default: Configured("{}"), 66;
    configured_on_request: Configured(r#""on-request""#), 66;
    configured_on_request_at_a_fraction: Configured(r#"{ kind = "on-request", at_fraction = 0.8 }"#), 74;
    configured_background_timer: Configured(r#""background-timer""#), 75;
    configured_optimistic_early: Configured(r#"{ kind = "optimistic-early", window = "60s" }"#), 119;
    configured_one_of_the_users_own: Configured(r#"{ kind = "fraction", of_lifetime = 0.5 }"#), 119;
}
