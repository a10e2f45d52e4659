//! The store that all instances share, and the way of each instance to it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, Revision, StoreTime, Swap};
use evertoken::testing::TestClock;
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::gate::{Gate, Gone};
use crate::observer::{NodeId, Observer};
use crate::scenario::{Ambush, Point, Write, seconds};

pub(crate) struct Storage {
    inner: MemoryStore,
    observer: Arc<Observer>,
    /// The records that the store held, the latest last.
    past: Mutex<Vec<Record>>,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) is_down: Mutex<bool>,
    /// The instances that cannot reach the store.
    pub(crate) cut_off: watch::Sender<Vec<usize>>,
}

impl Storage {
    pub(crate) fn new(clock: TestClock, observer: Arc<Observer>, latency: Duration) -> Self {
        Self {
            inner: MemoryStore::with_clock(clock),
            observer,
            past: Mutex::default(),
            latency: Mutex::new(latency),
            is_down: Mutex::new(false),
            cut_off: watch::Sender::new(Vec::new()),
        }
    }

    async fn apply(
        &self,
        by: NodeId,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let answer = self.inner.swap(key, seen, next).await;
        if let Ok(Swap::Swapped(_)) = answer {
            self.observer.swapped(by, next);
            self.past.lock().push(next.clone());
        }
        answer
    }

    /// Finds the record that knows a token, also in earlier records that have since dropped it.
    fn whose(&self, digest: &Digest) -> Option<Key> {
        let past = self.past.lock();
        let knows = past.iter().find(|record| record.knows(digest));
        knows.map(|record| record.key().clone())
    }

    /// A replica that missed the last `writes` writes takes over.
    pub(crate) async fn fail_over(&self, key: &Key, writes: usize) {
        let older = {
            let mut past = self.past.lock();
            if past.len() <= writes {
                return;
            }
            let kept = past.len() - writes;
            past.truncate(kept);
            past.last().cloned()
        };
        let now = self.inner.load(key).await.expect("memory").entry;
        let revision = now.map(|(_, revision)| revision);
        let older = older.expect("an older record");
        self.inner
            .swap(key, revision, &older)
            .await
            .expect("memory");
        self.observer.failed_over(&older);
    }
}

#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) storage: Arc<Storage>,
    pub(crate) gate: Arc<Gate>,
    /// The fates of the next swaps of this instance.
    pub(crate) writes: Arc<Mutex<VecDeque<Write>>>,
    /// The fates of the next swaps by which this instance commits a pair.
    pub(crate) commits: Arc<Mutex<VecDeque<Commit>>>,
}

/// The fate of a commit, and the ambush that waits for the instance after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit {
    pub(crate) write: Write,
    pub(crate) then: (Point, Ambush),
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore").finish_non_exhaustive()
    }
}

/// Notes that a call has failed, or that the instance no longer waits for its answer, unless the answer was read.
struct Waiting<'a> {
    gate: &'a Gate,
    is_answered: bool,
}

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate) -> Self {
        Self {
            gate,
            is_answered: false,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.gate.observer.troubled(self.gate.id);
        }
    }
}

fn gone(_: Gone) -> StoreError {
    StoreError::new("the instance is gone")
}

impl SimStore {
    /// The way to the store, or the way back.
    async fn way(&self) -> Result<(), StoreError> {
        let latency = *self.storage.latency.lock() / 2;
        if !latency.is_zero() {
            sleep(latency).await;
        }
        let node = self.gate.id.node;
        let mut cut_off = self.storage.cut_off.subscribe();
        let reached = cut_off.wait_for(|nodes| !nodes.contains(&node));
        let _ = reached.await;
        if *self.storage.is_down.lock() {
            return Err(StoreError::new("the store is down"));
        }
        Ok(())
    }
}

impl SimStore {
    /// Slows an instance down that calls the store without end, so that the run ends.
    async fn called(&self) {
        if self.gate.observer.called(self.gate.id) {
            sleep(seconds(60)).await;
        }
    }

    fn fate(&self, next: &Record) -> Option<Write> {
        let mut commits = self.commits.lock();
        if !commits.is_empty() && self.gate.observer.is_commit(self.gate.id, next) {
            let commit = commits.pop_front()?;
            let (point, ambush) = commit.then;
            self.gate.lay(point, ambush);
            return Some(commit.write);
        }
        self.writes.lock().pop_front()
    }
}

#[async_trait]
impl TokenStore for SimStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let observer = &self.gate.observer;
        let mut waiting = Waiting::new(&self.gate);
        self.called().await;
        self.gate.pass(Point::BeforeLoad).await.map_err(gone)?;
        self.way().await?;
        let loaded = self.storage.inner.load(key).await;
        let read_at = observer.now();
        self.way().await?;
        self.gate.pass(Point::AfterLoad).await.map_err(gone)?;
        observer.loaded(self.gate.id, observer.now() - read_at);
        waiting.is_answered = loaded.is_ok();
        loaded
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let (swap, _) = self.swap_timed(key, seen, next).await?;
        Ok(swap)
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let mut waiting = Waiting::new(&self.gate);
        self.called().await;
        self.gate.pass(Point::BeforeSwap).await.map_err(gone)?;
        self.way().await?;
        let fate = self.fate(next);
        let by = self.gate.id;
        if let Some(fate) = fate {
            self.gate.observer.note(|| format!("{by}'s swap: {fate:?}"));
        }
        let answer = match fate {
            Some(Write::Lost) => return Err(StoreError::new("lost on the way")),
            Some(Write::Late(span)) => {
                let (storage, key, next) = (self.storage.clone(), key.clone(), next.clone());
                let late = tokio::spawn(async move {
                    sleep(seconds(span)).await;
                    storage.apply(by, &key, seen, &next).await
                });
                late.await.map_err(|_| StoreError::new("died"))?
            }
            _ => self.storage.apply(by, key, seen, next).await,
        };
        if fate == Some(Write::Unanswered) {
            return Err(StoreError::new("lost on the way back"));
        }
        // A remote store reports the time at which it answered.
        let is_elsewhere = !self.storage.latency.lock().is_zero();
        let read = self.storage.inner.load(key).await?.now;
        let observer = &self.gate.observer;
        let read_at = observer.now();
        self.way().await?;
        self.gate.pass(Point::AfterSwap).await.map_err(gone)?;
        if is_elsewhere {
            observer.loaded(self.gate.id, observer.now() - read_at);
        }
        waiting.is_answered = answer.is_ok();
        if let Ok(Swap::Swapped(_)) = answer {
            self.gate.observer.wrote(by, next);
        }
        Ok((answer?, is_elsewhere.then_some(read)))
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let mut waiting = Waiting::new(&self.gate);
        self.called().await;
        self.way().await?;
        let found = self.storage.whose(digest);
        self.way().await?;
        waiting.is_answered = true;
        Ok(found)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.called().await;
        // The result of this point is not used: the wait happens in any case.
        if self.gate.pass(Point::BeforeChanged).await.is_err() {
            return;
        }
        let _ = self.way().await;
        self.storage.inner.changed(key, seen).await;
        let _ = self.way().await;
        let _ = self.gate.pass(Point::AfterChanged).await;
    }
}
