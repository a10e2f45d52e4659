//! The shutdown of all sessions.

use evertoken::testing::{CallFault, FaultyStore, StoreCall, TestClock};
use evertoken::{Error, MemoryStore, Sessions};
use tokio::time::Instant;

use crate::support::{SECOND, TTL, call, settle};
use crate::tenants::Service;

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_rotations_of_all_sessions_and_stores_their_pairs() {
    let store = MemoryStore::with_clock(TestClock::new());
    let shared = store.clone();
    let service = Service::with(|builder| builder.store(shared));
    let held = service.signed_in("held").await;
    let left = service.signed_in("left").await;
    service.clock.advance(TTL).await;
    let hold = service.tenants.hold().await;
    let callers = [call(&held), call(&left)];
    settle().await;
    for caller in callers {
        caller.abort();
    }
    drop(left);
    let sessions = service.sessions.clone();
    let shutdown = tokio::spawn(async move { sessions.shutdown().await });
    service.clock.advance(10 * SECOND).await;
    assert!(!shutdown.is_finished());
    drop(hold);
    shutdown.await.unwrap().unwrap();
    for tokens in [held, service.manager("left"), service.manager("new")] {
        assert!(matches!(tokens.token().await, Err(Error::ShutDown)));
        assert!(matches!(tokens.rotate().await, Err(Error::ShutDown)));
    }
    let signed_in = service.sessions.sign_in(service.tenants.pair("new")).await;
    assert!(matches!(signed_in, Err(Error::ShutDown)), "{signed_in:?}");
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
    // The next process has both pairs.
    let next = Sessions::builder(service.tenants.clone()).store(store);
    let next = next.clock(service.clock.clone()).build().unwrap();
    for tenant in ["held", "left"] {
        let token = next.manager(next.key().tenant(tenant)).token().await;
        assert_eq!(token.unwrap().expose(), format!("a {tenant} 2"));
    }
    assert_eq!(service.tenants.exchanges(), 2);
    service.tenants.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_reports_a_logout_that_could_not_be_stored() {
    let (service, _down) = Service::with_a_logout_that_is_not_stored().await;
    // The session has left the memory by the second time.
    for _ in 0..2 {
        let shutdown = service.sessions.shutdown().await;
        assert!(matches!(shutdown, Err(Error::Store { .. })), "{shutdown:?}");
        settle().await;
        assert_eq!(service.sessions.in_memory(), 0);
    }
}

/// A store that hangs while the pairs of two sessions are being stored.
#[tokio::test(start_paused = true)]
async fn one_deadline_holds_for_the_shutdown_of_all_sessions() {
    let store = FaultyStore::new(MemoryStore::with_clock(TestClock::new()));
    let shared = store.clone();
    let service = Service::with(|builder| builder.store(shared));
    let managers = [
        service.signed_in("one").await,
        service.signed_in("two").await,
    ];
    service.clock.advance(TTL).await;
    let hold = service.tenants.hold().await;
    let callers = managers.each_ref().map(call);
    settle().await;
    store.fail_always(StoreCall::Swap, Some(CallFault::HangBefore));
    drop(hold);
    settle().await;
    for caller in callers {
        caller.abort();
    }
    let asked = Instant::now();
    let shutdown = service.sessions.shutdown().await;
    assert!(
        matches!(shutdown, Err(Error::TimedOut { .. })),
        "{shutdown:?}"
    );
    assert_eq!(asked.elapsed().as_secs(), 35);
}

/// A session that others could find before it is closed could begin a rotation for which the shutdown has not waited.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_made_after_the_shutdown_is_found_by_no_other_manager() {
    let service = Service::new();
    service.sessions.shutdown().await.unwrap();
    let tokens = service.manager("new");
    assert_eq!(service.sessions.in_memory(), 0);
    assert!(matches!(tokens.token().await, Err(Error::ShutDown)));
}
