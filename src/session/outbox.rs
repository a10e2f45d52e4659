//! A pair that callers have before it is stored, where they do not wait for the store.

use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::clock::Timestamp;
use crate::record::commit::{Commit, Rival};
use crate::record::lease::Holder;
use crate::record::{Record, StoredPair};
use crate::state::HeldPair;
use crate::store::{Revision, StoreTime};
use crate::token::{Digest, PairId};

/// A pair that the server issued, with everything that is needed to store it after its rotation is over.
#[derive(Debug)]
pub(crate) struct Unstored {
    pub(crate) held: HeldPair,
    /// The lease under which the pair was fetched.
    pub(crate) holder: Holder,
    pub(crate) base: PairId,
    pub(crate) predecessor: Digest,
    pub(crate) passed: Vec<Digest>,
    pub(crate) rival: Rival,
    /// What the store held when it was read last, and the store's time then.
    pub(crate) seen: Option<(Record, Revision)>,
    pub(crate) read: (StoreTime, Timestamp),
    /// When the token was leased.
    pub(crate) since: Timestamp,
    /// The epoch in which the rotation read the store.
    pub(crate) epoch: u64,
    /// Whether the pair is taken as it is. Otherwise it is rotated once more if its access token has expired when it is stored.
    pub(crate) is_last: bool,
    /// Whether callers have the pair already.
    pub(crate) is_published: bool,
    /// Whether subscribers were told that the pair could not be stored.
    pub(crate) is_told: bool,
}

impl Unstored {
    /// The commit, with the pair's times in store time.
    pub(crate) fn commit(&self, pair: StoredPair) -> Commit {
        Commit {
            holder: self.holder,
            base: self.base,
            predecessor: self.predecessor,
            passed: self.passed.clone(),
            family: self.held.pair_id.family,
            sign_ins: self.held.sign_ins,
            rival: self.rival,
            pair,
        }
    }

    /// Takes the place of an `earlier` pair, which is not stored any more.
    fn follow(&mut self, earlier: Self) {
        // A pair of another session is not a predecessor of this one.
        if earlier.held.pair_id.family != self.held.pair_id.family {
            return;
        }
        self.passed
            .splice(..0, earlier.passed.into_iter().chain([earlier.predecessor]));
        self.base = earlier.base;
        self.rival = earlier.rival;
        self.seen = earlier.seen;
        self.read = earlier.read;
        self.since = earlier.since;
        self.is_told |= earlier.is_told;
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
        if is_empty {
            content.permit = None;
        }
        is_empty
    }

    /// Drops the pair that waits, if its token was leased at this moment at the latest. Returns whether a pair was dropped.
    pub(crate) fn give_up(&self, leased_by: Timestamp) -> bool {
        let mut content = self.tray().content.lock();
        let dropped = content
            .waiting
            .take_if(|waiting| waiting.since <= leased_by);
        dropped.is_some()
    }

    /// Whether the last pair that callers have is not stored yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.0.get().is_some_and(|tray| {
            let content = tray.content.lock();
            content.is_writing || content.waiting.is_some()
        })
    }
}
