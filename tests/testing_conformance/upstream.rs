use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::testing::conformance::{searchable_by_upstream_store, store};
use evertoken::{Key, TokenStore, async_trait};
use parking_lot::Mutex;

use crate::flaw::{Answer, Flaw, FoundAll, Handle, assert_refused, flawed};

#[derive(Debug, Clone, Copy)]
enum Search {
    None,
    /// Finds one session of each mark.
    First,
    /// Finds a session twice.
    Twice,
    /// Answers with one page of the keys.
    Page,
    /// Every mark is this session's too.
    Liar,
}

#[async_trait]
impl Flaw for Search {
    async fn find_by_upstream(&self, at: &Handle, mark: &Digest) -> FoundAll {
        let mut found = at.memory.find_by_upstream(mark).await?.unwrap();
        match self {
            Self::None => return Ok(None),
            Self::First => found.truncate(1),
            Self::Twice => found.extend(found.clone()),
            Self::Page => found.truncate(100),
            Self::Liar => found.push(Key::default()),
        }
        Ok(Some(found))
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_search_by_a_mark_conforms() {
    store(flawed(Search::None)).await;
}

#[test]
fn the_suite_finds_a_flaw_of_a_search_by_a_mark() {
    for (flaw, expected) in [
        (Search::None, "answers that the store cannot search"),
        (Search::First, "by the mark of a user"),
        (Search::Twice, "answers each key once"),
        (Search::Page, "by the mark of a user with many sessions"),
        (Search::Liar, "by a mark that was never written"),
    ] {
        let suite = searchable_by_upstream_store(flawed(flaw));
        assert_refused(&format!("{flaw:?}"), suite, expected);
    }
}

/// An index of the marks that were written, which the record does not confirm.
#[derive(Debug, Default)]
struct Index {
    entries: Mutex<Vec<(Digest, Key)>>,
    /// Enters the marks of a first record alone.
    first_only: bool,
    /// Removes the marks of a record that has ended.
    forgets_ends: bool,
}

#[async_trait]
impl Flaw for Index {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let answer = at.memory.swap(key, seen, next).await?;
        let mut entries = self.entries.lock();
        let is_won = matches!(answer, Swap::Swapped(_));
        if is_won && self.first_only {
            entries.retain(|(_, indexed)| indexed != key);
        }
        if is_won && self.forgets_ends && next.end().is_some() {
            entries.retain(|(_, indexed)| indexed != key);
            return Ok(answer);
        }
        let is_entered = !self.first_only || seen.is_none();
        if is_won && is_entered {
            for mark in next.upstream() {
                if !entries.contains(&(*mark, key.clone())) {
                    entries.push((*mark, key.clone()));
                }
            }
        }
        Ok(answer)
    }

    async fn find_by_upstream(&self, _: &Handle, mark: &Digest) -> FoundAll {
        let entries = self.entries.lock();
        let found = entries.iter().filter(|(its, _)| its == mark);
        Ok(Some(found.map(|(_, key)| key.clone()).collect()))
    }
}

#[test]
fn the_suite_finds_a_flaw_of_an_index_of_marks() {
    let stale = Index::default();
    let [mut first_only, mut forgets_ends] = [Index::default(), Index::default()];
    (first_only.first_only, forgets_ends.forgets_ends) = (true, true);
    for (flaw, expected) in [
        (stale, "by a mark that has left its record"),
        (first_only, "by the mark of a session that was rotated"),
        (forgets_ends, "by the mark of a session that has ended"),
    ] {
        let case = format!("{flaw:?}");
        assert_refused(&case, searchable_by_upstream_store(flawed(flaw)), expected);
    }
}

/// Confirms by the record, and also keeps the marks of lost swaps.
#[derive(Debug)]
struct Believing(Index);

#[async_trait]
impl Flaw for Believing {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let answer = at.memory.swap(key, seen, next).await?;
        if matches!(answer, Swap::Lost(_)) {
            let marks = next.upstream().map(|mark| (*mark, key.clone()));
            self.0.entries.lock().extend(marks);
        }
        Ok(answer)
    }

    async fn find_by_upstream(&self, at: &Handle, mark: &Digest) -> FoundAll {
        let mut found = at.memory.find_by_upstream(mark).await?.unwrap();
        let lost = self.0.find_by_upstream(at, mark).await?.unwrap();
        found.extend(lost.first().cloned());
        Ok(Some(found))
    }
}

#[test]
fn the_suite_finds_a_store_that_believes_a_lost_swap() {
    let suite = searchable_by_upstream_store(flawed(Believing(Index::default())));
    assert_refused("believing", suite, "by a mark of a swap that was lost");
}
