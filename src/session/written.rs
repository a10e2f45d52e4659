//! The record as this manager wrote it last: the next rotation leases its token without loading it, which saves a round
//! trip. A swap against it is lost where another instance was faster, and brings what the store holds then.

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::record::Record;
use crate::settings::Coordination;
use crate::store::{Revision, StoreTime};

use super::Session;

/// A record that was written, and the store's clock at that time.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) record: Record,
    pub(crate) revision: Revision,
    /// The store's time of the writing.
    pub(crate) read: StoreTime,
    /// When the store was asked to write it, and when it answered.
    pub(crate) asked: Timestamp,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct LastWritten(Mutex<Option<Box<Written>>>);

impl Session {
    /// The record was written, by a store that said when.
    pub(crate) fn wrote(&self, written: Written) {
        if self.settings().coordination == Coordination::Lease {
            *self.last_written.0.lock() = Some(Box::new(written));
        }
    }

    /// Another session is to begin here, or none.
    pub(super) fn forget_written(&self) {
        *self.last_written.0.lock() = None;
    }

    #[cfg(test)]
    pub(crate) fn has_written(&self) -> bool {
        self.last_written.0.lock().is_some()
    }

    /// What was written last, as long as its pair is the one that is held. It is handed out once: after that, the store is
    /// asked.
    pub(crate) fn take_written(&self) -> Option<Written> {
        let written = self.last_written.0.lock().take()?;
        let state = self.state.lock();
        let is_held = state.pair_id() == Some(written.record.pair_id());
        (is_held && !state.has_ended()).then_some(*written)
    }
}
