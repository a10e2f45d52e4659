//! A place at the token endpoint comes back, whatever becomes of the rotation that had it or waits for it.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::TestClock;
use evertoken::{BuildError, EndpointError, Error, MemoryStore, Sessions, TokenManager, TokenPair};
use tokio::runtime::Builder as Runtime;
use tokio::time::Instant;

use crate::desk::{Desk, Misfortune, begun};
use crate::support::{MINUTE, SECOND, TTL, call, failures, rotate, served, settle};

/// The one place there is, taken by the session `fails`, and a rotation of `next` that waits for it.
struct Capacity {
    clock: TestClock,
    desk: Desk,
    sessions: Sessions,
    fails: TokenManager,
    next: TokenManager,
}

impl Capacity {
    async fn of(desk: Desk) -> Self {
        let clock = TestClock::new();
        let sessions = desk.sessions(&clock, 1, |builder| builder);
        Self {
            fails: begun(&sessions, "fails", MINUTE).await,
            next: begun(&sessions, "next", TTL).await,
            clock,
            desk,
            sessions,
        }
    }

    /// The next rotation takes no longer than that.
    async fn assert_free_after(&self, span: Duration) {
        let asked = Instant::now();
        self.next.rotate().await.unwrap();
        assert_eq!(asked.elapsed(), span);
        assert_eq!((self.desk.inside(), self.desk.most()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn n18_a_place_comes_back_after_every_failure_and_the_pause_after_it_holds_none() {
    for error in [
        EndpointError::not_sent("no route"),
        EndpointError::later(Some(MINUTE)),
        EndpointError::user_needed("consent_required"),
        EndpointError::refused("invalid_client"),
        EndpointError::rejected("invalid_grant"),
        EndpointError::page(200),
        EndpointError::unavailable(503, None),
        EndpointError::unknown("cut"),
    ] {
        let it = Capacity::of(Desk::open()).await;
        it.desk.befall("fails", Misfortune::Fails(error));
        let caller = rotate(&it.fails);
        settle().await;
        it.assert_free_after(Duration::ZERO).await;
        caller.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn n18_a_place_comes_back_after_a_panic_and_a_timeout_of_the_endpoint() {
    for (misfortune, span) in [
        (Misfortune::Panics, Duration::ZERO),
        // The timeout, and a second for the endpoint to notice it.
        (Misfortune::Hangs, 21 * SECOND),
    ] {
        let it = Capacity::of(Desk::open()).await;
        it.clock.advance(MINUTE).await;
        it.desk.befall("fails", misfortune);
        let caller = call(&it.fails);
        settle().await;
        it.assert_free_after(span).await;
        it.desk.befall("fails", None);
        caller.await.unwrap().unwrap();
        it.desk.assert_unharmed();
    }
}

/// What waits has sent nothing, so the shutdown waits only for the exchange that is under way.
#[tokio::test(start_paused = true)]
async fn n18_a_shutdown_ends_the_rotations_that_wait_and_stores_what_is_under_way() {
    let it = Capacity::of(Desk::slow(10 * SECOND)).await;
    let under_way = rotate(&it.fails);
    settle().await;
    let waits = rotate(&it.next);
    settle().await;
    let asked = Instant::now();
    it.sessions.shutdown().await.unwrap();
    assert_eq!(asked.elapsed(), 10 * SECOND);
    assert_eq!(it.desk.order(), ["fails"]);
    under_way.await.unwrap().unwrap();
    assert!(matches!(waits.await.unwrap(), Err(Error::ShutDown)));
}

#[tokio::test(start_paused = true)]
async fn n18_a_shutdown_of_one_session_leaves_the_place_to_the_others() {
    let it = Capacity::of(Desk::slow(10 * SECOND)).await;
    let under_way = rotate(&it.fails);
    settle().await;
    let closing = begun(&it.sessions, "closing", SECOND).await;
    let waits = rotate(&closing);
    let next = rotate(&it.next);
    settle().await;
    let asked = Instant::now();
    closing.shutdown().await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(matches!(waits.await.unwrap(), Err(Error::ShutDown)));
    served([under_way, next]).await;
    assert_eq!(it.desk.order(), ["fails", "next"]);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_logs_out_does_not_wait_for_a_place_and_leaves_the_queue() {
    let it = Capacity::of(Desk::slow(10 * SECOND)).await;
    let under_way = rotate(&it.fails);
    settle().await;
    let leaves = begun(&it.sessions, "leaves", SECOND).await;
    let waits = rotate(&leaves);
    settle().await;
    let asked = Instant::now();
    leaves.logout().await.stored.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(waits.await.unwrap().unwrap_err().needs_sign_in());
    drop(leaves);
    settle().await;
    assert_eq!(it.sessions.in_memory(), 2);
    // The exchange that is under way, and its own.
    it.assert_free_after(20 * SECOND).await;
    served([under_way]).await;
    assert_eq!(it.desk.order(), ["fails", "next"]);
}

/// The token of the session that fails was sent, so its second sending goes before all that wait.
#[tokio::test(start_paused = true)]
async fn a_second_sending_after_an_unclear_answer_goes_before_all_that_wait() {
    let it = Capacity::of(Desk::slow(Duration::from_millis(1_500))).await;
    let mut earlier = Vec::new();
    for number in 0..20 {
        earlier.push(begun(&it.sessions, &number.to_string(), SECOND).await);
    }
    it.clock.advance(MINUTE).await;
    let unclear = EndpointError::unavailable(503, None);
    it.desk.befall("fails", Misfortune::Fails(unclear));
    let caller = call(&it.fails);
    settle().await;
    it.desk.befall("fails", None);
    let waiting: Vec<_> = earlier.iter().map(call).collect();
    caller.await.unwrap().unwrap();
    // The pause is 2 s, and the exchange that is under way at its end goes on for a second.
    assert_eq!(it.desk.order(), ["fails", "0", "1", "fails", "2"]);
    served(waiting).await;
    it.desk.assert_unharmed();
}

/// A rotation that waits for another instance's lease, and one whose pair a callback saves, have no place.
#[tokio::test(start_paused = true)]
async fn what_is_not_an_exchange_holds_no_place() {
    let (clock, theirs, ours) = (TestClock::new(), Desk::closed(), Desk::open());
    let store = MemoryStore::with_clock(clock.clone());
    let their_store = store.clone();
    let other = theirs.sessions(&clock, 1, |builder| builder.store(their_store));
    let sessions = ours.sessions(&clock, 1, |builder| {
        let hangs = |key: evertoken::Key, _: TokenPair| async move {
            if key.tenant == "hangs" {
                std::future::pending::<()>().await;
            }
        };
        builder.store(store).on_rotated(hangs)
    });
    let leased = begun(&sessions, "leased", TTL).await;
    let hangs = begun(&sessions, "hangs", TTL).await;
    let next = begun(&sessions, "next", TTL).await;
    let elsewhere = rotate(&other.manager(leased.key().clone()));
    settle().await;
    let callers = [rotate(&leased), rotate(&hangs)];
    settle().await;
    let asked = Instant::now();
    next.rotate().await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    theirs.answer(1);
    elsewhere.await.unwrap().unwrap();
    served(callers).await;
    assert_eq!(ours.order(), ["hangs", "next"]);
}

/// After a long wait the record is read again before anything is leased.
#[tokio::test(start_paused = true)]
async fn a_session_that_another_instance_has_rotated_meanwhile_needs_no_exchange() {
    for wait in [SECOND, 10 * SECOND] {
        let (clock, ours, theirs) = (TestClock::new(), Desk::slow(wait), Desk::open());
        let store = MemoryStore::with_clock(clock.clone());
        let their_store = store.clone();
        let other = theirs.sessions(&clock, 1, |builder| builder.store(their_store));
        let sessions = ours.sessions(&clock, 1, |builder| builder.store(store));
        let busy = begun(&sessions, "busy", TTL).await;
        let tokens = begun(&sessions, "both", TTL).await;
        let busy = rotate(&busy);
        settle().await;
        let caller = rotate(&tokens);
        settle().await;
        let elsewhere = other.manager(tokens.key().clone());
        let theirs_is = elsewhere.rotate().await.unwrap().expose().to_owned();
        let asked = Instant::now();
        assert_eq!(caller.await.unwrap().unwrap().expose(), theirs_is);
        assert_eq!(asked.elapsed(), wait);
        served([busy]).await;
        assert_eq!((ours.order().len(), theirs.order().len()), (1, 1));
    }
}

/// What another instance did meanwhile is waited for without the place that was waited for.
#[tokio::test(start_paused = true)]
async fn a_rotation_that_finds_a_pause_or_a_lease_after_its_wait_gives_its_place_on() {
    for fails in [true, false] {
        let (clock, ours, theirs) = (TestClock::new(), Desk::slow(10 * SECOND), Desk::closed());
        let store = MemoryStore::with_clock(clock.clone());
        let their_store = store.clone();
        let other = theirs.sessions(&clock, 1, |builder| builder.store(their_store));
        let sessions = ours.sessions(&clock, 1, |builder| builder.store(store));
        let busy = begun(&sessions, "busy", TTL).await;
        let both = begun(&sessions, "both", MINUTE).await;
        let next = begun(&sessions, "next", TTL).await;
        clock.advance(MINUTE).await;
        let busy = rotate(&busy);
        settle().await;
        let waits = [call(&both), rotate(&next)];
        settle().await;
        if fails {
            let later = EndpointError::later(Some(20 * SECOND));
            theirs.befall("both", Misfortune::Fails(later));
        }
        let elsewhere = call(&other.manager(both.key().clone()));
        clock.advance(10 * SECOND).await;
        assert_eq!(ours.order(), ["busy", "next"]);
        theirs.befall("both", None);
        theirs.answer(2);
        served([busy, elsewhere].into_iter().chain(waits)).await;
        theirs.assert_unharmed();
    }
}

/// The callers of another runtime get an answer when the runtime of the rotations goes.
#[test]
fn n18_a_runtime_that_goes_answers_all_that_wait() {
    let desk = Desk::closed();
    let gone = Runtime::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (sessions, managers) = gone.block_on(async {
        let sessions = Sessions::builder(desk.clone()).exchanges_at_once(2);
        let sessions = sessions.build().unwrap();
        let mut managers = Vec::new();
        for number in 0..20 {
            managers.push(begun(&sessions, &number.to_string(), TTL).await);
        }
        (sessions, managers)
    });
    let stays = Runtime::new_current_thread().enable_all().build().unwrap();
    stays.block_on(async {
        let callers: Vec<_> = managers.iter().map(rotate).collect();
        while desk.inside() < 2 || !managers.iter().all(|it| it.status().is_rotating) {
            tokio::task::yield_now().await;
        }
        gone.shutdown_background();
        for error in failures(callers).await {
            assert!(matches!(error, Error::RuntimeGone), "{error:?}");
        }
        assert_eq!(desk.most(), 2);
        // A token that is valid is served all the same.
        managers[0].token().await.unwrap();
        assert!(call(&managers[0]).await.unwrap().is_ok());
    });
    drop(sessions);
}

#[tokio::test(start_paused = true)]
async fn no_place_at_all_is_refused() {
    let builder = Sessions::builder(Arc::new(Desk::open())).clock(TestClock::new());
    let error = builder.exchanges_at_once(0).build().unwrap_err();
    assert!(matches!(
        error,
        BuildError::Invalid {
            name: "exchanges_at_once",
            ..
        }
    ));
}
