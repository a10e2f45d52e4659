//! A record as this process saw it last: read, or written by itself.
//!
//! A record that this manager wrote is kept for its next rotation, which leases its token without loading it and so saves a
//! round trip. A swap against it is lost where another instance was faster, and brings what the store holds then.

use std::time::Duration;

use parking_lot::Mutex;

use super::Session;
use crate::clock::{StoreTime, Timestamp};
use crate::record::Record;
use crate::settings::Coordination;
use crate::store::Revision;

/// A record as it was read, and the store's clock at that time.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) entry: Option<(Record, Revision)>,
    pub(crate) clock: StoreClock,
}

impl Seen {
    pub(crate) fn record(&self) -> Option<&Record> {
        self.entry.as_ref().map(|(record, _)| record)
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
        let state = self.state.lock();
        let is_held = state.pair_id() == written.record().map(Record::pair_id);
        (is_held && !state.has_ended()).then_some(*written)
    }
}
