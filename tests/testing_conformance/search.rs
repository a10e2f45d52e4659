use std::collections::HashMap;

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::testing::conformance::{searchable_by_access_store, searchable_store, store};
use evertoken::{Key, StoreError, TokenStore, async_trait};
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

    async fn find_by_access(&self, _: &Handle, _: &Digest) -> Found {
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_search_conforms() {
    store(flawed(Searchless)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the current digest")]
async fn a_store_without_search_is_not_searchable() {
    searchable_store(flawed(Searchless)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the current access token")]
async fn a_store_without_search_is_not_searchable_by_access_token() {
    searchable_by_access_store(flawed(Searchless)).await;
}

/// Every refresh token is this one's.
#[derive(Debug)]
struct Liar;

#[async_trait]
impl Flaw for Liar {
    async fn find(&self, _: &Handle, _: &Digest) -> Found {
        Ok(Some(Key::default()))
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by a digest that was never written")]
async fn an_unknown_digest_has_no_key() {
    store(flawed(Liar)).await;
}

/// Every access token is this one's.
#[derive(Debug)]
struct AccessLiar;

#[async_trait]
impl Flaw for AccessLiar {
    async fn find_by_access(&self, _: &Handle, _: &Digest) -> Found {
        Ok(Some(Key::default()))
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by an access token that was never written")]
async fn an_unknown_access_token_has_no_key() {
    store(flawed(AccessLiar)).await;
}

/// Finds a refresh token in a search for an access token.
#[derive(Debug)]
struct Mixed;

#[async_trait]
impl Flaw for Mixed {
    async fn find_by_access(&self, at: &Handle, digest: &Digest) -> Found {
        at.memory.find(digest).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by an access token that was never written")]
async fn a_refresh_token_is_not_found_as_an_access_token() {
    store(flawed(Mixed)).await;
}

/// An index of the digests that were written.
#[derive(Debug)]
struct Index {
    /// The digests by the number of the handle, if handles do not share the index.
    found: Mutex<HashMap<(usize, Digest), Key>>,
    accesses: Mutex<HashMap<Digest, Key>>,
    divided: bool,
    with_retired: bool,
    /// Forgets tokens that have left a record, and access tokens that were replaced.
    forgets: bool,
    /// Also enters the tokens of lost swaps.
    believes: bool,
}

impl Index {
    fn new() -> Self {
        Self {
            found: Mutex::default(),
            accesses: Mutex::default(),
            divided: false,
            with_retired: true,
            forgets: false,
            believes: false,
        }
    }

    fn number(&self, at: &Handle) -> usize {
        if self.divided { at.number } else { 0 }
    }
}

#[async_trait]
impl Flaw for Index {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let answer = at.memory.swap(key, seen, next).await?;
        if self.believes || matches!(answer, Swap::Swapped(_)) {
            let number = self.number(at);
            let (mut found, mut accesses) = (self.found.lock(), self.accesses.lock());
            if self.forgets {
                found.retain(|_, indexed| indexed != key);
                accesses.retain(|_, indexed| indexed != key);
            }
            found.insert((number, next.digest()), key.clone());
            accesses.extend(next.access_digest().map(|digest| (digest, key.clone())));
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

    async fn find_by_access(&self, _: &Handle, digest: &Digest) -> Found {
        Ok(self.accesses.lock().get(digest).cloned())
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_is_searchable_whether_it_forgets_or_not() {
    for forgets in [true, false] {
        let index = || {
            flawed(Index {
                forgets,
                ..Index::new()
            })
        };
        store(index()).await;
        searchable_store(index()).await;
        searchable_by_access_store(index()).await;
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the retired digest")]
async fn retired_digests_are_found() {
    let index = Index {
        with_retired: false,
        ..Index::new()
    };
    searchable_store(flawed(index)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by a digest of a swap that was lost")]
async fn tokens_of_a_lost_swap_are_not_found() {
    let index = Index {
        believes: true,
        ..Index::new()
    };
    store(flawed(index)).await;
}

/// Finds each token that has left a record under another key.
#[derive(Debug)]
struct Mistaken(Index);

#[async_trait]
impl Flaw for Mistaken {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let before = at.memory.load(key).await?.entry;
        let answer = self.0.swap(at, key, seen, next).await?;
        let left = before.iter().flat_map(|(record, _)| record.retired());
        for digest in left.filter(|digest| !next.knows(digest)) {
            let mut found = self.0.found.lock();
            found.insert((0, *digest), Key::default());
        }
        Ok(answer)
    }

    async fn find(&self, at: &Handle, digest: &Digest) -> Found {
        self.0.find(at, digest).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by a digest that has left its record answers its own key or none")]
async fn a_digest_that_has_left_its_record_has_no_other_key() {
    searchable_store(flawed(Mistaken(Index::new()))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "find by the current digest")]
async fn tokens_that_another_handle_wrote_are_found() {
    let index = Index {
        divided: true,
        ..Index::new()
    };
    searchable_store(flawed(index)).await;
}
