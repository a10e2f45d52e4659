//! An endpoint, a store or a strategy of the user's that panics, hangs or asks its own manager: an error
//! for every caller, never a deadlock, and no token lost that could be kept.
#![allow(clippy::unwrap_used)]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use evertoken::clock::Clock;
use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{
    CallFault, EndpointCall, FaultyEndpoint, FaultyStore, GraceAnswer, InProcessEndpoint, Reuse,
    StoreCall,
};
use evertoken::{
    BackgroundTimer, EndReason, EndpointError, Error, Grant, Issued, Key, Lifetime, MemoryStore,
    OnRequest, Plan, RefreshStrategy, Resend, ServerProfile, StoreError, TokenEndpoint,
    TokenManager, TokenStore, async_trait,
};
use parking_lot::Mutex;
use support::{
    MINUTE, SECOND, TTL, World, callers, drain, ended, failures, loaded, served, settle, text,
};

/// A world, and an endpoint that meets this fault when it first refreshes.
fn faulty(fault: CallFault<EndpointError>) -> (World, FaultyEndpoint) {
    let world = World::new(TTL);
    let endpoint = FaultyEndpoint::new(world.server.endpoint());
    endpoint.fail_next(EndpointCall::Refresh, 1, fault);
    (world, endpoint)
}

async fn expired(world: &World, endpoint: impl TokenEndpoint) -> TokenManager {
    let tokens = loaded(world.builder_at(endpoint, OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    tokens
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_before_it_sent_loses_nothing() {
    let (world, endpoint) = faulty(CallFault::PanicBefore);
    let tokens = expired(&world, endpoint.clone()).await;
    let mut events = tokens.subscribe();
    // The token may be spent, for all the manager knows: it is sent again after a pause of 2 s.
    world.assert_all_live(callers(&tokens, 10)).await;
    assert_eq!(world.clock.wall().as_secs(), 1_700_000_602);
    world.assert_exchanges(1);
    assert_eq!(endpoint.calls(EndpointCall::Refresh), 2);
    assert_eq!(ended(&drain(&mut events)), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_before_it_sent_costs_no_valid_token() {
    let (world, endpoint) = faulty(CallFault::PanicBefore);
    let tokens = loaded(world.builder_at(endpoint, BackgroundTimer::default())).await;
    world.assert_live_for(&tokens, 2_000 * SECOND).await;
    // 484 s, in place of 480, then every 480 s.
    world.assert_exchanges(4);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_after_the_server_rotated_ends_typed_on_a_strict_server() {
    for resend in [Resend::Always, Resend::Never] {
        let again = u64::from(resend == Resend::Always);
        let world = World::new(600 * SECOND);
        let profile = ServerProfile::strict().resend(resend);
        let endpoint = FaultyEndpoint::new(world.server.endpoint().with_profile(profile));
        endpoint.fail_next(EndpointCall::Refresh, 1, CallFault::PanicAfter);
        let tokens = expired(&world, endpoint.clone()).await;
        let mut events = tokens.subscribe();
        let start = world.clock.now();
        for error in failures(callers(&tokens, 10)).await {
            let Error::Ended { reason, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(reason.is_rejected(), again == 1, "{reason}");
            assert_eq!(*reason == EndReason::OutcomeUnknown, again == 0, "{reason}");
        }
        // After a pause where it was sent again, and else at once.
        let waited = world.clock.now().since(start);
        assert_eq!(waited.as_secs(), 2 * again);
        world.clock.advance(60 * MINUTE).await;
        assert!(tokens.token().await.unwrap_err().needs_sign_in());
        assert_eq!(ended(&drain(&mut events)), 1);
        // The second sending that the profile permits, and none where it forbids it.
        assert_eq!(world.server.replays(), again);
        assert_eq!(endpoint.calls(EndpointCall::Refresh), 1 + again);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_after_the_server_rotated_is_asked_again_inside_a_grace_window() {
    let world = World::with(|server| {
        server.reuse(Reuse::Grace {
            window: MINUTE,
            answer: GraceAnswer::SamePair,
        })
    });
    let endpoint = FaultyEndpoint::new(world.server.endpoint());
    endpoint.fail_next(EndpointCall::Refresh, 1, CallFault::PanicAfter);
    let tokens = expired(&world, endpoint).await;
    let start = world.clock.now();
    world.assert_all_live(callers(&tokens, 10)).await;
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
    world.assert_all_live(callers(&tokens, 10)).await;
    assert_eq!(world.clock.now().since(start), 2 * SECOND);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_given_up_after_its_timeout() {
    let world = World::new(600 * SECOND);
    let endpoint = FaultyEndpoint::new(world.server.endpoint().with_timeout(10 * SECOND));
    endpoint.fail_next(EndpointCall::Refresh, 1, CallFault::HangBefore);
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

type Code = Arc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An endpoint or a store that runs code of the user's before each exchange, after each load and before each swap.
struct Asking<T> {
    inner: T,
    calls: AtomicU64,
    code: Code,
}

impl<T> Asking<T> {
    /// `code` gets the number of the call, from 1.
    fn new<F: Future<Output = ()> + Send + 'static>(
        inner: T,
        code: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            calls: AtomicU64::new(0),
            code: Arc::new(move |call| Box::pin(code(call))),
        }
    }

    async fn ask(&self) {
        (self.code)(self.calls.fetch_add(1, Ordering::SeqCst) + 1).await;
    }
}

impl<T> std::fmt::Debug for Asking<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenEndpoint for Asking<InProcessEndpoint> {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        self.ask().await;
        self.inner.exchange(grant).await
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}

#[async_trait]
impl TokenStore for Asking<MemoryStore> {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let loaded = self.inner.load(key).await;
        self.ask().await;
        loaded
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.ask().await;
        self.inner.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_its_own_manager_gets_an_error_and_goes_on() {
    let world = World::new(600 * SECOND);
    let manager = Own::default();
    let errors = Arc::<Mutex<Vec<Error>>>::default();
    let endpoint = Asking::new(world.server.endpoint(), {
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
    world.assert_all_live(callers(&tokens, 10)).await;
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
    let endpoint = Asking::new(world.server.endpoint(), {
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
    world.assert_all_live(callers(&tokens, 10)).await;
    assert!(world.clock.now().since(start) <= 35 * SECOND);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_its_own_manager_gets_an_error_and_goes_on() {
    let world = World::new(600 * SECOND);
    let manager = Own::default();
    let errors = Arc::<AtomicU64>::default();
    let store = Asking::new(MemoryStore::with_clock(world.clock.clone()), {
        let (manager, errors) = (manager.clone(), errors.clone());
        move |_| {
            let (manager, errors) = (manager.get().cloned(), errors.clone());
            async move {
                if let Some(manager) = manager {
                    let asked = manager.token().await;
                    assert!(matches!(asked, Err(Error::Reentrant)), "{asked:?}");
                    errors.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    let tokens = loaded(world.builder(OnRequest::default()).store(store)).await;
    world.clock.advance(600 * SECOND).await;
    manager.set(tokens.clone()).unwrap();
    let start = world.clock.now();
    world.assert_all_live(callers(&tokens, 10)).await;
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
    let (world, tokens) = World::managed(Panics).await;
    world.clock.advance(589 * SECOND).await;
    tokens.token().await.unwrap();
    world.assert_exchanges(0);
    for _ in 0..3 {
        world.clock.advance(600 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
    }
    world.assert_exchanges(3);
}

/// The ways in which a store is in trouble: it panics or hangs, as it loads or as it swaps.
const TROUBLES: [(StoreCall, CallFault<StoreError>); 4] = [
    (StoreCall::Load, CallFault::PanicAfter),
    (StoreCall::Swap, CallFault::PanicBefore),
    (StoreCall::Load, CallFault::HangAfter),
    (StoreCall::Swap, CallFault::HangBefore),
];

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_or_hangs_before_anything_was_sent_is_waited_for() {
    for (call, fault) in TROUBLES {
        let world = World::new(TTL).with_store(FaultyStore::new);
        let tokens = loaded(world.shared(OnRequest::default())).await;
        let mut events = tokens.subscribe();
        world.clock.advance(600 * SECOND).await;
        world.store.fail_always(call, Some(fault));
        let start = world.clock.now();
        let waiting = callers(&tokens, 10);
        world.clock.advance(10 * SECOND).await;
        world.assert_exchanges(0);
        world.store.fail_always(call, None);
        world.assert_all_live(waiting).await;
        assert!(world.clock.now().since(start) <= 20 * SECOND);
        world.assert_exchanges(1);
        assert_eq!(ended(&drain(&mut events)), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_or_hangs_for_longer_than_callers_wait_is_a_typed_error() {
    for (call, fault) in TROUBLES {
        let world = World::new(TTL).with_store(FaultyStore::new);
        let tokens = loaded(world.shared(OnRequest::default())).await;
        world.clock.advance(600 * SECOND).await;
        world.store.fail_always(call, Some(fault));
        let start = world.clock.now();
        for error in failures(callers(&tokens, 10)).await {
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
    for fault in [CallFault::PanicBefore, CallFault::HangBefore] {
        let world = World::new(TTL).with_store(FaultyStore::new);
        let store = &world.store;
        let tokens = loaded(world.shared(OnRequest::default())).await;
        world.clock.advance(600 * SECOND).await;
        // The lease is written, and the pair that the exchange brings is not.
        store.work_next(StoreCall::Swap, 1);
        store.fail_always(StoreCall::Swap, Some(fault));
        let start = world.clock.now();
        let served = served(callers(&tokens, 10)).await;
        assert!(served.iter().all(|token| world.is_live(token)));
        assert!(world.clock.now().since(start) <= 5 * SECOND);
        // It goes on trying while callers are served.
        world.clock.advance(20 * SECOND).await;
        assert_eq!(text(&tokens.token().await), served[0].expose());
        store.fail_always(StoreCall::Swap, None);
        world.clock.advance(10 * SECOND).await;
        settle().await;
        let restarted = loaded(world.shared(OnRequest::default())).await;
        assert_eq!(text(&restarted.token().await), served[0].expose());
        world.assert_exchanges(1);
    }
}

#[tokio::test(start_paused = true)]
async fn two_managers_may_ask_one_another() {
    // A session that is renewed with the token of another one: no rotation waits for itself.
    let (outer, inner) = (World::new(600 * SECOND), World::new(600 * SECOND));
    let other = inner.manager(OnRequest::default()).await;
    let endpoint = Asking::new(outer.server.endpoint(), move |_| {
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
