//! The connection of one instance to a storage. The connection can be slow, be cut, lose answers, and set the clock
//! ahead.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::protocol::{Digest, Lease, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::scene::PATIENCE;

/// The fate of a swap.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The swap and its answer arrive.
    Works,
    /// The swap is applied, and the answer is lost.
    AppliedUnanswered,
    /// The swap never arrives.
    Lost,
    /// Another instance writes this record just before the swap.
    BeatenBy(Box<Record>),
    /// The record of another instance is there at the time of the swap, and is gone by the time of the answer.
    BeatenByWhatVanished,
}

/// How far the clock of the storage is set ahead; every connection to the storage shares the value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    ahead: Duration,
    /// The number of requests for a record that are not answered yet.
    waiting: usize,
}

impl Ahead {
    /// Sets the clock ahead, and lets the instances `sleep` meanwhile. This happens while no request is open: an
    /// instance that sleeps during a request cannot know the time of the answer.
    pub(crate) async fn pass(&self, span: Duration, sleep: impl Fn()) {
        let pass = async {
            while !self.pass_unless_asked(span, &sleep) {
                tokio::task::yield_now().await;
            }
        };
        let passed = tokio::time::timeout(PATIENCE, pass).await;
        assert!(passed.is_ok(), "a request is open all the time");
    }

    fn pass_unless_asked(&self, span: Duration, sleep: impl Fn()) -> bool {
        let mut asked = self.0.lock();
        if asked.waiting > 0 {
            return false;
        }
        asked.ahead += span;
        sleep();
        true
    }

    fn ask(&self) -> Asking {
        let mut asked = self.0.lock();
        asked.waiting += 1;
        Asking {
            all: self.clone(),
            ahead: asked.ahead,
        }
    }
}

struct Asking {
    all: Ahead,
    ahead: Duration,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.all.0.lock().waiting -= 1;
    }
}

#[derive(Clone)]
pub(crate) struct Line {
    inner: Arc<dyn TokenStore>,
    ahead: Ahead,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    fates: Mutex<VecDeque<Fate>>,
    is_cut: AtomicBool,
    loads: watch::Sender<u64>,
    swaps: watch::Sender<u64>,
    waits: watch::Sender<u64>,
    there: Door,
    back: Door,
}

impl Line {
    pub(crate) fn new(inner: Arc<dyn TokenStore>, ahead: Ahead) -> Self {
        Self {
            inner,
            ahead,
            state: Arc::default(),
        }
    }

    /// Assigns these fates to the next swaps.
    pub(crate) fn swaps_meet(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state.fates.lock().extend(fates);
    }

    /// Cuts the connection, or restores it.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.state.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Stops swaps before they reach the storage, until the guard is dropped.
    pub(crate) fn stop_swaps(&self) -> Shut {
        Shut::new(self, |state| &state.there)
    }

    /// Applies swaps, and holds their answers back until the guard is dropped.
    pub(crate) fn stop_answers(&self) -> Shut {
        Shut::new(self, |state| &state.back)
    }

    /// The number of loads so far.
    pub(crate) fn loads(&self) -> u64 {
        *self.state.loads.borrow()
    }

    /// The number of swaps so far.
    pub(crate) fn swaps(&self) -> u64 {
        *self.state.swaps.borrow()
    }

    /// Returns once this number of waits for a change has begun in total.
    pub(crate) async fn waited(&self, times: u64) {
        reached(&self.state.waits, times).await;
    }

    /// Returns after this number of further loads, when the instance waits again.
    pub(crate) async fn looked(&self, times: u64) {
        let before = *self.state.waits.borrow();
        reached(&self.state.waits, before + times).await;
    }

    async fn write(&self, key: &Key, record: &Record) -> Result<(), StoreError> {
        let before = self.inner.load(key).await?.entry;
        let before = before.map(|(_, revision)| revision);
        let written = self.inner.swap(key, before, record).await?;
        assert!(
            matches!(written, Swap::Swapped(_)),
            "another instance writes at the same time"
        );
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.state.is_cut.load(Ordering::SeqCst) {
            return Err(StoreError::new("the line is cut"));
        }
        Ok(())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.inner).finish()
    }
}

#[async_trait]
impl TokenStore for Line {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.check()?;
        count(&self.state.loads);
        let asking = self.ahead.ask();
        let mut loaded = self.inner.load(key).await?;
        loaded.now = loaded.now.after(asking.ahead);
        Ok(loaded)
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.check()?;
        let fate = self.state.fates.lock().pop_front().unwrap_or(Fate::Works);
        count(&self.state.swaps);
        if let Fate::Lost = fate {
            return Err(StoreError::new("the request was lost"));
        }
        self.state.there.pass().await;
        // The connection may have been cut meanwhile.
        self.check()?;
        match &fate {
            Fate::BeatenBy(record) => self.write(key, record).await?,
            Fate::BeatenByWhatVanished => return Ok(Swap::Lost(None)),
            _ => {}
        }
        let answer = self.inner.swap(key, seen, next).await;
        self.state.back.pass().await;
        match fate {
            Fate::AppliedUnanswered => Err(StoreError::new("the answer was lost")),
            _ => answer,
        }
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        count(&self.state.waits);
        self.inner.changed(key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.check()?;
        self.inner.find(digest).await
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        self.check().is_ok() && self.inner.holder_is_dead(key, lease).await
    }
}

#[derive(Default)]
struct Door {
    is_shut: watch::Sender<bool>,
    arrived: watch::Sender<u64>,
}

impl Door {
    async fn pass(&self) {
        if *self.is_shut.borrow() {
            count(&self.arrived);
            let mut shut = self.is_shut.subscribe();
            shut.wait_for(|shut| !shut)
                .await
                .expect("the sender lives as long as the door");
        }
    }
}

/// Keeps a door closed until the guard is dropped.
pub(crate) struct Shut {
    state: Arc<State>,
    door: fn(&State) -> &Door,
    before: u64,
}

impl Shut {
    fn new(line: &Line, door: fn(&State) -> &Door) -> Self {
        let state = Arc::clone(&line.state);
        door(&state).is_shut.send_replace(true);
        let before = *door(&state).arrived.borrow();
        Self {
            state,
            door,
            before,
        }
    }

    /// Returns when a request waits at the door.
    pub(crate) async fn reached(&self) {
        reached(&(self.door)(&self.state).arrived, self.before + 1).await;
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        (self.door)(&self.state).is_shut.send_replace(false);
    }
}

fn count(counter: &watch::Sender<u64>) {
    counter.send_modify(|count| *count += 1);
}

async fn reached(counter: &watch::Sender<u64>, least: u64) {
    let mut counter = counter.subscribe();
    counter
        .wait_for(|count| *count >= least)
        .await
        .expect("the sender lives as long as the counter");
}
