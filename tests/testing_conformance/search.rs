use std::collections::HashMap;

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::testing::conformance::{searchable_by_access_store, searchable_store, store};
use evertoken::{Key, TokenStore, async_trait};
use parking_lot::Mutex;

use crate::flaw::{Answer, Flaw, Found, Handle, assert_found, assert_refused, flawed};

#[derive(Debug, Clone, Copy)]
enum Search {
    /// Finds nothing.
    None,
    /// Every refresh token is this one's.
    Liar,
    /// Every access token is this one's.
    AccessLiar,
    /// Finds a refresh token in a search for an access token.
    Mixed,
}

#[async_trait]
impl Flaw for Search {
    async fn find(&self, at: &Handle, digest: &Digest) -> Found {
        match self {
            Self::None => Ok(None),
            Self::Liar => Ok(Some(Key::default())),
            _ => at.memory.find(digest).await,
        }
    }

    async fn find_by_access(&self, at: &Handle, digest: &Digest) -> Found {
        match self {
            Self::None => Ok(None),
            Self::AccessLiar => Ok(Some(Key::default())),
            Self::Mixed => at.memory.find(digest).await,
            Self::Liar => at.memory.find_by_access(digest).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_search_conforms() {
    store(flawed(Search::None)).await;
}

#[test]
fn a_store_without_search_is_not_searchable() {
    let searchless = flawed(Search::None);
    assert_refused(
        "refresh",
        searchable_store(&searchless),
        "find by the current digest",
    );
    let searching = searchable_by_access_store(&searchless);
    assert_refused("access", searching, "find by the current access token");
}

#[test]
fn the_suite_finds_a_store_that_finds_a_token_that_was_never_written() {
    assert_found([
        (Search::Liar, "find by a digest that was never written"),
        (
            Search::AccessLiar,
            "find by an access token that was never written",
        ),
        (
            Search::Mixed,
            "find by an access token that was never written",
        ),
    ]);
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
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
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
async fn the_suite_accepts_an_index_that_forgets_and_one_that_does_not() {
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

/// Finds each token that has left a record under another key.
#[derive(Debug)]
struct Mistaken(Index);

#[async_trait]
impl Flaw for Mistaken {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
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

#[test]
fn the_suite_finds_a_flaw_of_an_index() {
    let [mut retiring, mut dividing, mut believing] = std::array::from_fn(|_| Index::new());
    (retiring.with_retired, dividing.divided, believing.believes) = (false, true, true);
    assert_found([(believing, "find by a digest of a swap that was lost")]);
    let of_others = searchable_store(flawed(dividing));
    assert_refused("divided", of_others, "find by the current digest");
    let retired = searchable_store(flawed(retiring));
    assert_refused(
        "without retired digests",
        retired,
        "find by the retired digest",
    );
    let mistaken = searchable_store(flawed(Mistaken(Index::new())));
    let expected = "find by a digest that has left its record answers its own key or none";
    assert_refused("mistaken", mistaken, expected);
}
