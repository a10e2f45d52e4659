use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::contents::in_two_steps;
use crate::flaw::{Answer, Flaw, Handle, assert_found};

#[derive(Debug)]
enum Dropped {
    /// Writes a part of the record first, slowly enough for a drop in between.
    InTwoSteps,
    /// Gives a new revision first, and writes the record then.
    Renumbering,
    /// Holds a lock that a dropped call never releases.
    Locking,
    /// A dropped swap is carried out much later, whatever was written by then.
    Belated,
    /// Gives the next answer to the next call, whichever call it belongs to.
    Crossing(Mutex<VecDeque<Loaded>>),
}

/// A swap that is carried out later if it is dropped.
struct Later(Option<(Handle, Key, Record)>);

impl Drop for Later {
    fn drop(&mut self) {
        let Some((at, key, next)) = self.0.take() else {
            return;
        };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(190)).await;
            at.put(&key, &next).await;
        });
    }
}

#[async_trait]
impl Flaw for Dropped {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        let loaded = at.memory.load(key).await?;
        let looked_at = ["dropped load", "the load after"];
        match self {
            Self::Crossing(answers)
                if looked_at.iter().any(|label| key.label.starts_with(label)) =>
            {
                answers.lock().push_back(loaded);
                yield_now().await;
                Ok(answers.lock().pop_front().unwrap())
            }
            _ => Ok(loaded),
        }
    }

    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let looked_at = key.label.starts_with("dropped");
        match self {
            Self::InTwoSteps if looked_at => return in_two_steps(at, key, seen, next).await,
            Self::Renumbering if looked_at => {
                let held = at.memory.load(key).await?.entry;
                if let Some((record, _)) = held.filter(|(_, revision)| Some(*revision) == seen) {
                    let Swap::Swapped(revision) = at.memory.swap(key, seen, &record).await? else {
                        panic!("a swap without a rival was lost");
                    };
                    yield_now().await;
                    return at.memory.swap(key, Some(revision), next).await;
                }
            }
            Self::Locking => {
                while at.count.swap(1, SeqCst) == 1 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                yield_now().await;
                let answer = at.memory.swap(key, seen, next).await;
                at.count.store(0, SeqCst);
                return answer;
            }
            Self::Belated => {
                let mut later = Later(Some((at.clone(), key.clone(), next.clone())));
                yield_now().await;
                later.0 = None;
            }
            _ => {}
        }
        at.memory.swap(key, seen, next).await
    }
}

#[test]
fn the_suite_finds_a_flaw_after_a_dropped_call() {
    use Dropped::*;
    assert_found([
        (
            InTwoSteps,
            "a swap that was dropped was carried out in part",
        ),
        (
            Renumbering,
            "a swap that was dropped was carried out in part",
        ),
        (Locking, "swap was not answered within 30s"),
        (Belated, "the record that was swapped in is loaded"),
        (
            Crossing(Mutex::default()),
            "the record that was swapped in is loaded",
        ),
    ]);
}
