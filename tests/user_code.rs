//! An endpoint, a store or a strategy of the user's that panics, hangs or asks its own manager: an error
//! for every caller, never a deadlock, and no token lost that could be kept.
#![allow(clippy::unwrap_used)]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{GraceAnswer, InProcessEndpoint, Reuse};
use evertoken::{
    BackgroundTimer, EndReason, EndpointError, Error, Grant, Issued, Key, Lifetime, OnRequest,
    Plan, RefreshStrategy, Resend, ServerProfile, TokenEndpoint, TokenManager,
};
use parking_lot::Mutex;
use support::{
    Hooked, MINUTE, SECOND, SlowStore, World, callers, drain, ended, loaded, settle, text,
};

async fn expired(world: &World, endpoint: impl TokenEndpoint) -> TokenManager {
    let tokens = loaded(world.builder_at(endpoint, OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    tokens
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_before_it_sent_loses_nothing() {
    let world = World::new(600 * SECOND);
    let endpoint = Hooked::new(world.server.endpoint()).before(|call| async move {
        assert_ne!(
            call, 1,
            "a panic of the endpoint's, before anything was sent"
        );
    });
    let tokens = expired(&world, endpoint.clone()).await;
    let mut events = tokens.subscribe();
    // The token may be spent, for all the manager knows: it is sent again after a pause of 2 s.
    for caller in callers(&tokens, 10) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    assert_eq!(world.clock.wall().as_secs(), 1_700_000_602);
    world.assert_exchanges(1);
    assert_eq!(endpoint.calls(), 2);
    assert_eq!(ended(&drain(&mut events)), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_before_it_sent_costs_no_valid_token() {
    let world = World::new(600 * SECOND);
    let endpoint = Hooked::new(world.server.endpoint()).before(|call| async move {
        assert_ne!(
            call, 1,
            "a panic of the endpoint's, before anything was sent"
        );
    });
    let tokens = loaded(world.builder_at(endpoint, BackgroundTimer::default())).await;
    for _ in 0..2_000 {
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.clock.advance(SECOND).await;
    }
    // 484 s, in place of 480, then every 480 s.
    world.assert_exchanges(4);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_after_the_server_rotated_ends_typed_on_a_strict_server() {
    for resend in [Resend::Always, Resend::Never] {
        let again = u64::from(resend == Resend::Always);
        let world = World::new(600 * SECOND);
        let profile = ServerProfile::strict().resend(resend);
        let endpoint = Hooked::new(world.server.endpoint().with_profile(profile)).after(|call| {
            assert_ne!(
                call, 1,
                "a panic of the endpoint's, with the answer in hand"
            );
        });
        let tokens = expired(&world, endpoint.clone()).await;
        let mut events = tokens.subscribe();
        let start = world.clock.now();
        for caller in callers(&tokens, 10) {
            let error = caller.await.unwrap().unwrap_err();
            let Error::Ended { reason, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(reason.is_rejected(), again == 1, "{reason}");
            assert_eq!(*reason == EndReason::OutcomeUnknown, again == 0, "{reason}");
        }
        // After a pause where it was sent again, and else at once.
        let waited = if again == 1 {
            2 * SECOND
        } else {
            Duration::ZERO
        };
        assert_eq!(world.clock.now().since(start), waited);
        world.clock.advance(60 * MINUTE).await;
        assert!(tokens.token().await.unwrap_err().needs_sign_in());
        assert_eq!(ended(&drain(&mut events)), 1);
        // The second sending that the profile permits, and none where it forbids it.
        assert_eq!(world.server.replays(), again);
        assert_eq!(endpoint.calls(), 1 + again);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_after_the_server_rotated_is_asked_again_inside_a_grace_window() {
    let world = World::with(|server| {
        server.access_ttl(600 * SECOND).reuse(Reuse::Grace {
            window: MINUTE,
            answer: GraceAnswer::SamePair,
        })
    });
    let endpoint = Hooked::new(world.server.endpoint()).after(|call| {
        assert_ne!(
            call, 1,
            "a panic of the endpoint's, with the answer in hand"
        );
    });
    let tokens = expired(&world, endpoint).await;
    let start = world.clock.now();
    for caller in callers(&tokens, 10) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    assert_eq!(world.clock.now().since(start), 2 * SECOND);
    assert_eq!((world.server.exchanges(), world.server.rotations()), (2, 1));
    assert_eq!(world.server.families_revoked(), 0);
}

/// Written without `async_trait`, so that the panic comes before there is a future.
#[derive(Debug)]
struct PanicsAtOnce {
    inner: InProcessEndpoint,
    calls: AtomicU64,
}

impl TokenEndpoint for PanicsAtOnce {
    fn exchange<'life0, 'life1, 'async_trait>(
        &'life0 self,
        grant: Grant<'life1>,
    ) -> Pin<Box<dyn Future<Output = Result<Issued, EndpointError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        assert_ne!(call, 0, "a panic of the endpoint's, without a future");
        self.inner.exchange(grant)
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_without_a_future_answers_every_caller_and_loses_nothing() {
    let world = World::new(600 * SECOND);
    let endpoint = PanicsAtOnce {
        inner: world.server.endpoint(),
        calls: AtomicU64::new(0),
    };
    let tokens = expired(&world, endpoint).await;
    let start = world.clock.now();
    for caller in callers(&tokens, 10) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    assert_eq!(world.clock.now().since(start), 2 * SECOND);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_given_up_after_its_timeout() {
    let world = World::new(600 * SECOND);
    let endpoint =
        Hooked::new(world.server.endpoint().with_timeout(10 * SECOND)).before(|call| async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
        });
    let tokens = loaded(world.builder_at(endpoint, BackgroundTimer::default())).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(480 * SECOND).await;
    // A request during the rotation waits for it, for two seconds.
    let start = world.clock.now();
    assert_eq!(text(&tokens.token().await), first.expose());
    assert_eq!(world.clock.now().since(start), 2 * SECOND);
    world.assert_exchanges(0);
    world.clock.advance(60 * SECOND).await;
    world.assert_exchanges(1);
    assert!(world.is_live(&tokens.token().await.unwrap()));
}

/// A manager that does not exist yet when the code that asks it is written.
type Own = Arc<OnceLock<TokenManager>>;

fn own(own: &Own) -> TokenManager {
    own.get().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_its_own_manager_gets_an_error_and_goes_on() {
    let world = World::new(600 * SECOND);
    let manager = Own::default();
    let errors = Arc::<Mutex<Vec<Error>>>::default();
    let endpoint = Hooked::new(world.server.endpoint()).before({
        let (manager, errors) = (manager.clone(), errors.clone());
        move |_| {
            let (manager, errors) = (own(&manager), errors.clone());
            async move {
                errors.lock().push(manager.try_token().unwrap_err());
                for asked in [
                    manager.token().await,
                    manager.rotate().await,
                    manager.token_valid_for(SECOND).await,
                ] {
                    errors.lock().push(asked.unwrap_err());
                }
            }
        }
    });
    let tokens = expired(&world, endpoint).await;
    manager.set(tokens.clone()).unwrap();
    let start = world.clock.now();
    for caller in callers(&tokens, 10) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    assert_eq!(world.clock.now(), start);
    let errors = errors.lock();
    assert!(matches!(errors[0], Error::Pending));
    assert_eq!(errors.len(), 4);
    assert!(errors[1..].iter().all(|e| matches!(e, Error::Reentrant)));
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_its_own_manager_from_another_task_is_no_deadlock() {
    let world = World::new(600 * SECOND);
    let manager = Own::default();
    let endpoint = Hooked::new(world.server.endpoint()).before({
        let manager = manager.clone();
        move |call| {
            let manager = own(&manager);
            async move {
                if call == 1 {
                    let asking = tokio::spawn(async move { manager.token().await });
                    assert!(asking.await.unwrap().is_err());
                }
            }
        }
    });
    let tokens = expired(&world, endpoint).await;
    manager.set(tokens.clone()).unwrap();
    // Given up after the endpoint's timeout of 30 s, and asked again after a pause.
    let start = world.clock.now();
    for caller in callers(&tokens, 10) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    assert!(world.clock.now().since(start) <= 35 * SECOND);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_its_own_manager_gets_an_error_and_goes_on() {
    let world = World::new(600 * SECOND);
    let manager = Own::default();
    let errors = Arc::<AtomicU64>::default();
    let ask = || {
        let (manager, errors) = (manager.clone(), errors.clone());
        move || {
            let (manager, errors) = (manager.get().cloned(), errors.clone());
            async move {
                if let Some(manager) = manager {
                    let asked = manager.token().await;
                    assert!(matches!(asked, Err(Error::Reentrant)), "{asked:?}");
                    errors.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    };
    let store = SlowStore::new(world.store.clone())
        .after_load(ask())
        .before_swap(ask());
    let tokens = loaded(world.builder(OnRequest::default()).store(store)).await;
    world.clock.advance(600 * SECOND).await;
    manager.set(tokens.clone()).unwrap();
    let start = world.clock.now();
    for caller in callers(&tokens, 10) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    assert_eq!(world.clock.now(), start);
    assert_eq!(errors.load(Ordering::SeqCst), 3);
    world.assert_exchanges(1);
}

#[derive(Debug)]
struct AsksItsManager(Own);

impl RefreshStrategy for AsksItsManager {
    fn plan(&self, life: &Lifetime) -> Plan {
        if let Some(tokens) = self.0.get() {
            let _ = tokens.try_token();
            let _ = format!("{tokens:?}");
        }
        Plan::on_request(life)
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_asks_its_own_manager_is_no_deadlock() {
    let world = World::new(600 * SECOND);
    let manager = Own::default();
    let tokens = loaded(world.builder(AsksItsManager(manager.clone()))).await;
    manager.set(tokens.clone()).unwrap();
    for _ in 0..3 {
        world.clock.advance(600 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
    }
    world.assert_exchanges(3);
}

#[derive(Debug)]
struct Panics;

impl RefreshStrategy for Panics {
    fn plan(&self, _: &Lifetime) -> Plan {
        panic!("a panic of the strategy's")
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_panics_falls_back_to_rotating_on_request() {
    let world = World::new(600 * SECOND);
    let tokens = world.manager(Panics).await;
    world.clock.advance(589 * SECOND).await;
    tokens.token().await.unwrap();
    world.assert_exchanges(0);
    for _ in 0..3 {
        world.clock.advance(600 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
    }
    world.assert_exchanges(3);
}

/// Panics, or hangs, in the store while the flag is up.
fn troubled(world: &World, trouble: &Arc<AtomicBool>, hangs: bool, at_swap: bool) -> SlowStore {
    let trouble = trouble.clone();
    let pause = move || {
        let trouble = trouble.load(Ordering::SeqCst);
        async move {
            match (trouble, hangs) {
                (false, _) => {}
                (true, true) => std::future::pending().await,
                (true, false) => panic!("a panic of the store's"),
            }
        }
    };
    let store = SlowStore::new(world.store.clone());
    if at_swap {
        store.before_swap(pause)
    } else {
        store.after_load(pause)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_or_hangs_before_anything_was_sent_is_waited_for() {
    for (hangs, at_swap) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = World::new(600 * SECOND);
        let trouble = Arc::<AtomicBool>::default();
        let store = troubled(&world, &trouble, hangs, at_swap);
        let tokens = loaded(world.builder(OnRequest::default()).store(store)).await;
        let mut events = tokens.subscribe();
        world.clock.advance(600 * SECOND).await;
        trouble.store(true, Ordering::SeqCst);
        let start = world.clock.now();
        let waiting = callers(&tokens, 10);
        world.clock.advance(10 * SECOND).await;
        world.assert_exchanges(0);
        trouble.store(false, Ordering::SeqCst);
        for caller in waiting {
            assert!(world.is_live(&caller.await.unwrap().unwrap()));
        }
        assert!(world.clock.now().since(start) <= 20 * SECOND);
        world.assert_exchanges(1);
        assert_eq!(ended(&drain(&mut events)), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_or_hangs_for_longer_than_callers_wait_is_a_typed_error() {
    for (hangs, at_swap) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = World::new(600 * SECOND);
        let trouble = Arc::<AtomicBool>::default();
        let store = troubled(&world, &trouble, hangs, at_swap);
        let tokens = loaded(world.builder(OnRequest::default()).store(store)).await;
        world.clock.advance(600 * SECOND).await;
        trouble.store(true, Ordering::SeqCst);
        let start = world.clock.now();
        for caller in callers(&tokens, 10) {
            let error = caller.await.unwrap().unwrap_err();
            let last = match &error {
                Error::TimedOut { source, .. } => source.as_deref(),
                error => Some(error),
            };
            assert!(matches!(last, Some(Error::Store { .. })), "{error:?}");
            assert!(error.is_retryable());
        }
        assert!(world.clock.now().since(start) <= 35 * SECOND);
        world.assert_exchanges(0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_or_hangs_when_the_pair_is_there_is_tried_until_it_takes_it() {
    for hangs in [false, true] {
        let world = World::new(600 * SECOND);
        let trouble = Arc::<AtomicBool>::default();
        let store = troubled(&world, &trouble, hangs, true);
        let shared = store.inner.clone();
        let endpoint = Hooked::new(world.server.endpoint()).after({
            let trouble = trouble.clone();
            move |_| trouble.store(true, Ordering::SeqCst)
        });
        let tokens = loaded(
            world
                .builder_at(endpoint, OnRequest::default())
                .store(store),
        )
        .await;
        world.clock.advance(600 * SECOND).await;
        let start = world.clock.now();
        let mut served = Vec::new();
        for caller in callers(&tokens, 10) {
            served.push(caller.await.unwrap().unwrap());
        }
        assert!(served.iter().all(|token| world.is_live(token)));
        assert!(world.clock.now().since(start) <= 5 * SECOND);
        // It goes on trying while callers are served.
        world.clock.advance(20 * SECOND).await;
        assert_eq!(text(&tokens.token().await), served[0].expose());
        trouble.store(false, Ordering::SeqCst);
        world.clock.advance(10 * SECOND).await;
        settle().await;
        let restarted = loaded(world.builder(OnRequest::default()).store(shared)).await;
        assert_eq!(text(&restarted.token().await), served[0].expose());
        world.assert_exchanges(1);
    }
}

#[tokio::test(start_paused = true)]
async fn two_managers_may_ask_one_another() {
    // A session that is renewed with the token of another one: no rotation waits for itself.
    let (outer, inner) = (World::new(600 * SECOND), World::new(600 * SECOND));
    let other = inner.manager(OnRequest::default()).await;
    let endpoint = Hooked::new(outer.server.endpoint()).before(move |_| {
        let other = other.clone();
        async move {
            other.token().await.unwrap();
        }
    });
    let tokens = expired(&outer, endpoint).await;
    assert!(outer.is_live(&tokens.token().await.unwrap()));
    outer.assert_exchanges(1);
    inner.assert_exchanges(1);
}
