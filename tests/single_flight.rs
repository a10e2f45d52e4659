//! However many callers there are and whatever becomes of them: one rotation, and an answer for each.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{Fault, InProcessEndpoint};
use evertoken::{
    BackgroundTimer, Coordination, EndpointError, Error, Grant, Issued, Key, MemoryStore, OldPair,
    OnRequest, OptimisticEarly, Record, Rejection, ServerProfile, StoreError, TokenEndpoint,
    TokenManager, TokenStore, async_trait,
};
use parking_lot::Mutex;
use support::{
    HOUR, Hooked, MINUTE, SECOND, SlowStore, World, call, callers, drain, ended, failed, later,
    loaded, rotate, rotated, settle, text,
};

async fn expired(world: &World) -> TokenManager {
    let tokens = world.manager(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    tokens
}

/// Two tasks with one expired pair make one call, and both get pair 2.
#[tokio::test(start_paused = true)]
async fn n1_two_tasks_with_one_expired_pair_make_one_call_and_both_get_pair_2() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(2 * SECOND));
    let tokens = expired(&world).await;
    let (one, two) = tokio::join!(tokens.token(), tokens.token());
    assert_eq!(text(&one), text(&two));
    assert!(world.is_live(&one.unwrap()));
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tasks_on_an_expired_token_make_one_exchange_and_all_wake() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(2 * SECOND));
    let tokens = expired(&world).await;
    let callers = callers(&tokens, 10_000);
    let start = world.clock.now();
    let mut texts = HashMap::new();
    for caller in callers {
        let token = caller.await.unwrap();
        *texts.entry(text(&token).to_owned()).or_insert(0) += 1;
    }
    assert_eq!(texts.into_values().collect::<Vec<_>>(), [10_000]);
    assert_eq!(world.clock.now().since(start), 2 * SECOND);
    world.assert_exchanges(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_tasks_on_several_threads_make_one_exchange_and_all_wake() {
    let world = World::new(600 * SECOND);
    let tokens = world.manager(OnRequest::default()).await;
    let hold = world.server.hold();
    world.clock.suspend(HOUR);
    let callers = callers(&tokens, 10_000);
    world.server.arrived(1).await;
    drop(hold);
    let mut texts = HashMap::new();
    for caller in callers {
        let token = caller.await.unwrap();
        *texts.entry(text(&token).to_owned()).or_insert(0) += 1;
    }
    assert_eq!(texts.into_values().collect::<Vec<_>>(), [10_000]);
    world.assert_exchanges(1);
}

/// Callers that come during a rotation do not start another.
#[tokio::test(start_paused = true)]
async fn n12_callers_that_queue_during_a_rotation_do_not_start_another() {
    let world = World::new(600 * SECOND);
    let tokens = expired(&world).await;
    let mut events = tokens.subscribe();
    let hold = world.server.hold();
    let mut waiting = callers(&tokens, 1);
    world.server.arrived(1).await;
    for _ in 0..20 {
        waiting.extend(callers(&tokens, 10));
        world.clock.advance(SECOND).await;
        // These ask for a rotation outright, and join it.
        waiting.push(rotate(&tokens));
    }
    settle().await;
    drop(hold);
    let mut versions = Vec::new();
    for caller in waiting {
        versions.push(caller.await.unwrap().unwrap().pair_id().version);
    }
    versions.dedup();
    assert_eq!(versions, [2]);
    world.assert_exchanges(1);
    assert_eq!(rotated(&drain(&mut events)), 1);
}

/// 64 workers that cross the expiry cause one refresh, without a failure.
#[tokio::test(start_paused = true)]
async fn i10_64_workers_that_cross_the_expiry_cause_one_refresh_and_have_no_failure() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(3 * SECOND));
    let tokens = Arc::new(world.manager(OnRequest::default()).await);
    let world = Arc::new(world);
    world.clock.advance(580 * SECOND).await;
    let workers: Vec<_> = (0..64_u32)
        .map(|worker| {
            let (world, tokens) = (world.clone(), tokens.clone());
            tokio::spawn(async move {
                tokio::time::sleep(worker * SECOND / 64).await;
                for _ in 0..40 {
                    let token = tokens.token().await.unwrap();
                    assert!(world.is_live(&token));
                    tokio::time::sleep(SECOND).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    world.assert_exchanges(1);
}

/// A rotation of 37 s: 4 s for each call of the store and 25 s for the server.
fn slow(world: &World, delays: &Arc<AtomicBool>) -> SlowStore {
    let pause = || {
        let delays = delays.clone();
        move || {
            let delay = delays.load(Ordering::SeqCst);
            async move {
                if delay {
                    tokio::time::sleep(4 * SECOND).await;
                }
            }
        }
    };
    SlowStore::new(world.store.clone())
        .after_load(pause())
        .before_swap(pause())
}

/// A waiter whose deadline passes gets a typed error, and the rotation goes on.
#[tokio::test(start_paused = true)]
async fn n6_a_waiter_whose_deadline_passes_gets_a_typed_error_and_the_rotation_goes_on() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(25 * SECOND));
    let delays = Arc::<AtomicBool>::default();
    let tokens = loaded(
        world
            .builder(OnRequest::default())
            .store(slow(&world, &delays))
            .wait(31 * SECOND),
    )
    .await;
    delays.store(true, Ordering::SeqCst);
    world.clock.advance(600 * SECOND).await;
    let start = world.clock.now();
    let leader = call(&tokens);
    world.clock.advance(20 * SECOND).await;
    let second = call(&tokens);
    let error = leader.await.unwrap().unwrap_err();
    assert_eq!(world.clock.now().since(start), 31 * SECOND);
    assert!(matches!(error, Error::TimedOut { after, .. } if after == 31 * SECOND));
    assert!(error.is_retryable() && !error.needs_sign_in());
    // Whoever came later has a deadline of his own.
    assert!(world.is_live(&second.await.unwrap().unwrap()));
    assert_eq!(world.clock.now().since(start), 37 * SECOND);
    world.assert_exchanges(1);
}

/// A waiter whose deadline passes gets the token that is still valid.
#[tokio::test(start_paused = true)]
async fn n6_a_waiter_whose_deadline_passes_gets_the_token_that_is_still_valid() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(25 * SECOND));
    let delays = Arc::<AtomicBool>::default();
    // The old token is said to die with the rotation, so a newer one is waited for as long as there is time.
    let profile = ServerProfile::strict().old_pair(OldPair::AccessDiesAtRotation);
    let endpoint = world.server.endpoint().with_profile(profile);
    let tokens = loaded(
        world
            .builder_at(endpoint, BackgroundTimer::default())
            .store(slow(&world, &delays))
            .wait(31 * SECOND),
    )
    .await;
    let first = tokens.token().await.unwrap();
    delays.store(true, Ordering::SeqCst);
    world.clock.advance(480 * SECOND).await;
    let start = world.clock.now();
    let answer = tokens.token().await;
    assert_eq!(world.clock.now().since(start), 31 * SECOND);
    assert_eq!(text(&answer), first.expose());
    assert!(world.is_live(&answer.unwrap()));
    world.clock.advance(6 * SECOND).await;
    assert_ne!(text(&tokens.token().await), first.expose());
    world.assert_exchanges(1);
}

/// A rotation commits although the caller that began it and all others have gone.
#[tokio::test(start_paused = true)]
async fn fm12_a_rotation_commits_although_every_caller_has_gone() {
    let world = World::new(600 * SECOND);
    let tokens = expired(&world).await;
    let hold = world.server.hold();
    let callers = callers(&tokens, 20);
    world.server.arrived(1).await;
    for caller in &callers {
        caller.abort();
    }
    for caller in callers {
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    drop(hold);
    settle().await;
    let start = world.clock.now();
    let second = tokens.token().await.unwrap();
    assert_eq!(world.clock.now(), start);
    assert_eq!(second.pair_id().version, 2);
    assert!(world.is_live(&second));
    world.assert_exchanges(1);
}

/// A caller that leaves at any moment of a rotation does not stop the rotation.
#[tokio::test(start_paused = true)]
async fn fm12_a_caller_that_leaves_at_any_moment_does_not_stop_the_rotation() {
    // Each step of the rotation takes a moment of its own; the caller leaves in each of them.
    for leaves_at in 0..12 {
        let world = World::with(|server| server.access_ttl(600 * SECOND).latency(4 * SECOND));
        let delays = Arc::<AtomicBool>::default();
        let tokens = loaded(
            world
                .builder(OnRequest::default())
                .store(slow(&world, &delays)),
        )
        .await;
        delays.store(true, Ordering::SeqCst);
        world.clock.advance(600 * SECOND).await;
        let answer = tokio::time::timeout(leaves_at * SECOND, tokens.token()).await;
        assert!(answer.is_err());
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_exchanges(1);
    }
}

/// A pair is stored although the last handle is dropped during the rotation.
#[tokio::test(start_paused = true)]
async fn fm12_a_pair_is_stored_although_the_last_handle_goes_during_the_rotation() {
    let world = World::new(600 * SECOND);
    let build = || world.shared(OnRequest::default());
    let tokens = loaded(build()).await;
    world.clock.advance(600 * SECOND).await;
    let (hold, caller) = world.call_in_flight(&tokens).await;
    caller.abort();
    drop((caller, tokens));
    settle().await;
    drop(hold);
    settle().await;
    // A process that starts anew finds pair 2.
    let tokens = build().build().unwrap();
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
    assert_eq!(token.pair_id().version, 2);
    world.assert_exchanges(1);
}

/// Refused in the server's own words, with nothing rotated.
fn client_refused() -> Fault {
    Fault::Status {
        status: 401,
        body: r#"{"error":"invalid_client"}"#.to_owned(),
        retry_after: None,
    }
}

/// One failed call is the answer for 100 callers, and for all that come during the pause.
#[tokio::test(start_paused = true)]
async fn fm25_one_failed_call_is_the_answer_for_100_callers_and_all_later_ones_in_the_pause() {
    let world = World::new(600 * SECOND);
    // Nothing was ever issued to this client here, so that no caller waits for the next attempt.
    let tokens = expired(&world).await;
    let mut events = tokens.subscribe();
    world.server.fail_always(Some(client_refused()));
    for caller in callers(&tokens, 100) {
        let error = caller.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Endpoint { .. }), "{error}");
        assert!(!error.needs_sign_in());
    }
    world.assert_exchanges(1);
    for _ in 0..19 {
        world.clock.advance(SECOND / 10).await;
        for caller in callers(&tokens, 10) {
            assert!(caller.await.unwrap().is_err());
        }
        assert!(tokens.rotate().await.is_err());
        assert!(tokens.try_token().is_err());
    }
    world.assert_exchanges(1);
    assert_eq!(failed(&drain(&mut events)), 1);
    // An hour of a request a second: 2, 4, .. 32 s, then once a minute.
    for _ in 0..3_600 {
        assert!(tokens.token().await.is_err());
        world.clock.advance(SECOND).await;
    }
    world.assert_exchanges(6 + 58);
    world.server.fail_always(None);
    world.clock.advance(MINUTE).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(ended(&drain(&mut events)), 0);
}

/// Callers wait through a failure that passes; one call is made for all of them per pause.
#[tokio::test(start_paused = true)]
async fn fm25_callers_wait_through_a_failure_that_passes_and_one_call_a_pause_is_made_for_all() {
    for fault in [later(None), client_refused()] {
        let world = World::new(600 * SECOND);
        let tokens = world.manager(OnRequest::default()).await;
        tokens.rotate().await.unwrap();
        world.clock.advance(600 * SECOND).await;
        let mut events = tokens.subscribe();
        world.server.fail_always(Some(fault.clone()));
        let mut waiting = callers(&tokens, 100);
        settle().await;
        for _ in 0..19 {
            world.assert_exchanges(1 + 1);
            waiting.extend(callers(&tokens, 10));
            assert!(
                tokens
                    .try_token()
                    .is_err_and(|error| error.endpoint().is_some())
            );
            world.clock.advance(SECOND / 10).await;
        }
        assert_eq!(failed(&drain(&mut events)), 1);
        assert!(waiting.iter().all(|caller| !caller.is_finished()));
        world.server.fail_always(None);
        for caller in waiting {
            assert!(world.is_live(&caller.await.unwrap().unwrap()));
        }
        world.assert_exchanges(1 + 2);
        assert_eq!(
            (failed(&drain(&mut events)), tokens.status().end),
            (0, None)
        );
    }
}

/// Rejections of one token that come one after the other cost one rotation.
#[tokio::test(start_paused = true)]
async fn fm13_fm33_staggered_rejections_of_one_token_cost_one_rotation() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(2 * SECOND));
    let tokens = world.manager(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..64 {
        seen.push(tokens.reject(&first));
        world.clock.advance(SECOND / 10).await;
    }
    assert_eq!(seen[0], Rejection::Rotating);
    assert_eq!(seen[19], Rejection::Rotating);
    assert!(seen[21..].iter().all(|one| *one == Rejection::Outdated));
    let second = tokens.token().await.unwrap();
    assert_eq!(second.pair_id().version, 2);
    world.assert_exchanges(1);
    // Hours later a straggler comes with it.
    world.clock.advance(500 * SECOND).await;
    assert_eq!(tokens.reject(&first), Rejection::Outdated);
    assert_eq!(text(&tokens.token().await), second.expose());
    world.assert_exchanges(1);
}

/// A rejected token is not served again, and every caller waits for the next.
#[tokio::test(start_paused = true)]
async fn fm13_a_rejected_token_is_not_served_again_and_every_caller_waits_for_the_next() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(2 * SECOND));
    let tokens = world.manager(OptimisticEarly::default()).await;
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&first), Rejection::Rotating);
    assert!(matches!(tokens.try_token(), Err(Error::Pending)));
    for caller in callers(&tokens, 10) {
        assert_eq!(caller.await.unwrap().unwrap().pair_id().version, 2);
    }
    world.assert_exchanges(1);
}

/// A valid token is served to its end, whichever failure an early rotation meets.
#[tokio::test(start_paused = true)]
async fn fm14_a_valid_token_is_served_to_its_end_whatever_an_early_rotation_meets() {
    let faults = [
        Some(later(None)),
        Some(Fault::status(500)),
        Some(Fault::DropBefore),
        Some(Fault::DropAfter),
        Some(Fault::Truncate),
        Some(Fault::DelayBefore(HOUR)),
        Some(Fault::Status {
            status: 400,
            body: r#"{"error":"invalid_scope"}"#.to_owned(),
            retry_after: None,
        }),
        // invalid_grant, from a server that thinks nothing else of it.
        Some(Fault::Status {
            status: 400,
            body: r#"{"error":"invalid_grant"}"#.to_owned(),
            retry_after: None,
        }),
        None,
    ];
    for fault in faults {
        let world = World::new(600 * SECOND);
        let tokens = world.manager(OptimisticEarly::default()).await;
        let first = tokens.token().await.unwrap();
        world.clock.advance(540 * SECOND).await;
        if fault.is_none() {
            world.server.set_reachable(false);
        }
        world.server.fail_always(fault.clone());
        for at in 540..600 {
            let start = world.clock.now();
            let answer = tokens.token().await;
            assert_eq!(text(&answer), first.expose(), "{fault:?} at {at} s");
            assert_eq!(tokens.try_token().unwrap().expose(), first.expose());
            assert_eq!(world.clock.now(), start, "{fault:?} at {at} s");
            world.clock.advance(SECOND).await;
        }
    }
}

/// Notes which refresh token was issued with which access token.
#[derive(Debug)]
struct Noting {
    inner: InProcessEndpoint,
    issued: Issues,
}

type Issues = Arc<Mutex<HashMap<String, String>>>;

#[async_trait]
impl TokenEndpoint for Noting {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let issued = self.inner.exchange(grant).await?;
        note(
            &self.issued,
            issued.access.as_ref(),
            issued.refresh.as_ref(),
        );
        Ok(issued)
    }

    fn profile(&self) -> ServerProfile {
        self.inner.profile()
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}

fn note(
    issues: &Issues,
    access: Option<&evertoken::AccessToken>,
    refresh: Option<&evertoken::RefreshToken>,
) {
    let (access, refresh) = (access.unwrap().expose(), refresh.unwrap().expose());
    issues.lock().insert(access.to_owned(), refresh.to_owned());
}

/// The version of a record; its two tokens must have been issued together.
fn version_of_matched(record: &Record, issues: &Issues) -> u64 {
    let record = serde_json::to_value(record).unwrap();
    let access = record["pair"]["access_token"].as_str().unwrap();
    let refresh = record["pair"]["refresh_token"].as_str().unwrap();
    assert_eq!(issues.lock().get(access).unwrap(), refresh, "torn pair");
    record["version"].as_u64().unwrap()
}

/// Looks at every record that is read or written.
#[derive(Debug, Clone)]
struct Inspected {
    inner: MemoryStore,
    issues: Issues,
}

#[async_trait]
impl TokenStore for Inspected {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let loaded = self.inner.load(key).await?;
        if let Some((record, _)) = &loaded.entry {
            version_of_matched(record, &self.issues);
        }
        Ok(loaded)
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        version_of_matched(next, &self.issues);
        self.inner.swap(key, seen, next).await
    }
}

/// No reader on any thread sees a new access token with an old refresh token.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t1_no_reader_on_any_thread_sees_a_new_access_token_with_an_old_refresh_token() {
    const ROTATIONS: u64 = 200;
    let world = World::new(600 * SECOND);
    let issues = Issues::default();
    note(
        &issues,
        world.first.access.as_ref(),
        world.first.refresh.as_ref(),
    );
    let store = Inspected {
        inner: world.store.clone(),
        issues: issues.clone(),
    };
    let endpoint = Noting {
        inner: world.server.endpoint(),
        issued: issues.clone(),
    };
    let tokens = loaded(
        world
            .builder_at(endpoint, OnRequest::default())
            .store(store.clone()),
    )
    .await;
    let texts = Arc::<Mutex<HashMap<u64, String>>>::default();
    let stop = Arc::<AtomicBool>::default();
    let readers: Vec<_> = (0..16)
        .map(|reader| {
            let (tokens, store, issues) = (tokens.clone(), store.clone(), issues.clone());
            let (texts, stop) = (texts.clone(), stop.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while !stop.load(Ordering::SeqCst) {
                    let token = match reader % 2 {
                        0 => tokens.token().await.unwrap(),
                        _ => tokens.try_token().unwrap(),
                    };
                    let version = token.pair_id().version;
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                    let known = {
                        let mut texts = texts.lock();
                        let own = || token.expose().to_owned();
                        texts.entry(version).or_insert_with(own).clone()
                    };
                    assert_eq!(known, token.expose(), "two tokens of one pair id");
                    // What can be read is stored.
                    let entry = store.inner.load(tokens.key()).await.unwrap().entry;
                    let (record, _) = entry.unwrap();
                    assert!(version_of_matched(&record, &issues) >= version);
                    tokio::task::yield_now().await;
                }
                last
            })
        })
        .collect();
    for version in 2..=ROTATIONS + 1 {
        let token = tokens.rotate().await.unwrap();
        assert_eq!(token.pair_id().version, version);
        assert_eq!(tokens.token().await.unwrap().pair_id(), token.pair_id());
    }
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    world.assert_exchanges(ROTATIONS);
}

#[tokio::test(start_paused = true)]
async fn rotate_called_by_many_at_once_is_one_exchange_and_one_after_the_other_is_one_each() {
    // Without leases, nothing but the flight itself keeps them together.
    for coordination in [Coordination::Lease, Coordination::None] {
        let world = World::new(600 * SECOND);
        let endpoint = Hooked::new(world.server.endpoint());
        let builder = world.builder_at(endpoint.clone(), OnRequest::default());
        let tokens = loaded(builder.coordination(coordination)).await;
        let at_once: Vec<_> = (0..100).map(|_| rotate(&tokens)).collect();
        for caller in at_once {
            assert_eq!(caller.await.unwrap().unwrap().pair_id().version, 2);
        }
        world.assert_exchanges(1);
        for version in 3..6 {
            assert_eq!(tokens.rotate().await.unwrap().pair_id().version, version);
        }
        world.assert_exchanges(4);
        assert_eq!(endpoint.calls(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn one_instance_without_leases_makes_one_exchange_for_all_its_callers() {
    let world = World::with(|server| server.access_ttl(600 * SECOND).latency(2 * SECOND));
    let builder = world.builder(OnRequest::default());
    let tokens = loaded(builder.coordination(Coordination::None)).await;
    world.clock.advance(600 * SECOND).await;
    for caller in callers(&tokens, 1_000) {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_during_a_rotation_lets_no_other_instance_spend_the_token() {
    let world = World::new(600 * SECOND);
    let build = || world.shared(OnRequest::default());
    let (one, two) = (loaded(build()).await, loaded(build()).await);
    world.clock.advance(600 * SECOND).await;
    let (hold, one) = world.call_in_flight(&one).await;
    world.clock.step_wall(Duration::from_secs(300));
    let two = call(&two);
    world.clock.advance(SECOND).await;
    world.assert_exchanges(1);
    drop(hold);
    assert_eq!(text(&one.await.unwrap()), text(&two.await.unwrap()));
    world.assert_exchanges(1);
}

/// A caller that comes while the token is valid gets that token when the rotation takes longer.
#[tokio::test(start_paused = true)]
async fn n6_a_caller_in_the_leeway_gets_the_valid_token_when_the_rotation_is_slow() {
    // In the leeway, and the endpoint hangs: the token is valid for 8 s more, the rotation takes 20.
    let world = World::new(600 * SECOND);
    let tokens = world.manager(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    world.server.fail_next(Fault::Delay(20 * SECOND));
    world.clock.advance(592 * SECOND).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    // It is served for 7 s more.
    let half = asked.elapsed().as_millis();
    assert_eq!(half, 3_500, "half of what was left");
    // Who comes without one waits for the rotation to its end.
    world.clock.advance(5 * SECOND).await;
    assert_ne!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    assert_eq!((world.server.exchanges(), world.server.replays()), (1, 0));
}
