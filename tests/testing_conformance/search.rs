use std::collections::HashMap;

use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::{searchable_store, store};
use evertoken::{Digest, Key, Record, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;

use crate::flaw::{Flaw, Handle, flawed};

type Found = Result<Option<Key>, StoreError>;

/// Finds nothing.
#[derive(Debug)]
struct Searchless;

#[async_trait]
impl Flaw for Searchless {
    async fn find(&self, _: &Handle, _: &Digest) -> Found {
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_search_conforms() {
    store(flawed(Searchless)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the current digest")]
async fn but_is_not_searchable() {
    searchable_store(flawed(Searchless)).await;
}

/// Every digest is this one's.
#[derive(Debug)]
struct Liar;

#[async_trait]
impl Flaw for Liar {
    async fn find(&self, _: &Handle, _: &Digest) -> Found {
        Ok(Some(Key::default()))
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by a digest that nobody wrote")]
async fn a_digest_is_not_anybodys() {
    store(flawed(Liar)).await;
}

/// Knows the current digests only.
#[derive(Debug, Default)]
struct Index {
    /// By the handle it was written with, if they do not share it.
    found: Mutex<HashMap<(usize, Digest), Key>>,
    divided: bool,
    with_retired: bool,
    forgets: bool,
}

impl Index {
    fn number(&self, at: &Handle) -> usize {
        if self.divided { at.number } else { 0 }
    }
}

#[async_trait]
impl Flaw for Index {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        at.memory.load(key).await
    }

    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let answer = at.memory.swap(key, seen, next).await?;
        if matches!(answer, Swap::Swapped(_)) {
            let number = self.number(at);
            let mut found = self.found.lock();
            if self.forgets {
                found.retain(|_, indexed| indexed != key);
            }
            found.insert((number, next.digest()), key.clone());
            if self.with_retired {
                found.extend(
                    next.retired()
                        .map(|digest| ((number, *digest), key.clone())),
                );
            }
        }
        Ok(answer)
    }

    async fn find(&self, at: &Handle, digest: &Digest) -> Found {
        let found = self.found.lock();
        Ok(found.get(&(self.number(at), *digest)).cloned())
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_is_searchable() {
    let index = Index {
        with_retired: true,
        forgets: true,
        ..Index::default()
    };
    searchable_store(flawed(index)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the retired digest")]
async fn retired_digests_are_found() {
    let index = Index {
        forgets: true,
        ..Index::default()
    };
    searchable_store(flawed(index)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by a digest that the record does not have")]
async fn forgotten_digests_are_not_found() {
    let index = Index {
        with_retired: true,
        ..Index::default()
    };
    searchable_store(flawed(index)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the current digest")]
async fn what_another_handle_wrote_is_found() {
    let index = Index {
        with_retired: true,
        forgets: true,
        divided: true,
        ..Index::default()
    };
    searchable_store(flawed(index)).await;
}
