//! A token that has left its record does not count as new: the store is asked about a token that the record does not
//! know.

use std::collections::HashMap;

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{CallFault, FaultyStore, StoreCall};
use evertoken::{
    Error, Key, MemoryStore, OnRequest, OnSeedConflict, StoreError, TokenManager, TokenPair,
    TokenStore, async_trait,
};
use parking_lot::Mutex;

use crate::support::{SECOND, built, call, loaded};

type World = crate::support::World<FaultyStore>;

/// A store that remembers every token, also after the token has left its record.
#[derive(Debug)]
struct Remembering {
    inner: MemoryStore,
    left: Mutex<HashMap<Digest, Key>>,
}

#[async_trait]
impl TokenStore for Remembering {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let swap = self.inner.swap(key, seen, next).await?;
        if matches!(swap, Swap::Swapped(_)) {
            let retired = next.retired().map(|digest| (*digest, key.clone()));
            self.left.lock().extend(retired);
        }
        Ok(swap)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let found = self.inner.find(digest).await?;
        Ok(found.or_else(|| self.left.lock().get(digest).cloned()))
    }
}

fn world() -> World {
    let world = crate::support::World::with(|server| {
        let server = server.refresh_ttl(6_000 * SECOND);
        server.issue_refresh_expires_in(true)
    });
    world.with_store(|inner| {
        let left = Mutex::default();
        FaultyStore::new(Remembering { inner, left })
    })
}

/// A manager on the store, with this seed.
fn seeded(world: &World, seed: TokenPair) -> TokenManager {
    built(world.shared(OnRequest::default()).seed(seed))
}

async fn record(world: &World) -> Record {
    let record = world.store.record(&world.key()).await;
    record.unwrap().unwrap()
}

/// A session after twenty rotations, and the token of the first one, which the record no longer knows.
async fn rotated(world: &World) -> (TokenManager, TokenPair) {
    let tokens = loaded(world.shared(OnRequest::default())).await;
    tokens.rotate().await.unwrap();
    let form = serde_json::to_value(record(world).await).unwrap();
    let old = TokenPair::from_refresh_token(form["pair"]["refresh_token"].as_str().unwrap());
    for _ in 0..20 {
        tokens.rotate().await.unwrap();
        world.clock.advance(2 * SECOND).await;
    }
    assert!(!record(world).await.knows(&old.digest(&world.key())));
    assert!(record(world).await.knows(&world.first.digest(&world.key())));
    (tokens, old)
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_has_left_the_record_is_no_conflict_and_is_not_spent() {
    let policies = [
        OnSeedConflict::Error,
        OnSeedConflict::Replace,
        OnSeedConflict::Keep,
    ];
    for policy in policies {
        let world = world();
        let (tokens, old) = rotated(&world).await;
        let token = tokens.token().await.unwrap();
        let builder = world.shared(OnRequest::default()).seed(old);
        let restarted = built(builder.on_seed_conflict(policy));
        let found = restarted.token().await.unwrap();
        assert_eq!(found.expose(), token.expose(), "{policy:?}");
        let asked = u64::from(policy != OnSeedConflict::Keep);
        assert_eq!(world.store.calls(StoreCall::Find), asked, "{policy:?}");
        world.clock.advance(600 * SECOND).await;
        assert!(world.is_live(&restarted.token().await.unwrap()));
        world.assert_exchanges(22);
        assert_eq!(
            world.store.calls(StoreCall::Find),
            asked,
            "only at the start"
        );
    }
}

/// If the token were spent again, the server would end the session that it belongs to.
#[tokio::test(start_paused = true)]
async fn a_seed_that_has_left_the_record_of_an_ended_session_is_not_spent() {
    let world = world();
    let (tokens, old) = rotated(&world).await;
    drop(tokens);
    world.clock.advance(6_001 * SECOND).await;
    let restarted = seeded(&world, old);
    let error = restarted.token().await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_logout_with_a_seed_that_has_left_the_record_ends_the_session() {
    let world = world();
    let (tokens, old) = rotated(&world).await;
    let restarted = seeded(&world, old);
    restarted.logout().await;
    world.clock.advance(SECOND).await;
    assert!(record(&world).await.end().is_some());
    world.clock.advance(600 * SECOND).await;
    tokens.token().await.unwrap_err();
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_has_left_the_record_cannot_replace_it() {
    let world = world();
    let (tokens, old) = rotated(&world).await;
    let before = record(&world).await;
    let error = tokens.replace(old).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyUsed), "{error:?}");
    assert_eq!(record(&world).await, before);
    // A pair that the store does not know can replace the session.
    tokens.replace(world.server.issue()).await.unwrap();
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_seed_is_a_conflict_all_the_same() {
    let world = world();
    let (tokens, _) = rotated(&world).await;
    let foreign = seeded(&world, world.server.issue());
    let error = foreign.token().await.unwrap_err();
    assert!(matches!(error, Error::SeedConflict), "{error:?}");
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_fails_is_a_failure_of_the_store_and_nothing_is_spent() {
    let world = world();
    let (tokens, old) = rotated(&world).await;
    world.clock.advance(6_001 * SECOND).await;
    let fail = Some(CallFault::Fail);
    world.store.fail_always(StoreCall::Find, fail);
    let before = record(&world).await;
    for seed in [old.clone(), world.server.issue()] {
        let fresh = seeded(&world, seed.clone());
        let error = fresh.token().await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        let error = tokens.replace(seed).await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        drop(fresh);
    }
    assert_eq!(record(&world).await, before);
    world.assert_exchanges(21);
    world.store.fail_always(StoreCall::Find, None);
    let fresh = seeded(&world, world.server.issue());
    assert!(world.is_live(&fresh.token().await.unwrap()));
    world.assert_exchanges(21);
}

/// The search comes after the record was loaded, so its result may be newer than the record.
#[tokio::test(start_paused = true)]
async fn a_seed_that_another_instance_stores_meanwhile_is_the_session_of_both() {
    let world = world();
    drop(rotated(&world).await);
    world.clock.advance(6_001 * SECOND).await;
    let seed = world.server.issue();
    let other = seeded(&world, seed.clone());
    let ours = seeded(&world, seed);
    world
        .store
        .fail_next(StoreCall::Find, 1, CallFault::HangAfter);
    let searches = world.store.calls(StoreCall::Find);
    let ours = call(&ours);
    world.store.called(StoreCall::Find, searches + 1).await;
    let theirs = other.token().await.unwrap();
    world.store.release();
    let token = ours.await.unwrap().unwrap();
    assert_eq!(token.expose(), theirs.expose());
    assert!(world.is_live(&token));
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_another_instance_stores_meanwhile_replaces_the_session_of_both() {
    let world = world();
    let (tokens, _) = rotated(&world).await;
    let other = loaded(world.shared(OnRequest::default())).await;
    let pair = world.server.issue();
    world
        .store
        .fail_next(StoreCall::Find, 1, CallFault::HangAfter);
    let searches = world.store.calls(StoreCall::Find);
    let slower = tokio::spawn({
        let (tokens, pair) = (tokens.clone(), pair.clone());
        async move { tokens.replace(pair).await }
    });
    world.store.called(StoreCall::Find, searches + 1).await;
    other.replace(pair).await.unwrap();
    world.store.release();
    slower.await.unwrap().unwrap();
    let token = tokens.token().await.unwrap();
    assert_eq!(token.expose(), other.token().await.unwrap().expose());
    assert!(world.is_live(&token));
    world.assert_exchanges(21);
}
