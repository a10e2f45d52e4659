//! The suite for stores lets a good one pass, and finds out each kind of bad one.

#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

use std::sync::Arc;

use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::{searchable_token_store, shared_token_store, token_store};
use evertoken::{Digest, Key, MemoryStore, Record, StoreError, TokenStore, async_trait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_conforms() {
    let store = MemoryStore::new();
    token_store(Arc::new(store.clone()) as Arc<dyn TokenStore>).await;
    shared_token_store(store.clone(), store.clone()).await;
    searchable_token_store(store).await;
}

#[derive(Debug, Default)]
struct Bad {
    fault: Fault,
    store: MemoryStore,
}

#[derive(Debug, Default)]
enum Fault {
    /// A store whose time starts with it.
    NoTime,
    /// A swap that does not compare.
    Careless,
    /// A swap that compares, and writes a little later.
    Slow,
    /// Revisions that come again.
    Repeating,
    /// A lost race without the winner's entry.
    Mute,
    /// Parts of the record are not kept.
    Lossy(&'static str),
    /// Keys that lose a part.
    Blind(fn(Key) -> Key),
    /// Changes that nobody notices.
    Deaf,
    /// Digests that are anybody's.
    Liar,
    /// Nothing is ever found.
    #[default]
    Searchless,
}

fn bad(fault: Fault) -> Bad {
    Bad {
        fault,
        store: MemoryStore::new(),
    }
}

impl Bad {
    fn key(&self, key: &Key) -> Key {
        match self.fault {
            Fault::Blind(cut) => cut(key.clone()),
            _ => key.clone(),
        }
    }

    async fn held(&self, key: &Key) -> Result<Option<Revision>, StoreError> {
        let entry = self.store.load(key).await?.entry;
        Ok(entry.map(|(_, revision)| revision))
    }

    fn told(&self, revision: Revision) -> Revision {
        match self.fault {
            Fault::Repeating => Revision::new(revision.number() % 5),
            _ => revision,
        }
    }

    fn kept(&self, record: &Record) -> Record {
        let Fault::Lossy(part) = self.fault else {
            return record.clone();
        };
        let mut value = serde_json::to_value(record).unwrap();
        value.as_object_mut().unwrap().remove(part);
        serde_json::from_value(value).unwrap()
    }
}

#[async_trait]
impl TokenStore for Bad {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let mut loaded = self.store.load(&self.key(key)).await?;
        if matches!(self.fault, Fault::NoTime) {
            loaded.now = Default::default();
        }
        if let Some((_, revision)) = &mut loaded.entry {
            *revision = self.told(*revision);
        }
        Ok(loaded)
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let key = self.key(key);
        let mut held = self.held(&key).await?;
        let compared = !matches!(self.fault, Fault::Careless) || held.is_none();
        let matches = held.map(|held| self.told(held)) == seen || !compared;
        if matches!(self.fault, Fault::Slow) {
            tokio::task::yield_now().await;
            held = self.held(&key).await?;
        }
        let seen = if matches {
            held
        } else {
            Some(Revision::new(u64::MAX))
        };
        let answer = self.store.swap(&key, seen, &self.kept(next)).await?;
        Ok(match answer {
            Swap::Swapped(revision) => Swap::Swapped(self.told(revision)),
            Swap::Lost(_) if matches!(self.fault, Fault::Mute) => Swap::Lost(None),
            lost => lost,
        })
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        if matches!(self.fault, Fault::Deaf) {
            std::future::pending().await
        }
        self.store.changed(&self.key(key), seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        match self.fault {
            Fault::Liar => Ok(Some(Key::default())),
            Fault::Searchless => Ok(None),
            _ => self.store.find(digest).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_search_conforms() {
    token_store(bad(Fault::Searchless)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the current digest")]
async fn but_is_not_searchable() {
    searchable_token_store(bad(Fault::Searchless)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "milliseconds since 1970")]
async fn time_is_the_stores_own() {
    token_store(bad(Fault::NoTime)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a second creation is lost")]
async fn a_swap_compares() {
    token_store(bad(Fault::Careless)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "two swaps of one revision won")]
async fn comparing_and_writing_are_one_step() {
    token_store(bad(Fault::Slow)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "was given before")]
async fn revisions_do_not_repeat() {
    token_store(bad(Fault::Repeating)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "lost to the current entry: Lost(None)")]
async fn a_lost_race_is_answered_with_the_winner() {
    token_store(bad(Fault::Mute)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "what was swapped in is what is loaded")]
async fn unknown_fields_are_carried_along() {
    token_store(bad(Fault::Lossy("of_a_later_version"))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "what was swapped in is what is loaded")]
async fn a_claim_is_kept() {
    token_store(bad(Fault::Lossy("claim"))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn the_case_of_a_label_matters() {
    let cut = |key: Key| {
        let label = key.label.to_lowercase();
        key.label(label)
    };
    token_store(bad(Fault::Blind(cut))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn scopes_tell_keys_apart() {
    token_store(bad(Fault::Blind(|key| key.scope("")))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "did not notice a swap")]
async fn changes_are_noticed() {
    token_store(bad(Fault::Deaf)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by a digest that nobody wrote")]
async fn a_digest_is_not_anybodys() {
    token_store(bad(Fault::Liar)).await;
}
