//! A reader never sees half of a new pair.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::InProcessEndpoint;
use evertoken::{
    EndpointError, Grant, Issued, Key, MemoryStore, OnRequest, ServerProfile, StoreError,
    TokenEndpoint, TokenStore, async_trait,
};
use parking_lot::Mutex;

use crate::support::{SECOND, World, loaded};

/// An endpoint that notes which refresh token it issued with which access token.
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

/// The version of a record. Checks that the server issued both tokens of the record together.
fn version_of_matched(record: &Record, issues: &Issues) -> u64 {
    let record = serde_json::to_value(record).unwrap();
    let access = record["pair"]["access_token"].as_str().unwrap();
    let refresh = record["pair"]["refresh_token"].as_str().unwrap();
    assert_eq!(issues.lock().get(access).unwrap(), refresh, "torn pair");
    record["version"].as_u64().unwrap()
}

/// A store that checks every record that is read or written.
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
                    // Every pair that a reader can see is stored.
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
