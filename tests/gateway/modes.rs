//! The four modes: which sessions suit them, and what each does with several instances.

use std::time::Duration;

use axum::http::StatusCode;
use evertoken::gateway::Mode;
use evertoken::testing::browser::Call;
use evertoken::testing::{
    AuthorizationServer, AuthorizationServerBuilder, GraceAnswer, Reuse, TestClock,
};
use evertoken::{
    BackgroundTimer, BuildError, Builder, Coordination, Gateway, MemoryStore, OptimisticEarly,
    ServerProfile, SessionPolicy, Sessions, TokenReuse,
};
use futures_util::future::join_all;

use crate::world::{ACCESS_TTL, Instance, MINUTE, SECOND, World, keys, page, set_and_deleted};

const WINDOW: Duration = Duration::from_secs(60);

fn early() -> OptimisticEarly {
    OptimisticEarly::default().window(WINDOW)
}

/// Instances that share nothing.
fn apart(
    instances: usize,
    mode: Mode,
    reuse: TokenReuse,
    describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
) -> World {
    let mut world = World::at(describe);
    for _ in 0..instances {
        let builder = lonely(&world, page(), reuse);
        world.add_built(builder, |gateway| gateway.mode(mode));
    }
    world
}

/// The builder of sessions with a store of their own.
fn lonely(world: &World, policy: SessionPolicy, reuse: TokenReuse) -> Builder<Sessions> {
    let endpoint = evertoken::testing::FaultyEndpoint::new(Profiled {
        inner: world.server.endpoint(),
        profile: ServerProfile::strict().reuse(reuse),
    });
    Sessions::builder(endpoint)
        .clock(world.clock.clone())
        .store(MemoryStore::with_clock(world.clock.clone()))
        .jitter(0.0)
        .default_policy(policy)
        .strategy(early())
        .coordination(Coordination::None)
}

/// The server's endpoint with another profile.
#[derive(Debug)]
struct Profiled<E> {
    inner: E,
    profile: ServerProfile,
}

#[evertoken::async_trait]
impl<E: evertoken::TokenEndpoint> evertoken::TokenEndpoint for Profiled<E> {
    async fn exchange(
        &self,
        grant: evertoken::Grant<'_>,
    ) -> Result<evertoken::Issued, evertoken::EndpointError> {
        self.inner.exchange(grant).await
    }

    async fn revoke(&self, pair: &evertoken::TokenPair) -> Result<(), evertoken::EndpointError> {
        self.inner.revoke(pair).await
    }

    fn key(&self) -> evertoken::Key {
        self.inner.key()
    }

    fn profile(&self) -> ServerProfile {
        self.profile
    }
}

/// The problem of a gateway in this mode over these sessions.
fn problem(mode: Mode, builder: Builder<Sessions>) -> Option<String> {
    let sessions = builder.build().unwrap();
    let gateway = Gateway::builder(&sessions)
        .sealer(keys())
        .mode(mode)
        .build();
    match gateway {
        Ok(_) => None,
        Err(BuildError::Invalid { problem, .. }) => Some(problem),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_refused_whose_sessions_do_not_suit_its_mode() {
    let world = World::at(|server| server);
    let shared = || world.builder(page());
    let apart = |reuse| lonely(&world, page(), reuse);
    let refused = |mode, builder, word: &str| {
        let problem = problem(mode, builder).unwrap_or_else(|| panic!("{mode:?}: {word}"));
        assert!(problem.contains(word), "{mode:?}: {problem}");
    };
    let accepted = |mode, builder| assert_eq!(problem(mode, builder), None, "{mode:?}");

    accepted(Mode::Synchronised, shared());
    accepted(Mode::Opaque, shared());
    accepted(Mode::Opaque, world.builder(SessionPolicy::new()));
    accepted(Mode::Stateless, apart(TokenReuse::Refused));
    accepted(Mode::Stateless, apart(TokenReuse::Answered));
    accepted(Mode::Grace, apart(TokenReuse::Answered));

    refused(
        Mode::Synchronised,
        world.builder(SessionPolicy::new()),
        "retired_for",
    );
    refused(Mode::Synchronised, apart(TokenReuse::Refused), "lease");
    refused(Mode::Opaque, apart(TokenReuse::Refused), "lease");
    refused(Mode::Stateless, shared(), "none");
    refused(Mode::Stateless, apart(TokenReuse::Revokes), "reuse");
    refused(Mode::Grace, apart(TokenReuse::Refused), "reuse");
    let late = apart(TokenReuse::Refused).strategy(evertoken::OnRequest::default());
    refused(Mode::Stateless, late, "strategy");
    let timer = apart(TokenReuse::Refused).strategy(BackgroundTimer::default());
    refused(Mode::Stateless, timer, "strategy");
    let strict = lonely(&world, SessionPolicy::new(), TokenReuse::Refused);
    refused(Mode::Stateless, strict, "retired_for");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_without_keys_or_with_a_name_that_is_none_is_refused() {
    let world = World::at(|server| server);
    let sessions = world.builder(page()).build().unwrap();
    let without = Gateway::builder(&sessions).build();
    assert!(without.unwrap_err().to_string().contains("sealer"));
    for name in ["", "a b", "a;b", "a=b", "a-b", "ä", &"a".repeat(33)] {
        let named = Gateway::builder(&sessions)
            .sealer(keys())
            .cookie(name)
            .build();
        assert!(named.unwrap_err().to_string().contains("cookie"), "{name}");
    }
    let unknown = Gateway::builder(&sessions)
        .sealer(keys())
        .policy("robot")
        .build();
    assert!(unknown.unwrap_err().to_string().contains("policy"));
    for origin in [
        "app.example.org",
        "https://app.example.org/x",
        "http://app.example.org",
    ] {
        let named = Gateway::builder(&sessions)
            .sealer(keys())
            .origin(origin)
            .build();
        assert!(
            named.unwrap_err().to_string().contains("origin"),
            "{origin}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn report_7_tabs_on_three_instances_make_one_exchange_at_each_expiry() {
    for mode in [Mode::Synchronised, Mode::Opaque] {
        let world = World::of(3, mode);
        let browser = world.signed_in().await;
        for expiry in 1..=3 {
            world.expire().await;
            let tabs = (0..12).map(|tab| world.instances[tab % 3].serves(&browser));
            let tokens = join_all(tabs).await;
            assert!(tokens.iter().all(|token| *token == tokens[0]), "{mode:?}");
            world.assert_exchanges(expiry);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn report_2_no_page_of_eight_that_load_at_the_expiry_shows_a_login() {
    let world = World::new(3);
    let browser = world.signed_in().await;
    world.expire().await;
    let pages = (0..8).map(|page| {
        let instance = world.instances[page % 3].clone();
        let browser = browser.clone();
        async move {
            instance
                .send(&browser, Call::navigation("/token"))
                .await
                .status()
        }
    });
    assert_eq!(join_all(pages).await, [StatusCode::OK; 8]);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn report_8_an_opaque_id_stays_through_rotations_and_a_sign_in_changes_it() {
    let world = World::of(2, Mode::Opaque);
    let browser = world.signed_in().await;
    let cookie = |browser: &evertoken::testing::Browser| {
        let names = browser.names();
        assert_eq!(names.len(), 1);
        (names[0].clone(), browser.value(&names[0]).unwrap())
    };
    let first = cookie(&browser);
    for expiry in 0..3 {
        world.expire().await;
        let tabs = (0..4).map(|tab| world.instances[tab % 2].serves(&browser));
        join_all(tabs).await;
        assert_eq!(cookie(&browser), first, "{expiry}");
    }
    assert!(first.1.len() < 400, "{}", first.1.len());
    world.clock.advance(SECOND).await;
    world.sign_in(&browser).await;
    assert_ne!(cookie(&browser).0, first.0);
    world.assert_exchanges(3);
}

/// A server that refuses a spent token and spares the session.
fn refuses(server: AuthorizationServerBuilder) -> AuthorizationServerBuilder {
    server.reuse(Reuse::Refuse)
}

/// The status on both instances at the same time, of a browser with a tab on each.
async fn on_both(world: &World, browser: &evertoken::testing::Browser) -> [StatusCode; 2] {
    let [one, two] = [0, 1].map(|at| &world.instances[at]);
    let (one, two) = tokio::join!(one.status(browser), two.status(browser));
    [one, two]
}

#[tokio::test(start_paused = true)]
async fn stateless_instances_keep_a_browser_signed_in_that_sends_heartbeats() {
    let world = apart(2, Mode::Stateless, TokenReuse::Refused, refuses);
    let browser = world.signed_in().await;
    // Ten lifetimes, with a request in each window.
    for _ in 0..10 {
        world.clock.advance(ACCESS_TTL - WINDOW / 2).await;
        assert_eq!(on_both(&world, &browser).await, [StatusCode::OK; 2]);
        assert_eq!(on_both(&world, &browser).await, [StatusCode::OK; 2]);
    }
    assert_eq!(world.server.families_revoked(), 0);
    assert!(world.server.rotations() >= 10, "{:?}", world.server);
}

#[tokio::test(start_paused = true)]
async fn a_stateless_answer_waits_for_the_rotation_that_its_request_began() {
    let world = apart(1, Mode::Stateless, TokenReuse::Refused, refuses);
    let browser = world.signed_in().await;
    world.clock.advance(ACCESS_TTL - WINDOW / 2).await;
    let answer = world.instances[0].send(&browser, "/token").await;
    assert_eq!(
        set_and_deleted(&answer).0.len(),
        1,
        "the browser has the new pair at once"
    );
    assert_eq!(world.server.rotations(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_a_stateless_race_deletes_nothing() {
    let world = apart(2, Mode::Stateless, TokenReuse::Refused, refuses);
    let browser = world.signed_in().await;
    // Both come after the expiry, so that the loser has no token to go on with.
    world.clock.advance(ACCESS_TTL + SECOND).await;
    let first = browser.send("/token");
    let second = browser.send("/token");
    let [one, two] = [0, 1].map(|at| &world.instances[at]);
    let won = one.answer(crate::world::to_http(&first)).await;
    let lost = two.answer(crate::world::to_http(&second)).await;
    assert_eq!(
        (won.status(), lost.status()),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(set_and_deleted(&lost), (vec![], vec![]));
    first.arrived(won.status(), won.headers());
    second.arrived(lost.status(), lost.headers());
    // The loser goes on with the pair of the winner, which the browser brings.
    assert_eq!(on_both(&world, &browser).await, [StatusCode::OK; 2]);
}

#[tokio::test(start_paused = true)]
async fn instances_at_a_server_with_a_grace_get_a_pair_each_and_nobody_is_signed_out() {
    let window = Duration::from_secs(30);
    for reuse in [
        Reuse::Linked { window },
        Reuse::Grace {
            window,
            answer: GraceAnswer::SamePair,
        },
        Reuse::Grace {
            window,
            answer: GraceAnswer::Fork,
        },
    ] {
        let grace = |server: AuthorizationServerBuilder| server.reuse(reuse);
        let world = apart(2, Mode::Grace, TokenReuse::Answered, grace);
        let browser = world.signed_in().await;
        for _ in 0..10 {
            world.clock.advance(ACCESS_TTL + SECOND).await;
            let both = on_both(&world, &browser).await;
            assert_eq!(both, [StatusCode::OK; 2], "{reuse:?}");
        }
        assert_eq!(world.server.families_revoked(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn wso2_is_a_server_for_the_mode_grace() {
    let world = World::at(|_| AuthorizationServer::wso2().clock(TestClock::new()));
    let builder = lonely(&world, page(), TokenReuse::Answered);
    assert_eq!(problem(Mode::Grace, builder), None);
}

#[tokio::test(start_paused = true)]
async fn g6_the_keys_are_rotated_in_three_steps_and_no_browser_is_signed_out() {
    let mut world = World::new(0);
    let (old, new) = (world.keys.clone(), keys());
    let both = old.clone().older(new.clone()).unwrap();
    let newest_first = new.clone().older(old.clone()).unwrap();
    let with = |world: &mut World, keys: &evertoken::seal::SealingKeys| -> Instance {
        world.keys = keys.clone();
        world.add(Mode::Synchronised, page())
    };
    let first = with(&mut world, &old);
    let browser = world.signed_in().await;
    // Instances of both steps run side by side.
    for keys in [&both, &newest_first] {
        let next = with(&mut world, keys);
        for _ in 0..2 {
            world.expire().await;
            assert_eq!(next.status(&browser).await, StatusCode::OK);
            if std::ptr::eq(keys, &both) {
                assert_eq!(first.status(&browser).await, StatusCode::OK);
            }
        }
    }
    // Each cookie was written anew since, so the old key can go.
    let last = with(&mut world, &new);
    assert_eq!(last.status(&browser).await, StatusCode::OK);
    assert_eq!(first.status(&browser).await, StatusCode::UNAUTHORIZED);
    world.clock.advance(MINUTE).await;
    assert_eq!(last.status(&browser).await, StatusCode::OK);
}

/// Three instances and four tabs for many lifetimes of six seconds, with the clients' choices drawn by a seed.
async fn stateless_crowd(seed: u64) -> Result<(), String> {
    let ttl = 6 * SECOND;
    let mut world = World::at(|server| {
        let server = refuses(server).access_ttl(ttl).refresh_ttl(ttl);
        server.latency(Duration::from_millis(20))
    });
    let strategy = OptimisticEarly::default().window(2 * SECOND);
    for _ in 0..3 {
        let builder = lonely(&world, page(), TokenReuse::Refused).strategy(strategy);
        world.add_built(builder, |gateway| gateway.mode(Mode::Stateless));
    }
    let browser = world.signed_in().await;
    let tabs = (0..4).map(|tab| {
        let (instances, browser, clock) = (&world.instances, &browser, &world.clock);
        async move {
            let mut random = seed * 4 + tab;
            let mut draw = move |limit: u64| {
                // SplitMix64.
                random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mixed = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                (mixed ^ (mixed >> 31)) % limit
            };
            for number in 0..300 {
                clock.advance(Duration::from_millis(draw(2_000))).await;
                let at = draw(3);
                let instance = &instances[usize::try_from(at).unwrap()];
                let status = instance.status(browser).await;
                if status != StatusCode::OK {
                    return Err(format!(
                        "tab {tab}, request {number}, instance {at}: {status}"
                    ));
                }
            }
            Ok(())
        }
    });
    let done = join_all(tabs).await;
    done.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn stateless_instances_sign_no_browser_out_that_keeps_every_answer() {
    for seed in 0..6 {
        let outcome = stateless_crowd(seed).await;
        assert_eq!(outcome, Ok(()), "seed {seed}");
    }
}
