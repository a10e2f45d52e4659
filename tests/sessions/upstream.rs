//! Logouts that an OpenID provider sends (OpenID Connect Back-Channel Logout 1.0): by session, by user, and by both.

use std::io;
use std::sync::Arc;

use evertoken::testing::{
    CallFault, EndpointCall, FaultyEndpoint, FaultyStore, StoreCall, TestClock,
};
use evertoken::{
    EndReason, EndWhereError, Error, FileStore, Key, MemoryStore, OnRequest, SessionId, Sessions,
    TokenPair, TokenStore, Upstream,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::searchless::Searchless;
use crate::support::{MINUTE, SECOND, TTL, World, call, end_of, settle};

type Ended = Result<usize, EndWhereError>;

/// Instances of one service over one store, at a strict server.
struct Site {
    world: World<FaultyStore>,
    endpoint: FaultyEndpoint,
    sessions: Sessions,
}

impl Site {
    fn new() -> Self {
        let world = World::new(TTL).with_store(FaultyStore::new);
        let endpoint = FaultyEndpoint::new(world.endpoint());
        let sessions = instance(&world, endpoint.clone(), world.store.clone());
        Self {
            world,
            endpoint,
            sessions,
        }
    }

    /// Another process with the same store.
    fn another(&self) -> Sessions {
        instance(&self.world, self.endpoint.clone(), self.world.store.clone())
    }

    async fn signed_in(&self, sid: &str, subject: &str) -> (SessionId, TokenPair) {
        let pair = self.world.server.issue();
        let signing_in = self.sessions.sign_in(pair.clone());
        (signing_in.upstream(sid, subject).await.unwrap(), pair)
    }

    fn key(&self, id: &SessionId) -> Key {
        self.sessions.open(id).key().clone()
    }

    async fn end(&self, sid: Option<&str>, subject: Option<&str>) -> Ended {
        end(&self.sessions, sid, subject).await
    }

    fn is_live(&self, pair: &TokenPair) -> bool {
        let refresh = pair.refresh.as_ref().unwrap();
        self.world.server.is_live_refresh(refresh.expose())
    }
}

fn instance(
    world: &World<FaultyStore>,
    endpoint: FaultyEndpoint,
    store: impl TokenStore,
) -> Sessions {
    let builder = Sessions::builder(endpoint).clock(world.clock.clone());
    let builder = builder.strategy(OnRequest::default()).jitter(0.0);
    builder.store(store).build().unwrap()
}

async fn end(sessions: &Sessions, sid: Option<&str>, subject: Option<&str>) -> Ended {
    let upstream = Upstream::from_claims(sid, subject).unwrap();
    sessions.end_where(upstream).await
}

async fn is_over(sessions: &Sessions, id: &SessionId) -> bool {
    match sessions.open(id).token().await {
        Ok(_) => false,
        Err(error) => {
            let is_logout =
                matches!(&error, Error::Ended { reason, .. } if *reason == EndReason::LoggedOut);
            assert!(is_logout, "{error:?}");
            true
        }
    }
}

/// Which of the sessions are over, here and in a process that starts now.
async fn over<const N: usize>(site: &Site, ids: [&SessionId; N]) -> [bool; N] {
    let another = site.another();
    let mut over = [false; N];
    for (over, id) in over.iter_mut().zip(ids) {
        *over = is_over(&site.sessions, id).await;
        assert_eq!(is_over(&another, id).await, *over, "in another process");
    }
    over
}

#[tokio::test(start_paused = true)]
async fn a_sid_ends_its_session_also_one_at_rest_and_revokes_its_pair() {
    let site = Site::new();
    let (one, pair) = site.signed_in("s1", "ada").await;
    let (two, other) = site.signed_in("s2", "ada").await;
    settle().await;
    assert_eq!(site.sessions.in_memory(), 0);
    assert_eq!(site.end(Some("s1"), None).await.unwrap(), 1);
    settle().await;
    assert_eq!([site.is_live(&pair), site.is_live(&other)], [false, true]);
    assert_eq!(site.sessions.in_memory(), 0, "nothing is left of it");
    assert_eq!(over(&site, [&one, &two]).await, [true, false]);
    // The record has nothing to find it by, and no token.
    let record = site
        .world
        .store
        .record(&site.key(&one))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.upstream().count(), 0);
    assert_eq!(record.issued_at(), None);
    assert_eq!(site.end(Some("s1"), None).await.unwrap(), 0);
    site.world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn a_subject_ends_all_sessions_of_the_user_and_a_sid_with_it_ends_one() {
    let site = Site::new();
    let (one, _) = site.signed_in("s1", "ada").await;
    let (two, _) = site.signed_in("s2", "ada").await;
    let (bob, _) = site.signed_in("s3", "bob").await;
    let nameless = site
        .sessions
        .sign_in(site.world.server.issue())
        .await
        .unwrap();
    let all = [&one, &two, &bob, &nameless];
    // The id of a session that another user has.
    assert_eq!(site.end(Some("s3"), Some("ada")).await.unwrap(), 0);
    assert_eq!(over(&site, all).await, [false; 4]);
    assert_eq!(site.end(Some("s2"), Some("ada")).await.unwrap(), 1);
    assert_eq!(over(&site, all).await, [false, true, false, false]);
    let (three, _) = site.signed_in("s4", "ada").await;
    // A `sid` is no `sub`, and the other way round.
    assert_eq!(site.end(Some("ada"), None).await.unwrap(), 0);
    assert_eq!(site.end(None, Some("s1")).await.unwrap(), 0);
    assert_eq!(site.end(None, Some("ada")).await.unwrap(), 2);
    assert_eq!(over(&site, all).await, [true, true, false, false]);
    assert!(is_over(&site.sessions, &three).await);
    site.world.assert_exchanges(0);
}

/// The provider names the user in its logout, and the service did not note the user at the sign-in.
#[tokio::test(start_paused = true)]
async fn a_sign_in_may_name_one_of_the_two_and_an_empty_text_names_nothing() {
    let site = Site::new();
    let sign_in = async |sid: Option<&str>, subject: Option<&str>| {
        let signing_in = site.sessions.sign_in(site.world.server.issue());
        signing_in.upstream(sid, subject).await.unwrap()
    };
    let by_sid = sign_in(Some("s1"), None).await;
    let by_subject = sign_in(None, Some("ada")).await;
    let by_nothing = sign_in(Some(""), None).await;
    assert_eq!(Upstream::from_claims("", ""), None);
    assert_eq!(site.end(Some("s1"), Some("ada")).await.unwrap(), 1);
    let all = [&by_sid, &by_subject, &by_nothing];
    assert_eq!(over(&site, all).await, [true, false, false]);
    assert_eq!(site.end(None, Some("ada")).await.unwrap(), 1);
    assert_eq!(over(&site, all).await, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn equal_names_of_another_issuer_client_or_tenant_are_other_ones() {
    let site = Site::new();
    let own = site.sessions.key();
    let mut ids = Vec::new();
    let others = [
        Key::new("https://other.example.org", &own.client_id),
        Key::new(&own.issuer, "other"),
        own.clone().tenant("diku"),
    ];
    let others = others.map(|key| {
        let builder = Sessions::builder(site.world.endpoint().with_key(key));
        let builder = builder.clock(site.world.clock.clone());
        builder.store(site.world.store.clone()).build().unwrap()
    });
    for sessions in &others {
        let signing_in = sessions.sign_in(site.world.server.issue());
        ids.push(signing_in.upstream("s1", "ada").await.unwrap());
    }
    let (here, _) = site.signed_in("s1", "ada").await;
    assert_eq!(site.end(Some("s1"), Some("ada")).await.unwrap(), 1);
    assert_eq!(site.end(None, Some("ada")).await.unwrap(), 0);
    assert!(is_over(&site.sessions, &here).await);
    for (sessions, id) in others.iter().zip(&ids) {
        assert!(!is_over(sessions, id).await, "{sessions:?}");
        assert_eq!(end(sessions, None, Some("ada")).await.unwrap(), 1);
        assert!(is_over(sessions, id).await, "{sessions:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn fm16_the_pair_of_a_rotation_in_flight_is_revoked_and_never_published() {
    let site = Site::new();
    let (id, pair) = site.signed_in("s1", "ada").await;
    let tokens = site.sessions.open(&id);
    tokens.token().await.unwrap();
    site.world.expire().await;
    // The server has issued a pair, and the answer is on its way.
    site.endpoint
        .fail_next(EndpointCall::Refresh, 1, CallFault::HangAfter);
    let caller = call(&tokens);
    site.world.server.arrived(1).await;
    settle().await;
    assert_eq!(site.world.server.rotations(), 1);
    assert_eq!(site.end(Some("s1"), None).await.unwrap(), 1);
    settle().await;
    assert_eq!(end_of(tokens.token().await), EndReason::LoggedOut);
    let revoked = site.endpoint.calls(EndpointCall::Revoke);
    site.endpoint.release();
    assert_eq!(end_of(caller.await.unwrap()), EndReason::LoggedOut);
    site.world.clock.advance(10 * SECOND).await;
    settle().await;
    assert_eq!(
        site.endpoint.calls(EndpointCall::Revoke),
        revoked + 1,
        "the new pair"
    );
    let record = site
        .world
        .store
        .record(&site.key(&id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.issued_at(), None, "it was revoked and removed");
    assert!(!site.is_live(&pair));
    assert_eq!(over(&site, [&id]).await, [true]);
    site.world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn another_instance_learns_of_it_before_its_next_rotation() {
    let site = Site::new();
    let (id, _) = site.signed_in("s1", "ada").await;
    let another = site.another();
    let tokens = another.open(&id);
    tokens.token().await.unwrap();
    assert_eq!(site.end(None, Some("ada")).await.unwrap(), 1);
    // As after any logout, it serves what it holds until it reads the store.
    assert!(tokens.token().await.is_ok());
    site.world.expire().await;
    assert_eq!(end_of(tokens.token().await), EndReason::LoggedOut);
    site.world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_found_after_rotations_here_and_elsewhere() {
    let site = Site::new();
    let (id, _) = site.signed_in("s1", "ada").await;
    let another = site.another();
    for round in 0..12 {
        let sessions = if round % 2 == 0 {
            &site.sessions
        } else {
            &another
        };
        sessions.open(&id).rotate().await.unwrap();
    }
    assert_eq!(end(&another, Some("s1"), Some("ada")).await.unwrap(), 1);
    assert_eq!(over(&site, [&id]).await, [true]);
    site.world.assert_exchanges(12);
}

#[tokio::test]
async fn a_session_is_found_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(TTL).with_store(FaultyStore::new);
    let started = async || {
        let store = FileStore::new(directory.path().join("sessions")).unwrap();
        instance(&world, FaultyEndpoint::new(world.endpoint()), store)
    };
    let first = started().await;
    let sign_in = async |sid| {
        let signing_in = first.sign_in(world.server.issue());
        signing_in.upstream(sid, "ada").await.unwrap()
    };
    let (one, two) = (sign_in("s1").await, sign_in("s2").await);
    first.open(&one).rotate().await.unwrap();
    first.shutdown().await.unwrap();
    drop(first);
    let second = started().await;
    assert_eq!(end(&second, Some("s1"), None).await.unwrap(), 1);
    assert_eq!(
        [is_over(&second, &one).await, is_over(&second, &two).await],
        [true, false]
    );
    drop(second);
    let third = started().await;
    assert_eq!(end(&third, None, Some("ada")).await.unwrap(), 1);
    assert_eq!(
        [is_over(&third, &one).await, is_over(&third, &two).await],
        [true, true]
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_an_error_and_the_call_can_be_repeated() {
    let site = Site::new();
    let (live, pair) = site.signed_in("s1", "ada").await;
    let (at_rest, other) = site.signed_in("s2", "ada").await;
    let tokens = site.sessions.open(&live);
    tokens.token().await.unwrap();
    settle().await;
    site.world.store.set_down(true);
    let error = site.end(None, Some("ada")).await.unwrap_err();
    assert_eq!((error.ended, error.failed.len()), (0, 1), "{error:?}");
    assert_eq!(error.failed[0].0, *tokens.key());
    assert!(matches!(error.source, Error::Store { .. }), "{error:?}");
    // The session in memory serves nothing from then on.
    assert_eq!(end_of(tokens.token().await), EndReason::LoggedOut);
    let again = site.end(None, Some("ada")).await.unwrap_err();
    assert!(matches!(again.source, Error::Store { .. }), "{again:?}");
    site.world.store.set_down(false);
    let ended = site.end(None, Some("ada")).await.unwrap();
    assert!(
        (1..=2).contains(&ended),
        "the first may have been stored meanwhile: {ended}"
    );
    site.world.clock.advance(MINUTE).await;
    settle().await;
    assert_eq!(over(&site, [&live, &at_rest]).await, [true; 2]);
    assert_eq!([site.is_live(&pair), site.is_live(&other)], [false; 2]);
    site.world.assert_exchanges(0);
}

/// One of three sessions cannot be written: the others end, and the error names the one.
#[tokio::test(start_paused = true)]
async fn an_error_names_the_sessions_that_may_go_on_and_counts_the_others() {
    let site = Site::new();
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(site.signed_in(&format!("s{number}"), "ada").await.0);
    }
    settle().await;
    let store = &site.world.store;
    // Each session is loaded before anything is written, and a load that fails is repeated three times.
    store.work_next(StoreCall::Load, 2);
    store.fail_next(StoreCall::Load, 1, CallFault::Fail);
    store.fail_always(StoreCall::Load, Some(CallFault::Fail));
    let error = site.end(None, Some("ada")).await.unwrap_err();
    assert_eq!(error.ended + error.failed.len(), 3, "{error:?}");
    assert!(!error.failed.is_empty(), "{error:?}");
    store.fail_always(StoreCall::Load, None);
    let failed = error.failed.len();
    let ended = site.end(None, Some("ada")).await.unwrap();
    assert!(ended <= failed, "{ended} of {failed}");
    site.world.clock.advance(MINUTE).await;
    let all = [&ids[0], &ids[1], &ids[2]];
    assert_eq!(over(&site, all).await, [true; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_search_is_an_error_and_what_is_in_memory_ends() {
    let world = World::new(TTL).with_store(FaultyStore::new);
    let store = Searchless(world.store.clone());
    let sessions = instance(&world, FaultyEndpoint::new(world.endpoint()), store);
    let sign_in = async |sid| {
        let signing_in = sessions.sign_in(world.server.issue());
        signing_in.upstream(sid, "ada").await.unwrap()
    };
    let (live, at_rest) = (sign_in("s1").await, sign_in("s2").await);
    let tokens = sessions.open(&live);
    tokens.token().await.unwrap();
    settle().await;
    let error = end(&sessions, None, Some("ada")).await.unwrap_err();
    assert_eq!((error.ended, error.failed.len()), (1, 0));
    let Error::Store { source, .. } = &error.source else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("cannot search"), "{source}");
    assert_eq!(end_of(tokens.token().await), EndReason::LoggedOut);
    assert!(!is_over(&sessions, &at_rest).await);
}

/// The record has lost its marks, and the manager that holds the pair has them.
#[tokio::test(start_paused = true)]
async fn a_session_in_memory_ends_also_where_the_store_does_not_find_it() {
    let site = Site::new();
    let (id, pair) = site.signed_in("s1", "ada").await;
    let tokens = site.sessions.open(&id);
    tokens.token().await.unwrap();
    let record = site
        .world
        .store
        .record(tokens.key())
        .await
        .unwrap()
        .unwrap();
    let mut form = serde_json::to_value(&record).unwrap();
    assert!(form.as_object_mut().unwrap().remove("upstream").is_some());
    let without = serde_json::from_value(form).unwrap();
    site.world
        .store
        .set_back(tokens.key(), &without)
        .await
        .unwrap();
    assert_eq!(site.end(Some("s1"), None).await.unwrap(), 1);
    assert_eq!(over(&site, [&id]).await, [true]);
    settle().await;
    assert!(!site.is_live(&pair));
}

/// The store was set back to the first pair. The pair that is written forward has the marks again.
#[tokio::test(start_paused = true)]
async fn a_pair_that_is_written_over_an_older_record_keeps_the_marks() {
    let site = Site::new();
    let (id, _) = site.signed_in("s1", "ada").await;
    let tokens = site.sessions.open(&id);
    tokens.token().await.unwrap();
    let record = site
        .world
        .store
        .record(tokens.key())
        .await
        .unwrap()
        .unwrap();
    let mut form = serde_json::to_value(&record).unwrap();
    form.as_object_mut().unwrap().remove("upstream");
    tokens.rotate().await.unwrap();
    let without = serde_json::from_value(form).unwrap();
    site.world
        .store
        .set_back(tokens.key(), &without)
        .await
        .unwrap();
    tokens.rotate().await.unwrap();
    let record = site
        .world
        .store
        .record(tokens.key())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.upstream().count(), 2);
    assert_eq!(end(&site.another(), Some("s1"), None).await.unwrap(), 1);
    site.world.assert_exchanges(2);
}

/// Another sign-in under the same id took the place of the session, here or elsewhere.
#[tokio::test(start_paused = true)]
async fn a_session_that_a_sign_in_has_replaced_goes_on() {
    let site = Site::new();
    let another = site.another();
    for elsewhere in [false, true] {
        let (id, _) = site.signed_in("s1", "ada").await;
        let tokens = site.sessions.open(&id);
        tokens.token().await.unwrap();
        let replacing = if elsewhere {
            another.open(&id)
        } else {
            tokens.clone()
        };
        let store = &site.world.store;
        drop(tokens);
        settle().await;
        // The search has found the session, and then it is replaced.
        store.fail_next(StoreCall::FindByUpstream, 1, CallFault::HangAfter);
        let asked = store.calls(StoreCall::FindByUpstream);
        let upstream = Upstream::from_claims("s1", None).unwrap();
        let sessions = site.another();
        let ending = tokio::spawn(async move { sessions.end_where(upstream).await });
        store.called(StoreCall::FindByUpstream, asked + 1).await;
        settle().await;
        let newer = site.world.server.issue();
        replacing.replace(newer.clone()).await.unwrap();
        store.release();
        assert_eq!(ending.await.unwrap().unwrap(), 0);
        assert!(site.is_live(&newer));
        assert!(replacing.token().await.is_ok());
        assert_eq!(over(&site, [&id]).await, [false]);
    }
}

/// Between the decision and the write, an instance elsewhere signs in under the same id.
#[tokio::test(start_paused = true)]
async fn a_sign_in_elsewhere_that_comes_before_the_write_goes_on_here_too() {
    for is_live in [false, true] {
        let site = Site::new();
        let (id, _) = site.signed_in("s1", "ada").await;
        let another = site.another().open(&id);
        let tokens = site.sessions.open(&id);
        if is_live {
            tokens.token().await.unwrap();
        }
        let store = &site.world.store;
        store.fail_next(StoreCall::Swap, 1, CallFault::HangBefore);
        let asked = store.calls(StoreCall::Swap);
        let sessions = site.sessions.clone();
        let ending = tokio::spawn(async move { end(&sessions, Some("s1"), None).await });
        store.called(StoreCall::Swap, asked + 1).await;
        let newer = site.world.server.issue();
        another.replace(newer.clone()).await.unwrap();
        store.release();
        assert_eq!(ending.await.unwrap().unwrap(), 0);
        settle().await;
        assert!(site.is_live(&newer), "{is_live}");
        // The first call after the end reads the store.
        let _ = tokens.token().await;
        settle().await;
        let served = tokens.token().await.unwrap();
        assert!(site.world.is_live(&served), "{is_live}");
        site.world.assert_exchanges(0);
    }
}

/// A sign-in in this process under the same id has to wait, and comes after the logout.
#[tokio::test(start_paused = true)]
async fn a_sign_in_here_while_the_logout_is_written_is_refused_and_not_lost() {
    let site = Site::new();
    let (id, _) = site.signed_in("s1", "ada").await;
    let tokens = site.sessions.open(&id);
    tokens.token().await.unwrap();
    let store = &site.world.store;
    store.fail_next(StoreCall::Swap, 1, CallFault::HangBefore);
    let asked = store.calls(StoreCall::Swap);
    let sessions = site.sessions.clone();
    let ending = tokio::spawn(async move { end(&sessions, Some("s1"), None).await });
    store.called(StoreCall::Swap, asked + 1).await;
    let newer = site.world.server.issue();
    let replacing = tokio::spawn({
        let (tokens, newer) = (tokens.clone(), newer.clone());
        async move { tokens.replace(newer).await }
    });
    settle().await;
    store.release();
    assert_eq!(ending.await.unwrap().unwrap(), 1);
    // The call came after the logout had begun, so the sign-in counts.
    replacing.await.unwrap().unwrap();
    assert!(site.is_live(&newer));
    assert_eq!(over(&site, [&id]).await, [false]);
}

#[tokio::test(start_paused = true)]
async fn n18_at_most_sixteen_sessions_are_ended_at_once_and_none_is_left_out() {
    let site = Site::new();
    let ids = join_all((0..100).map(|number| {
        let signing_in = site.sessions.sign_in(site.world.server.issue());
        let sid = format!("s{number}");
        async move { signing_in.upstream(&*sid, "ada").await.unwrap() }
    }));
    let ids = ids.await;
    settle().await;
    let store = &site.world.store;
    store.fail_always(StoreCall::Swap, Some(CallFault::HangBefore));
    let before = store.calls(StoreCall::Swap);
    let sessions = site.sessions.clone();
    let ending = tokio::spawn(async move { end(&sessions, None, Some("ada")).await });
    store.called(StoreCall::Swap, before + 16).await;
    for _ in 0..16 {
        settle().await;
    }
    assert_eq!(store.calls(StoreCall::Swap), before + 16);
    store.fail_always(StoreCall::Swap, None);
    store.release();
    assert_eq!(ending.await.unwrap().unwrap(), 100);
    for id in &ids {
        assert!(is_over(&site.sessions, id).await);
    }
    for _ in 0..64 {
        settle().await;
    }
    assert_eq!(site.endpoint.calls(EndpointCall::Revoke), 100);
    assert_eq!(site.sessions.in_memory(), 0);
}

/// The provider has ended its own session, and waits for the answer.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_revoke_delays_and_fails_nothing() {
    let site = Site::new();
    let (id, pair) = site.signed_in("s1", "ada").await;
    site.endpoint
        .fail_next(EndpointCall::Revoke, 1, CallFault::HangBefore);
    site.endpoint
        .fail_next(EndpointCall::Revoke, 1, CallFault::Fail);
    assert_eq!(site.end(Some("s1"), None).await.unwrap(), 1);
    settle().await;
    assert!(site.is_live(&pair));
    assert_eq!(over(&site, [&id]).await, [true]);
    site.endpoint.release();
    site.world.clock.advance(MINUTE).await;
    settle().await;
    assert!(!site.is_live(&pair), "it was tried again");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_future_is_dropped_goes_on() {
    let site = Site::new();
    let (id, _) = site.signed_in("s1", "ada").await;
    site.world
        .store
        .fail_next(StoreCall::FindByUpstream, 1, CallFault::HangBefore);
    let sessions = site.sessions.clone();
    let ending = tokio::spawn(async move { end(&sessions, Some("s1"), None).await });
    site.world.store.called(StoreCall::FindByUpstream, 1).await;
    ending.abort();
    settle().await;
    site.world.store.release();
    settle().await;
    assert_eq!(over(&site, [&id]).await, [true]);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_the_call_is_an_error_that_names_the_session() {
    let site = Site::new();
    let (id, _) = site.signed_in("s1", "ada").await;
    site.sessions.shutdown().await.unwrap();
    let error = site.end(Some("s1"), None).await.unwrap_err();
    assert_eq!((error.ended, error.failed.len()), (0, 1));
    assert!(matches!(error.source, Error::ShutDown), "{error:?}");
    let another = site.another();
    assert_eq!(end(&another, Some("s1"), None).await.unwrap(), 1);
    assert!(is_over(&another, &id).await);
}

#[derive(Debug, Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_names_of_the_provider_are_in_no_output_and_not_in_the_store() {
    let site = Site::new();
    let (sid, subject) = ("sid-sesame", "sub-sesame");
    let sign_in = site.sessions.sign_in(site.world.server.issue());
    let sign_in = sign_in.upstream(sid, subject);
    let mut shown = format!("{sign_in:?} {sign_in:#?}");
    let id = sign_in.await.unwrap();
    let tokens = site.sessions.open(&id);
    tokens.rotate().await.unwrap();
    let record = site
        .world
        .store
        .record(tokens.key())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.upstream().count(), 2);
    shown += &serde_json::to_string(&record).unwrap();
    shown += &format!("{record:?} {tokens:?} {:?}", site.sessions);
    let upstream = Upstream::from_claims(sid, subject).unwrap();
    shown += &format!("{upstream:?} {upstream:#?}");
    site.world
        .store
        .fail_next(StoreCall::Swap, 4, CallFault::Fail);
    site.endpoint
        .fail_next(EndpointCall::Revoke, 1, CallFault::Fail);
    let logs = Logs::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let guard = tracing::subscriber::set_default(subscriber.with_writer(logs.clone()).finish());
    let error = site.end(Some(sid), Some(subject)).await.unwrap_err();
    site.world.clock.advance(MINUTE).await;
    settle().await;
    drop(guard);
    let logs = String::from_utf8(logs.0.lock().clone()).unwrap();
    assert!(logs.contains("a logout could not be stored"), "{logs}");
    shown += &format!("{error} {error:?} {logs}");
    assert_eq!(over(&site, [&id]).await, [true], "it was stored later");
    for name in [sid, subject, "sesame"] {
        assert!(!shown.contains(name), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_session_with_names_is_given_back() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let world = World::new(TTL);
    let sessions = Sessions::builder(world.endpoint())
        .clock(clock)
        .store(store);
    let sessions = sessions.build().unwrap();
    for _ in 0..10 {
        let signing_in = sessions.sign_in(world.server.issue());
        signing_in.upstream("s1", "ada").await.unwrap();
    }
    assert_eq!(end(&sessions, Some("s1"), None).await.unwrap(), 10);
    settle().await;
    assert_eq!(sessions.in_memory(), 0);
}
