use std::sync::atomic::Ordering::SeqCst;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};
use tokio::task::yield_now;

use crate::flaw::{Answer, Flaw, Handle, assert_found};

#[derive(Debug)]
enum Swaps {
    /// Replaces without comparing.
    Careless,
    /// Accepts a swap against a later revision.
    Trusting,
    /// Creates the record that a swap was to replace.
    Creating,
    /// Answers a lost swap without the current record.
    Mute,
    /// Counts revisions to five, and begins again.
    Repeating,
    /// Only the first handles find what was written.
    Divided,
    /// Compares first, and writes a little later, where the label of the key begins with this text.
    Slow(&'static str),
    /// Answers at most five hundred swaps at once.
    Crowded,
    /// Answers a lost swap with the revision that the swap was made against.
    Confused,
}

fn folded(revision: Revision) -> Revision {
    Revision::new(revision.number() % 5)
}

fn folded_entry((record, revision): (Record, Revision)) -> (Record, Revision) {
    (record, folded(revision))
}

#[async_trait]
impl Flaw for Swaps {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        match self {
            Self::Divided if at.number >= 4 => MemoryStore::new().load(key).await,
            Self::Repeating => {
                let mut loaded = at.memory.load(key).await?;
                loaded.entry = loaded.entry.map(folded_entry);
                Ok(loaded)
            }
            _ => at.memory.load(key).await,
        }
    }

    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let held = at.revision(key).await;
        match self {
            Self::Careless if held.is_some() => Ok(Swap::Swapped(at.put(key, next).await)),
            Self::Trusting => {
                let older =
                    |held: &Revision| seen.is_some_and(|seen| held.number() < seen.number());
                let trusted = held.filter(older);
                at.memory.swap(key, trusted.or(seen), next).await
            }
            Self::Creating if held.is_none() && seen.is_some() => {
                at.put(key, next).await;
                Ok(Swap::Lost(None))
            }
            Self::Mute => Ok(match at.memory.swap(key, seen, next).await? {
                Swap::Lost(_) => Swap::Lost(None),
                swapped => swapped,
            }),
            Self::Repeating => {
                let same = held.map(folded) == seen;
                let seen = if same {
                    held
                } else {
                    Some(Revision::new(u64::MAX))
                };
                Ok(match at.memory.swap(key, seen, next).await? {
                    Swap::Swapped(revision) => Swap::Swapped(folded(revision)),
                    Swap::Lost(entry) => Swap::Lost(entry.map(folded_entry)),
                })
            }
            Self::Slow(label) if key.label.starts_with(label) && held == seen => {
                yield_now().await;
                Ok(Swap::Swapped(at.put(key, next).await))
            }
            Self::Crowded => {
                let others = at.count.fetch_add(1, SeqCst);
                yield_now().await;
                let answer = at.memory.swap(key, seen, next).await;
                at.count.fetch_sub(1, SeqCst);
                if others < 500 {
                    answer
                } else {
                    Err(StoreError::new("too many"))
                }
            }
            Self::Confused
                if key.label.starts_with("increments") && at.count.fetch_add(1, SeqCst) == 100 =>
            {
                Ok(Swap::Lost(at.memory.load(key).await?.entry))
            }
            _ => at.memory.swap(key, seen, next).await,
        }
    }
}

#[test]
fn the_suite_finds_a_flaw_in_swaps() {
    use Swaps::*;
    assert_found([
        (Careless, "a second creation is lost"),
        (Trusting, "a swap against a later revision is lost"),
        (Creating, "a lost swap writes nothing"),
        (Mute, "lost to the current entry: Lost(None)"),
        (Repeating, "was given before"),
        (Divided, "the record that was swapped in is loaded"),
        (Slow("race"), "two swaps of one revision won"),
        (Slow("increments"), "an increment was lost"),
        (Crowded, "one of 1000 concurrent swaps panicked"),
        (Confused, "a contender panicked"),
    ]);
}
