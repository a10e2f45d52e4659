//! What the session knows of its record: as this process saw it last, and the pair that callers have before it is stored.
//!
//! A record that this manager wrote is kept for its next rotation, which leases its token without loading it and so saves a
//! round trip. A swap against it is lost where another instance was faster, and brings what the store holds then.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::Session;
use crate::clock::{StoreTime, Timestamp};
use crate::record::Record;
use crate::record::commit::Commit;
use crate::settings::Coordination;
use crate::state::HeldPair;
use crate::store::Revision;

/// A record as it was read, and the store's clock at that time. Clones share the record.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) entry: Option<(Arc<Record>, Revision)>,
    pub(crate) clock: StoreClock,
}

impl Seen {
    pub(crate) fn new(entry: Option<(Record, Revision)>, clock: StoreClock) -> Self {
        let entry = entry.map(|(record, revision)| (Arc::new(record), revision));
        Self { entry, clock }
    }

    /// The `record` to be kept: the one that was read is shared, and another one is copied.
    pub(crate) fn shared(&self, record: &Record) -> Arc<Record> {
        match &self.entry {
            Some((read, _)) if std::ptr::eq(&raw const **read, record) => Arc::clone(read),
            _ => Arc::new(record.clone()),
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.entry.as_ref().map(|(record, _)| &**record)
    }

    pub(crate) fn revision(&self) -> Option<Revision> {
        self.entry.as_ref().map(|(_, revision)| *revision)
    }
}

/// The store's time, carried on by the clock of this process. The store read it at some moment between the request (`asked`)
/// and the answer (`at`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreClock {
    pub(crate) read: StoreTime,
    pub(crate) asked: Timestamp,
    pub(crate) at: Timestamp,
}

impl StoreClock {
    /// By how much the store's time may be ahead of the assumed time.
    pub(crate) fn lag(self) -> Duration {
        self.at.since(self.asked)
    }

    /// By how much the store's time is ahead of the assumed time, and behind it, as a `later` reading shows: the clocks
    /// of two machines run at different rates, and the store's may have been stepped.
    pub(crate) fn is_off_by(self, later: Self) -> (Duration, Duration) {
        let taken = self.read.after(later.at.since(self.at));
        let (ahead, behind) = (later.read.since(taken), taken.since(later.read));
        (
            ahead.saturating_sub(self.lag()),
            behind.saturating_sub(later.lag()),
        )
    }
}

#[derive(Debug, Default)]
pub(super) struct LastWritten(Mutex<Option<Box<Seen>>>);

impl Session {
    /// This manager wrote the record, and the store reported when.
    pub(crate) fn wrote(&self, written: Seen) {
        if self.settings().coordination == Coordination::Lease {
            *self.last_written.0.lock() = Some(Box::new(written));
        }
    }

    /// Forgets the record: another session begins here, or the session has ended.
    pub(super) fn forget_written(&self) {
        *self.last_written.0.lock() = None;
    }

    #[cfg(test)]
    pub(crate) fn has_written(&self) -> bool {
        self.last_written.0.lock().is_some()
    }

    /// The record that was written last, as long as its pair is the one that is held. It is handed out once; after that, the
    /// store is read.
    pub(crate) fn take_written(&self) -> Option<Seen> {
        let written = self.last_written.0.lock().take()?;
        let state = self.lock();
        let is_held = state.pair_id() == written.record().map(Record::pair_id);
        (is_held && !state.has_ended()).then_some(*written)
    }
}

/// A pair that the server issued, with everything that is needed to store it after its rotation is over.
#[derive(Debug)]
pub(crate) struct Unstored {
    pub(crate) held: HeldPair,
    pub(crate) commit: Commit,
    /// What the store held when it was read last.
    pub(crate) seen: Seen,
    /// When the token was leased.
    pub(crate) since: Timestamp,
    /// The epoch in which the rotation read the store.
    pub(crate) epoch: u64,
    /// Whether the pair is taken as it is. Otherwise it is rotated once more if its access token has expired when it is stored.
    pub(crate) is_last: bool,
    /// Whether callers have the pair already.
    pub(crate) is_published: bool,
    /// Whether a failure to store the pair was reported to subscribers.
    pub(crate) is_reported: bool,
}

impl Unstored {
    /// Takes the place of an `earlier` pair, which is not stored any more.
    fn follow(&mut self, earlier: Self) {
        // A pair of another session is not a predecessor of this one.
        if earlier.commit.family != self.commit.family {
            return;
        }
        let superseded = earlier.commit.superseded.into_iter();
        let superseded = superseded.chain([earlier.commit.predecessor]);
        self.commit.superseded.splice(..0, superseded);
        self.commit.base = earlier.commit.base;
        self.commit.rival = earlier.commit.rival;
        self.seen = earlier.seen;
        self.since = earlier.since;
        self.is_reported |= earlier.is_reported;
    }
}

/// The pair of a session that waits to be stored: the latest that callers have. The buffers are allocated for the first one.
#[derive(Debug, Default)]
pub(crate) struct Outbox(OnceLock<Box<Tray>>);

#[derive(Debug, Default)]
struct Tray {
    content: Mutex<Content>,
    /// Locked while a pair is being stored: one at a time, in order.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Content {
    waiting: Option<Box<Unstored>>,
    /// Kept for as long as a pair waits: a session has one place in the queue.
    permit: Option<OwnedSemaphorePermit>,
    is_writing: bool,
}

impl Outbox {
    fn tray(&self) -> &Tray {
        self.0.get_or_init(Box::default)
    }

    /// To be kept while a pair is being stored; `None` if no pair was ever put in.
    pub(crate) async fn writing(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        Some(self.0.get()?.turn.lock().await)
    }

    /// Puts a pair in, in place of one that waits. Returns whether no task stores the session's pairs yet.
    pub(crate) fn put(&self, mut unstored: Unstored, permit: OwnedSemaphorePermit) -> bool {
        let mut content = self.tray().content.lock();
        if let Some(earlier) = content.waiting.take() {
            unstored.follow(*earlier);
        }
        content.waiting = Some(Box::new(unstored));
        let is_first = content.permit.is_none();
        content.permit.get_or_insert(permit);
        is_first
    }

    /// Takes the pair that waits, to store it.
    pub(crate) fn take(&self) -> Option<Unstored> {
        let mut content = self.tray().content.lock();
        let taken = content.waiting.take();
        content.is_writing = taken.is_some();
        taken.map(|unstored| *unstored)
    }

    /// Puts a pair back that could not be stored. A later one may have been put in meanwhile.
    pub(crate) fn put_back(&self, unstored: Unstored) {
        let mut content = self.tray().content.lock();
        content.is_writing = false;
        match &mut content.waiting {
            Some(newer) => newer.follow(unstored),
            waiting @ None => *waiting = Some(Box::new(unstored)),
        }
    }

    /// The pair that was taken is stored, or need not be stored any more. Returns whether nothing is left.
    pub(crate) fn stored(&self) -> bool {
        let mut content = self.tray().content.lock();
        content.is_writing = false;
        let is_empty = content.waiting.is_none();
        content.permit.take_if(|_| is_empty);
        is_empty
    }

    /// Drops the pair that waits, if its token was leased at this moment at the latest. Returns whether a pair was dropped.
    pub(crate) fn give_up(&self, leased_by: Timestamp) -> bool {
        let waiting = &mut self.tray().content.lock().waiting;
        waiting.take_if(|it| it.since <= leased_by).is_some()
    }

    /// Whether the last pair that callers have is not stored yet.
    pub(crate) fn has_unstored(&self) -> bool {
        self.0.get().is_some_and(|tray| {
            let content = tray.content.lock();
            content.is_writing || content.waiting.is_some()
        })
    }
}
