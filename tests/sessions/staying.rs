//! What the store does not know of a session keeps it for a while: a pause, a rejected token, a lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::testing::{CallFault, FaultyStore, StoreCall, TestClock};
use evertoken::{
    BackgroundTimer, Coordination, EndpointError, Event, Grant, Issued, Key, MemoryStore,
    OnRequest, Persistence, Rejection, Sessions, TokenEndpoint, async_trait,
};

use futures_util::FutureExt;

use crate::support::{HOUR, MINUTE, SECOND, TTL, call, settle};
use crate::tenants::Service;
use crate::watching::drain;

/// The longest time for which an idle session stays: a lease duration, which is as long as the longest pause.
const KEPT: Duration = Duration::from_secs(60);

/// An API that rejects every token must not cause a rotation for every request.
#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_every_token_causes_as_few_rotations_for_managers_of_a_request_as_for_one()
 {
    let mut exchanges = [0, 0];
    for (is_kept, exchanges) in [true, false].into_iter().zip(&mut exchanges) {
        let service = Service::new();
        let tokens = service.signed_in("diku").await;
        let kept = is_kept.then(|| tokens.clone());
        drop(tokens);
        for _ in 0..600 {
            let tokens = service.manager("diku");
            let token = tokens.token().await.unwrap();
            assert_ne!(tokens.reject(&token), Rejection::NotRotatable);
            drop(tokens);
            service.clock.advance(SECOND).await;
        }
        drop(kept);
        *exchanges = service.tenants.exchanges();
    }
    let [by_one, by_each] = exchanges;
    assert_eq!(by_each, by_one);
    assert!(by_one < 20, "{by_one}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_an_api_rejects_leaves_a_minute_after_its_last_manager() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    let token = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&token), Rejection::Rotating);
    settle().await;
    drop(tokens);
    service.clock.advance(KEPT - SECOND).await;
    assert_eq!(service.sessions.in_memory(), 1);
    // Another use begins the time anew.
    drop(service.manager("diku"));
    service.clock.advance(KEPT - SECOND).await;
    assert_eq!(service.sessions.in_memory(), 1);
    service.clock.advance(KEPT + SECOND).await;
    assert_eq!(service.sessions.in_memory(), 0);
}

/// The session has not left meanwhile, and no caller comes.
#[tokio::test(start_paused = true)]
async fn a_session_that_stayed_has_its_timer_again_with_the_next_manager() {
    let service = Service::with(|builder| builder.strategy(BackgroundTimer::default()));
    let tokens = service.signed_in("diku").await;
    let token = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&token), Rejection::Rotating);
    settle().await;
    assert_eq!(service.tenants.exchanges(), 1);
    drop(tokens);
    service.clock.advance(SECOND).await;
    let _tokens = service.manager("diku");
    service.clock.advance(TTL).await;
    assert_eq!(service.tenants.exchanges(), 2);
}

/// The server asks for an hour. The record has the pause too, and it holds for every instance that loads the record.
#[tokio::test(start_paused = true)]
async fn a_pause_that_nobody_waits_for_keeps_a_session_for_a_minute_and_no_instance_sends() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    service.clock.advance(TTL).await;
    service
        .tenants
        .answer("diku", Some(EndpointError::later(Some(HOUR))));
    let caller = call(&tokens);
    settle().await;
    caller.abort();
    drop((caller, tokens));
    settle().await;
    assert_eq!(service.sessions.in_memory(), 1);
    service.clock.advance(KEPT + SECOND).await;
    assert_eq!(service.sessions.in_memory(), 0);
    service.tenants.answer("diku", None);
    assert!(service.manager("diku").token().await.is_err());
    assert_eq!(service.tenants.exchanges(), 1);
    service.clock.advance(HOUR).await;
    assert_eq!(service.request("diku").await, "a diku 2");
    assert_eq!(service.tenants.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_comes_after_the_last_manager_keeps_its_session_as_well() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    service.clock.advance(TTL).await;
    let answer = EndpointError::later(Some(HOUR));
    service.tenants.answer("diku", Some(answer));
    let hold = service.tenants.hold().await;
    let caller = call(&tokens);
    settle().await;
    caller.abort();
    drop((caller, tokens));
    settle().await;
    drop(hold);
    settle().await;
    assert_eq!(service.sessions.in_memory(), 1);
    assert!(!service.manager("diku").status().is_rotating);
    // That manager was a use of the session, after which it stays for as long again.
    service.clock.advance(2 * KEPT + SECOND).await;
    assert_eq!(service.sessions.in_memory(), 0);
    assert_eq!(service.tenants.exchanges(), 1);
}

/// The store has taken a lease whose answer is lost. Loaded anew, the session would take it for the lease of another instance, and
/// would leave the token alone for a minute.
#[tokio::test(start_paused = true)]
async fn a_session_that_may_have_leased_its_token_knows_its_lease_again() {
    let store = FaultyStore::new(MemoryStore::with_clock(TestClock::new()));
    let shared = store.clone();
    let service = Service::with(|builder| builder.store(shared));
    let tokens = service.signed_in("diku").await;
    service.clock.advance(TTL).await;
    store.fail_next(StoreCall::Swap, 1, CallFault::LoseAnswer);
    let caller = call(&tokens);
    settle().await;
    caller.abort();
    drop(caller);
    // The pause after the store's failure is over.
    service.clock.advance(10 * SECOND).await;
    drop(tokens);
    settle().await;
    assert_eq!(service.sessions.in_memory(), 1);
    let asked = tokio::time::Instant::now();
    assert_eq!(service.request("diku").await, "a diku 2");
    assert!(asked.elapsed() < 5 * SECOND, "{:?}", asked.elapsed());
    assert_eq!(service.tenants.exchanges(), 1);
    service.clock.advance(2 * MINUTE).await;
    assert_eq!(service.sessions.in_memory(), 0);
}

/// Ids that strangers make up must not fill the memory.
#[tokio::test(start_paused = true)]
async fn a_key_without_a_session_leaves_at_once_whatever_was_asked() {
    let service = Service::new();
    for number in 0..100 {
        let tokens = service.manager(&format!("stranger {number}"));
        assert!(tokens.token().await.is_err());
        assert!(tokens.rotate().await.is_err());
    }
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
}

/// An endpoint whose client secret is wrong.
#[derive(Debug, Clone, Default)]
struct WrongSecret(Arc<AtomicU64>);

#[async_trait]
impl TokenEndpoint for WrongSecret {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(EndpointError::refused("invalid_client"))
    }

    fn can_sign_in(&self) -> bool {
        true
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "service")
    }
}

/// Without leases the store has no record of the refusal.
#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_is_repeated_for_managers_of_a_request_as_seldom_as_for_one() {
    for coordination in [Coordination::Lease, Coordination::None] {
        let mut sign_ins = [0, 0];
        for (is_kept, sign_ins) in [true, false].into_iter().zip(&mut sign_ins) {
            let (clock, endpoint) = (TestClock::new(), WrongSecret::default());
            let builder = Sessions::builder(endpoint.clone()).clock(clock.clone());
            let builder = builder.strategy(OnRequest::default()).jitter(0.0);
            let sessions = builder.coordination(coordination).build().unwrap();
            let key = sessions.key().tenant("diku");
            let kept = is_kept.then(|| sessions.manager(key.clone()));
            for _ in 0..600 {
                assert!(sessions.manager(key.clone()).token().await.is_err());
                clock.advance(SECOND).await;
            }
            drop(kept);
            *sign_ins = endpoint.0.load(Ordering::SeqCst);
            clock.advance(2 * MINUTE).await;
            assert_eq!(sessions.in_memory(), 0);
        }
        let [by_one, by_each] = sign_ins;
        assert_eq!(by_each, by_one, "{coordination:?}");
        assert!((1..20).contains(&by_one), "{by_one}");
    }
}

/// While the session had a manager, nothing was planned for it: there was no subscriber, and its strategy has no timer.
#[tokio::test(start_paused = true)]
async fn a_session_that_stayed_reports_its_end_to_a_subscriber_that_came_before_its_manager() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    service.tenants.end_with_access("diku");
    let token = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&token), Rejection::Rotating);
    settle().await;
    assert_eq!(service.tenants.exchanges(), 1);
    drop(tokens);
    let mut events = service.sessions.subscribe();
    let _tokens = service.manager("diku");
    service.clock.advance(TTL + SECOND).await;
    settle().await;
    let events = drain(&mut events);
    let [(_, Event::Expiring { .. }), (_, Event::Ended { .. })] = events.as_slice() else {
        panic!("{events:?}");
    };
}

/// The rotation that loads the session and fails has begun with a manager and ends without one.
#[tokio::test(start_paused = true)]
async fn a_session_whose_first_rotation_ended_without_a_manager_has_its_timer_with_the_next_one() {
    let service = Service::with(|builder| builder.strategy(BackgroundTimer::default()));
    drop(service.signed_in("diku").await);
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
    service.clock.advance(TTL).await;
    let answer = EndpointError::later(Some(10 * SECOND));
    service.tenants.answer("diku", Some(answer));
    let tokens = service.manager("diku");
    assert!(tokens.token().now_or_never().is_none());
    drop(tokens);
    settle().await;
    assert_eq!(service.tenants.exchanges(), 1);
    assert_eq!(service.sessions.in_memory(), 1);
    service.tenants.answer("diku", None);
    let _tokens = service.manager("diku");
    service.clock.advance(2 * MINUTE).await;
    assert_eq!(service.tenants.exchanges(), 2);
}

/// A write-behind outlives the minute for which the rejection keeps the session.
#[tokio::test(start_paused = true)]
async fn a_session_whose_last_work_ends_late_is_kept_for_a_minute_after_it() {
    let store = FaultyStore::new(MemoryStore::with_clock(TestClock::new()));
    let shared = store.clone();
    let service = Service::with(|builder| {
        let builder = builder.store(shared).coordination(Coordination::None);
        builder.persistence(Persistence::write_behind(1))
    });
    let tokens = service.signed_in("diku").await;
    let token = tokens.token().await.unwrap();
    let hold = service.tenants.hold().await;
    assert_eq!(tokens.reject(&token), Rejection::Rotating);
    settle().await;
    store.set_down(true);
    drop(hold);
    settle().await;
    assert_eq!(service.tenants.exchanges(), 1);
    drop(tokens);
    service.clock.advance(HOUR).await;
    assert_eq!(service.sessions.in_memory(), 1, "the store is down");
    store.set_down(false);
    let before = store.calls(StoreCall::Swap);
    while store.calls(StoreCall::Swap) == before {
        service.clock.advance(SECOND).await;
    }
    service.clock.advance(KEPT - 10 * SECOND).await;
    assert_eq!(service.sessions.in_memory(), 1, "the pair is stored");
    service.clock.advance(20 * SECOND).await;
    assert_eq!(service.sessions.in_memory(), 0);
}

/// Without leases the store does not know of the pause.
#[tokio::test(start_paused = true)]
async fn a_pause_that_a_server_asked_for_keeps_a_session_without_leases_until_it_is_over() {
    let service = Service::with(|builder| builder.coordination(Coordination::None));
    drop(service.signed_in("diku").await);
    service.clock.advance(TTL).await;
    let answer = EndpointError::later(Some(10 * MINUTE));
    service.tenants.answer("diku", Some(answer));
    assert!(service.manager("diku").token().await.is_err());
    service.clock.advance(9 * MINUTE).await;
    assert!(service.manager("diku").token().await.is_err());
    assert_eq!(service.tenants.exchanges(), 1);
    service.clock.advance(3 * MINUTE).await;
    assert_eq!(service.sessions.in_memory(), 0);
}
