//! When a session leaves the memory of the process, and that a key never has two sessions at work.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use evertoken::testing::{FaultyStore, TestClock};
use evertoken::{BackgroundTimer, Coordination, Event, MemoryStore, Persistence, TokenManager};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::support::{HOUR, MINUTE, SECOND, TTL, call, drain, settle};
use crate::tenants::Service;

#[tokio::test(start_paused = true)]
async fn an_idle_session_leaves_with_its_last_manager_and_the_next_use_loads_it() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    let another = service.manager("diku");
    drop(tokens);
    settle().await;
    assert_eq!(service.sessions.in_memory(), 1);
    drop(another.clone());
    assert_eq!(service.sessions.in_memory(), 1);
    drop(another);
    assert_eq!(service.sessions.in_memory(), 0);
    let tokens = service.manager("diku");
    let mut events = tokens.subscribe();
    assert_eq!(tokens.token().await.unwrap().expose(), "a diku 1");
    let events = drain(&mut events);
    assert!(
        matches!(events.as_slice(), [Event::Adopted { .. }]),
        "{events:?}"
    );
    assert_eq!(service.tenants.exchanges(), 0);
}

/// Without leases, a second session of the key would send the token again.
#[tokio::test(start_paused = true)]
async fn a_manager_that_is_made_while_the_last_one_has_left_a_rotation_behind_joins_it() {
    for coordination in [Coordination::Lease, Coordination::None] {
        let service = Service::with(|builder| builder.coordination(coordination));
        let tokens = service.signed_in("diku").await;
        service.clock.advance(TTL).await;
        let hold = service.tenants.hold().await;
        let caller = call(&tokens);
        settle().await;
        assert_eq!(service.tenants.exchanges(), 1);
        caller.abort();
        drop((caller, tokens));
        settle().await;
        assert_eq!(service.sessions.in_memory(), 1, "its rotation is in flight");
        let tokens = service.manager("diku");
        assert!(tokens.status().is_rotating);
        let caller = call(&tokens);
        settle().await;
        drop(hold);
        assert_eq!(caller.await.unwrap().unwrap().expose(), "a diku 2");
        assert_eq!(service.tenants.exchanges(), 1);
        drop(tokens);
        settle().await;
        assert_eq!(service.sessions.in_memory(), 0);
        service.tenants.assert_unharmed();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_no_manager_waits_for_is_finished_and_stored_and_then_its_session_leaves() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    service.clock.advance(TTL).await;
    let hold = service.tenants.hold().await;
    let caller = call(&tokens);
    settle().await;
    caller.abort();
    drop((caller, tokens));
    drop(hold);
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
    assert_eq!(service.request("diku").await, "a diku 2");
    assert_eq!(service.tenants.exchanges(), 1);
}

/// With leases the rotation itself stores the pair; with write-behind, a task after it does.
#[tokio::test(start_paused = true)]
async fn a_session_whose_pair_is_not_stored_stays_until_it_is() {
    let behind = Persistence::write_behind(1);
    for (coordination, persistence) in [
        (Coordination::Lease, Persistence::write_through()),
        (Coordination::None, Persistence::write_through()),
        (Coordination::None, behind),
    ] {
        let store = FaultyStore::new(MemoryStore::with_clock(TestClock::new()));
        let shared = store.clone();
        let service = Service::with(|builder| {
            let builder = builder.store(shared).persistence(persistence.clone());
            builder.coordination(coordination)
        });
        let tokens = service.signed_in("diku").await;
        service.clock.advance(TTL).await;
        let hold = service.tenants.hold().await;
        let caller = call(&tokens);
        settle().await;
        store.set_down(true);
        drop(hold);
        assert_eq!(caller.await.unwrap().unwrap().expose(), "a diku 2");
        drop(tokens);
        service.clock.advance(HOUR).await;
        assert_eq!(service.sessions.in_memory(), 1, "the store is down");
        store.set_down(false);
        service.clock.advance(2 * MINUTE).await;
        assert_eq!(service.sessions.in_memory(), 0, "the pair is stored");
        // The pair that was stored is an hour old, and was never sent.
        assert_eq!(service.request("diku").await, "a diku 3");
        assert_eq!(service.tenants.exchanges(), 2);
        service.tenants.assert_unharmed();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_logout_is_not_stored_stays_until_it_is() {
    let (service, store) = Service::with_a_logout_that_is_not_stored().await;
    service.clock.advance(HOUR).await;
    assert_eq!(service.sessions.in_memory(), 1);
    assert!(
        service
            .manager("diku")
            .token()
            .await
            .unwrap_err()
            .needs_sign_in()
    );
    store.set_down(false);
    service.clock.advance(MINUTE).await;
    let error = service.manager("diku").token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
}

/// The timer rotates the pair of a session that a manager holds. It begins again with the next manager, also where the
/// session has stayed in memory in between.
#[tokio::test(start_paused = true)]
async fn a_timer_rotates_only_a_session_that_has_a_manager() {
    let service = Service::with(|builder| builder.strategy(BackgroundTimer::default()));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let tokens = service.signed_in("diku").await;
    service.clock.advance(TTL).await;
    assert_eq!(service.tenants.exchanges(), 1, "at 0.8 of the lifetime");
    // The rotation after that is in flight when the manager goes.
    let hold = service.tenants.hold().await;
    service.clock.advance(370 * SECOND).await;
    assert_eq!(service.tenants.exchanges(), 2);
    drop(tokens);
    let tokens = service.manager("diku");
    drop(hold);
    settle().await;
    service.clock.advance(TTL).await;
    assert_eq!(service.tenants.exchanges(), 3, "with the next manager");
    drop(tokens);
    settle().await;
    assert_eq!((service.sessions.in_memory(), tasks()), (0, before));
    service.clock.advance(HOUR).await;
    assert_eq!(service.tenants.exchanges(), 3, "without a manager");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_ends_without_a_manager_leaves_no_entry_at_the_timer() {
    let service = Service::with(|builder| builder.strategy(BackgroundTimer::default()));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let tokens = service.signed_in("diku").await;
    let hold = service.tenants.hold().await;
    service.clock.advance(490 * SECOND).await;
    assert_eq!(service.tenants.exchanges(), 1, "at 0.8 of the lifetime");
    drop(tokens);
    drop(hold);
    settle().await;
    assert_eq!((service.sessions.in_memory(), tasks()), (0, before));
}

/// A waker that notes whether another thread can lock the session's state meanwhile, as the drop of a manager does.
struct Locking {
    tokens: TokenManager,
    could_lock: Mutex<Vec<bool>>,
}

impl Wake for Locking {
    fn wake(self: Arc<Self>) {
        let tokens = self.tokens.clone();
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let _ = tokens.status();
            let _ = done.send(());
        });
        let could_lock = is_done.recv_timeout(5 * SECOND).is_ok();
        self.could_lock.lock().push(could_lock);
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_and_a_sign_in_wake_the_waiters_with_the_state_unlocked() {
    for signs_in in [false, true] {
        let service = Service::new();
        let tokens = service.signed_in("diku").await;
        service.clock.advance(TTL).await;
        let hold = service.tenants.hold().await;
        let locking = Arc::new(Locking {
            tokens: tokens.clone(),
            could_lock: Mutex::default(),
        });
        let waker = Waker::from(Arc::clone(&locking));
        let mut caller = pin!(tokens.token());
        let polled = caller.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        settle().await;
        if signs_in {
            let pair = service.tenants.pair("diku");
            tokens.replace(pair).await.unwrap();
        } else {
            assert!(tokens.logout().await.stored.is_ok());
        }
        assert_eq!(*locking.could_lock.lock(), [true]);
        drop(hold);
    }
}
