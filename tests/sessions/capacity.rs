//! More sessions than places at the token endpoint: which of them is next, and what its callers see meanwhile.

use std::time::Duration;

use evertoken::testing::{FaultyStore, TestClock};
use evertoken::{
    Builder, Error, MemoryStore, OptimisticEarly, Rejection, Sessions, TokenManager, TokenStore,
};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::desk::{Desk, begun};
use crate::support::{Caller, MINUTE, SECOND, TTL, call, rotate, served, settle, text};

/// A rotation of each manager, in this order.
async fn rotations(managers: &[TokenManager]) -> Vec<Caller> {
    let mut callers = Vec::new();
    for tokens in managers {
        callers.push(rotate(tokens));
        settle().await;
    }
    callers
}

/// Sessions with these names, whose tokens live for this many minutes.
async fn living(sessions: &Sessions, lives: &[(&str, u32)]) -> Vec<TokenManager> {
    let mut managers = Vec::new();
    for (name, minutes) in lives {
        managers.push(begun(sessions, name, MINUTE * *minutes).await);
    }
    managers
}

/// Lets the endpoint answer one exchange after the other.
async fn answered(desk: &Desk, callers: Vec<Caller>) {
    for _ in &callers {
        desk.answer(1);
        settle().await;
    }
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn n18_different_sessions_rotate_in_parallel_and_at_capacity_the_one_that_expires_soonest_goes()
 {
    let (clock, desk) = (TestClock::new(), Desk::closed());
    let sessions = desk.sessions(&clock, 2, |builder| builder);
    let lives = [
        ("a", 90),
        ("b", 80),
        ("c", 30),
        ("d", 10),
        ("e", 50),
        ("f", 20),
    ];
    let managers = living(&sessions, &lives).await;
    let callers = rotations(&managers).await;
    assert_eq!((desk.inside(), desk.order().join("")), (2, "ab".into()));
    answered(&desk, callers).await;
    assert_eq!(desk.order().join(""), "abdfce");
    assert_eq!(desk.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn n18_expired_sessions_go_first_in_the_order_of_their_expiry() {
    let (clock, desk) = (TestClock::new(), Desk::closed());
    let sessions = desk.sessions(&clock, 1, |builder| builder);
    let lives = [
        ("x", 90),
        ("valid", 40),
        ("second", 9),
        ("first", 3),
        ("third", 29),
    ];
    let managers = living(&sessions, &lives).await;
    clock.advance(30 * MINUTE).await;
    let callers = rotations(&managers).await;
    answered(&desk, callers).await;
    assert_eq!(desk.order(), ["x", "first", "second", "third", "valid"]);
}

/// They are behind what has expired before they came, and before what expires after that.
#[tokio::test(start_paused = true)]
async fn n18_a_sign_in_and_an_unknown_expiry_count_as_expired_now() {
    let (clock, desk) = (TestClock::new(), Desk::closed().signing_in());
    let sessions = desk.sessions(&clock, 1, |builder| builder);
    let mut managers = living(&sessions, &[("x", 90), ("valid", 40)]).await;
    managers.push(begun(&sessions, "unknown", None).await);
    managers.push(sessions.manager(sessions.key().tenant("new")));
    managers.push(begun(&sessions, "expired", MINUTE).await);
    clock.advance(2 * MINUTE).await;
    let callers = rotations(&managers).await;
    answered(&desk, callers).await;
    let order = ["x", "expired", "unknown", "sign-in", "valid"];
    assert_eq!(desk.order(), order);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_token_an_api_rejects_while_it_waits_moves_up() {
    let (clock, desk) = (TestClock::new(), Desk::closed());
    let sessions = desk.sessions(&clock, 1, |builder| builder);
    let lives = [("x", 90), ("soon", 5), ("rejected", 60)];
    let managers = living(&sessions, &lives).await;
    let callers = rotations(&managers).await;
    let token = managers[2].try_token().unwrap();
    assert_eq!(managers[2].reject(&token), Rejection::Rotating);
    settle().await;
    answered(&desk, callers).await;
    assert_eq!(desk.order(), ["x", "rejected", "soon"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_a_place_serves_its_token_while_that_is_valid() {
    let (clock, desk) = (TestClock::new(), Desk::slow(10 * SECOND));
    let sessions = desk.sessions(&clock, 1, |builder| builder);
    let tokens = begun(&sessions, "waits", TTL).await;
    let busy = living(&sessions, &[("1", 1), ("2", 2)]).await;
    clock.advance(TTL - 6 * SECOND).await;
    let busy = rotations(&busy).await;
    // So near its expiry, a caller waits for a rotation that is at work. It does not wait for a place.
    for _ in 0..3 {
        let asked = Instant::now();
        let token = tokens.token().await.unwrap();
        assert_eq!(token.expose(), "a waits 1");
        assert_eq!(asked.elapsed(), Duration::ZERO);
        assert!(tokens.status().is_rotating);
        settle().await;
    }
    clock.advance(6 * SECOND).await;
    let asked = Instant::now();
    assert_eq!(text(&tokens.token().await), "a waits 2");
    assert_eq!(asked.elapsed(), 24 * SECOND);
    served(busy).await;
    assert_eq!(desk.order(), ["1", "2", "waits"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_a_valid_token_waits_for_a_place_until_its_own_deadline() {
    let (clock, desk) = (TestClock::new(), Desk::slow(15 * SECOND));
    let sessions = desk.sessions(&clock, 1, |builder| builder);
    let managers = living(&sessions, &[("1", 1), ("2", 2), ("3", 3), ("4", 4)]).await;
    clock.advance(5 * MINUTE).await;
    let asked = Instant::now();
    let callers: Vec<_> = managers.iter().map(call).collect();
    let answers = join_all(callers).await;
    assert_eq!(asked.elapsed(), 35 * SECOND);
    for (at, answer) in answers.into_iter().map(Result::unwrap).enumerate() {
        let is_late = matches!(answer, Err(Error::TimedOut { .. }));
        assert_eq!((answer.is_ok(), is_late), (at < 2, at >= 2), "{answer:?}");
    }
    // Their rotations keep their places in the queue.
    clock.advance(25 * SECOND).await;
    let tokens = managers.iter().map(|tokens| tokens.try_token().unwrap());
    let tokens: Vec<_> = tokens.map(|token| token.expose().to_owned()).collect();
    assert_eq!(tokens, ["a 1 2", "a 2 2", "a 3 2", "a 4 2"]);
    assert_eq!(desk.order(), ["1", "2", "3", "4"]);
}

/// The send window of a lease, 35 s here, would otherwise be used up in the queue. The store's clock is read again after the
/// wait.
#[tokio::test(start_paused = true)]
async fn a_rotation_leases_its_token_after_the_wait_for_a_place() {
    let (clock, desk) = (TestClock::new(), Desk::slow(15 * SECOND));
    let store = FaultyStore::new(MemoryStore::with_clock(clock.clone()));
    store.set_swaps_timed(false);
    let shared = store.clone();
    let patient = |builder: Builder<Sessions>| builder.wait(10 * MINUTE);
    let sessions = desk.sessions(&clock, 1, |builder| patient(builder).store(shared));
    let tokens = begun(&sessions, "waits", TTL).await;
    let lives = [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6", 6)];
    let busy = living(&sessions, &lives).await;
    let busy = rotations(&busy).await;
    let waits = rotate(&tokens);
    let lease = || async {
        let loaded = store.load(tokens.key()).await.unwrap();
        let record = serde_json::to_value(loaded.entry.unwrap().0).unwrap();
        (
            record["lease"].clone(),
            serde_json::to_value(loaded.now).unwrap(),
        )
    };
    for _ in 0..89 {
        assert!(lease().await.0.is_null());
        clock.advance(SECOND).await;
    }
    store.step_time(10 * MINUTE);
    clock.advance(SECOND).await;
    let (lease, now) = lease().await;
    assert_eq!(lease["since"], now);
    served(busy.into_iter().chain([waits])).await;
    assert_eq!(desk.order().len(), 7);
}

/// Where managers are made for a request, an early rotation would otherwise never have its turn.
#[tokio::test(start_paused = true)]
async fn a_rotation_that_waits_for_a_place_goes_on_without_a_manager() {
    let (clock, desk) = (TestClock::new(), Desk::slow(10 * SECOND));
    let early = OptimisticEarly::default().window(5 * MINUTE);
    let sessions = desk.sessions(&clock, 1, |builder| builder.strategy(early));
    let left = begun(&sessions, "left", TTL).await;
    let busy = living(&sessions, &[("1", 1), ("2", 2)]).await;
    clock.advance(6 * MINUTE).await;
    let callers = rotations(&busy).await;
    drop(busy);
    assert_eq!(left.token().await.unwrap().expose(), "a left 1");
    let key = left.key().clone();
    drop(left);
    settle().await;
    assert_eq!(sessions.in_memory(), 3);
    served(callers).await;
    assert_eq!(sessions.in_memory(), 1);
    clock.advance(10 * SECOND).await;
    assert_eq!(sessions.in_memory(), 0);
    let token = sessions.manager(key).token().await.unwrap();
    assert_eq!(token.expose(), "a left 2");
    assert_eq!(desk.order(), ["1", "2", "left"]);
}
