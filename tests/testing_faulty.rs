//! The wrappers that fail as a test scripts them: each fault does what its documentation says, and each call is counted.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/records.rs"]
mod records;

use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::Swap;
use evertoken::testing::{
    AuthorizationServer, CallFault, EndpointCall, FaultyEndpoint, FaultyStore, StoreCall,
    TestClock, conformance,
};
use evertoken::{
    EndpointError, Error, Key, MemoryStore, StoreError, TokenEndpoint, TokenManager, TokenPair,
    TokenStore,
};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::records::{edited, entry, swapping};

const SECOND: Duration = Duration::from_secs(1);

/// A store with one record in it, which was written past the script.
async fn stored() -> (FaultyStore, Key, Record) {
    let server = AuthorizationServer::builder().build();
    let memory = MemoryStore::new();
    let tokens = TokenManager::builder(server.endpoint())
        .clock(TestClock::new())
        .store(memory.clone())
        .seed(server.issue())
        .build()
        .unwrap();
    tokens.token().await.unwrap();
    let key = tokens.key().clone();
    let store = FaultyStore::new(memory);
    let record = store.record(&key).await.unwrap().unwrap();
    (store, key, record)
}

/// The record of the same key, rotated.
fn later(record: &Record) -> Record {
    edited(record, |form| form["version"] = 7.into())
}

fn endpoint() -> (AuthorizationServer, FaultyEndpoint) {
    let server = AuthorizationServer::builder().sign_in(true).build();
    let endpoint = FaultyEndpoint::new(server.endpoint());
    (server, endpoint)
}

fn seeded(endpoint: &FaultyEndpoint, first: TokenPair) -> TokenManager {
    let builder = TokenManager::builder(endpoint.clone()).clock(TestClock::new());
    builder.seed(first).build().unwrap()
}

fn manager(endpoint: &FaultyEndpoint, server: &AuthorizationServer) -> TokenManager {
    seeded(endpoint, server.issue())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_a_scripted_fault_conforms() {
    let memory = MemoryStore::new();
    let open = async || FaultyStore::new(memory.clone());
    conformance::store(&open).await;
    conformance::searchable_store(&open).await;
    conformance::searchable_by_access_store(&open).await;
    conformance::searchable_by_upstream_store(&open).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_calls_of_a_kind_fail_and_no_other_call_does() {
    let (store, key, record) = stored().await;
    store.fail_next(StoreCall::Load, 2, CallFault::Fail);
    store.swap(&key, None, &record).await.unwrap();
    for _ in 0..2 {
        let error = store.load(&key).await.unwrap_err();
        assert_eq!(error.to_string(), "the store is down");
    }
    store.load(&key).await.unwrap();
    let kinds = [StoreCall::Load, StoreCall::Swap, StoreCall::Find];
    assert_eq!(kinds.map(|call| store.calls(call)), [3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn faults_are_met_in_the_order_in_which_they_were_scripted() {
    let (store, key, _) = stored().await;
    store.work_next(StoreCall::Load, 1);
    let full = CallFault::Error(|| StoreError::new("a full disk"));
    store.fail_next(StoreCall::Load, 1, full);
    store.fail_always(StoreCall::Load, Some(CallFault::Fail));
    let mut answers = Vec::new();
    for _ in 0..4 {
        let error = store.load(&key).await.err();
        answers.push(error.map(|error| error.to_string()));
    }
    let [full, down] = ["a full disk", "the store is down"].map(|text| Some(text.to_owned()));
    assert_eq!(answers, [None, full, down.clone(), down]);
    store.fail_always(StoreCall::Load, None);
    store.load(&key).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_swap_whose_answer_is_lost_is_applied_and_one_that_fails_is_not() {
    let (store, key, record) = stored().await;
    let seen = store.load(&key).await.unwrap().entry.map(|entry| entry.1);
    let next = later(&record);
    store.fail_next(StoreCall::Swap, 1, CallFault::Fail);
    store.fail_next(StoreCall::Swap, 1, CallFault::LoseAnswer);
    store.swap(&key, seen, &next).await.unwrap_err();
    assert_eq!(store.record(&key).await.unwrap().as_ref(), Some(&record));
    store.swap(&key, seen, &next).await.unwrap_err();
    assert_eq!(store.record(&key).await.unwrap().as_ref(), Some(&next));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_swap_is_applied_before_or_after_the_delay() {
    for (fault, is_applied_at_once) in [
        (CallFault::DelayBefore(SECOND), false),
        (CallFault::DelayAfter(SECOND), true),
    ] {
        let (store, key, record) = stored().await;
        let (_, seen) = entry(&store, &key).await.unwrap();
        let next = later(&record);
        store.fail_next(StoreCall::Swap, 1, fault);
        let start = Instant::now();
        let swapping = swapping(&store, seen, next.clone());
        store.called(StoreCall::Swap, 1).await;
        yield_now().await;
        let held = store.record(&key).await.unwrap().unwrap();
        assert_eq!(held == next, is_applied_at_once, "{fault:?}");
        let answer = swapping.await.unwrap().unwrap();
        assert!(matches!(answer, Swap::Swapped(_)), "{fault:?}");
        assert_eq!(start.elapsed(), SECOND, "{fault:?}");
        assert_eq!(store.record(&key).await.unwrap(), Some(next), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_swap_is_answered_once_it_is_released() {
    for (fault, is_applied_at_once) in
        [(CallFault::HangBefore, false), (CallFault::HangAfter, true)]
    {
        let (store, key, record) = stored().await;
        let (_, seen) = entry(&store, &key).await.unwrap();
        let next = later(&record);
        store.fail_next(StoreCall::Swap, 1, fault);
        let swapping = swapping(&store, seen, next.clone());
        tokio::time::sleep(100 * SECOND).await;
        assert!(!swapping.is_finished(), "{fault:?}");
        let held = store.record(&key).await.unwrap().unwrap();
        assert_eq!(held == next, is_applied_at_once, "{fault:?}");
        store.release();
        let answer = swapping.await.unwrap().unwrap();
        assert!(matches!(answer, Swap::Swapped(_)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_is_for_the_calls_that_hang_and_not_for_later_ones() {
    let (store, key, _) = stored().await;
    store.fail_always(StoreCall::Load, Some(CallFault::HangBefore));
    store.release();
    let loading = tokio::spawn(async move { store.load(&key).await });
    tokio::time::sleep(100 * SECOND).await;
    assert!(!loading.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hung_fails_where_the_store_is_down_by_then() {
    let (store, key, _) = stored().await;
    store.fail_next(StoreCall::Load, 1, CallFault::HangBefore);
    let loaded = store.clone();
    let loading = tokio::spawn(async move { loaded.load(&key).await });
    store.called(StoreCall::Load, 1).await;
    yield_now().await;
    store.set_down(true);
    store.release();
    assert!(loading.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_fails_every_call_that_has_an_error_and_notices_changes() {
    let (store, key, record) = stored().await;
    let digest = record.digest();
    store.set_down(true);
    store.load(&key).await.unwrap_err();
    store.swap(&key, None, &record).await.unwrap_err();
    store.find(&digest).await.unwrap_err();
    store.find_by_access(&digest).await.unwrap_err();
    store.find_by_upstream(&digest).await.unwrap_err();
    store.changed(&key, None).await;
    store.set_down(false);
    assert_eq!(store.find(&digest).await.unwrap(), Some(key));
}

#[tokio::test(start_paused = true)]
async fn a_scripted_change_comes_without_one() {
    let (store, key, _) = stored().await;
    let seen = store.load(&key).await.unwrap().entry.map(|entry| entry.1);
    store.fail_next(StoreCall::Changed, 1, CallFault::Fail);
    store.changed(&key, seen).await;
    let waiting = tokio::time::timeout(SECOND, store.changed(&key, seen)).await;
    assert!(waiting.is_err(), "the second call waits for a change");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_set_back_shows_the_earlier_record_under_a_new_revision() {
    let (store, key, first) = stored().await;
    let seen = store.load(&key).await.unwrap().entry.map(|entry| entry.1);
    store.swap(&key, seen, &later(&first)).await.unwrap();
    let swaps = store.calls(StoreCall::Swap);
    store.set_back(&key, &first).await.unwrap();
    let (record, revision) = store.load(&key).await.unwrap().entry.unwrap();
    assert_eq!(record, first);
    assert_ne!(Some(revision), seen);
    assert_eq!(store.calls(StoreCall::Swap), swaps);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_store_is_stepped_in_loads_and_in_timed_swaps() {
    let (store, key, record) = stored().await;
    let before = store.load(&key).await.unwrap().now;
    store.step_time(60 * SECOND);
    store.step_time_back(SECOND);
    let now = store.load(&key).await.unwrap().now;
    assert!(now.since(before) >= 59 * SECOND);
    assert_eq!(store.swap_timed(&key, None, &record).await.unwrap().1, None);
    store.set_swaps_timed(true);
    let timed = store.swap_timed(&key, None, &record).await.unwrap().1;
    assert!(timed.unwrap().since(before) >= 59 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn two_wrappers_of_one_store_fail_apart() {
    let memory = MemoryStore::new();
    let (one, other) = (FaultyStore::new(memory.clone()), FaultyStore::new(memory));
    one.set_down(true);
    let key = Key::new("https://id.example.org/token", "importer");
    one.load(&key).await.unwrap_err();
    other.load(&key).await.unwrap();
    assert_eq!(other.calls(StoreCall::Load), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_send_is_tried_again_and_one_that_loses_answers_is_not() {
    let (server, endpoint) = endpoint();
    let first = TokenPair::from_refresh_token(server.issue().refresh.unwrap());
    let tokens = seeded(&endpoint, first);
    endpoint.fail_next(EndpointCall::Refresh, 3, CallFault::Fail);
    tokens.token().await.unwrap();
    assert_eq!(endpoint.calls(EndpointCall::Refresh), 4);
    assert_eq!(server.exchanges(), 1);
    endpoint.fail_next(EndpointCall::Refresh, 1, CallFault::LoseAnswer);
    // The endpoint can sign in, so a new session replaces the one whose answer was lost.
    tokens.rotate().await.unwrap();
    assert_eq!(endpoint.calls(EndpointCall::Refresh), 5);
    assert_eq!(endpoint.calls(EndpointCall::SignIn), 1);
    assert_eq!(server.replays(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_scripted_refusal_ends_the_session_as_one_of_the_server_does() {
    let server = AuthorizationServer::builder().build();
    let endpoint = FaultyEndpoint::new(server.endpoint());
    let tokens = manager(&endpoint, &server);
    let rejected = CallFault::Error(|| EndpointError::rejected("invalid_grant"));
    endpoint.fail_always(EndpointCall::Refresh, Some(rejected));
    let error = tokens.rotate().await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    assert_eq!(server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_sends_no_grant_and_no_revocation() {
    let (server, endpoint) = endpoint();
    let tokens = manager(&endpoint, &server);
    tokens.token().await.unwrap();
    endpoint.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    assert!(endpoint.calls(EndpointCall::Revoke) > 0);
    assert_eq!(server.revocations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_scripted_panic_is_a_panic_of_its_own_call_alone() {
    let (_, endpoint) = endpoint();
    use EndpointCall::{CanSignIn, FirstPair, Key, Profile, Timeout};
    for call in [FirstPair, CanSignIn, Profile, Timeout, Key] {
        endpoint.fail_next(call, 1, CallFault::PanicBefore);
        let called = || {
            let one = endpoint.clone();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || match call {
                FirstPair => drop(one.first_pair()),
                CanSignIn => _ = one.can_sign_in(),
                Profile => _ = one.profile(),
                Timeout => _ = one.timeout(),
                _ => drop(one.key()),
            }))
        };
        assert!(called().is_err(), "{call:?}");
        assert!(called().is_ok(), "{call:?}");
        assert_eq!(endpoint.calls(call), 2, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_swap_that_panics_is_applied_before_the_panic_or_not_at_all() {
    for (fault, is_applied) in [
        (CallFault::PanicBefore, false),
        (CallFault::PanicAfter, true),
    ] {
        let (store, key, record) = stored().await;
        let (_, seen) = entry(&store, &key).await.unwrap();
        let next = later(&record);
        store.fail_next(StoreCall::Swap, 1, fault);
        let panicked = swapping(&store, seen, next.clone());
        assert!(panicked.await.unwrap_err().is_panic(), "{fault:?}");
        let held = store.record(&key).await.unwrap().unwrap();
        assert_eq!(held == next, is_applied, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_wrapper_shows_a_token() {
    let (store, _, record) = stored().await;
    let access = serde_json::to_value(&record).unwrap()["pair"]["access_token"].clone();
    let shown = format!("{store:?}");
    assert!(shown.starts_with("FaultyStore("), "{shown}");
    assert!(!shown.contains(access.as_str().unwrap()));
}
