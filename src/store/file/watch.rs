//! Waiting for a change: somebody looks, again and again.

use std::time::Duration;

use super::content::Stamp;
use super::life::Life;
use super::{FileStore, blocking};
use crate::record::Owner;
use crate::store::{Revision, StoreError};
use crate::token::Key;

/// How often a waiter looks: half of the 50 ms in which a change is to be noticed, so that the look itself
/// may take as long.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Every so many looks the file is read although it looks the same. Two writes within one tick of the file
/// system's clock, to files of one length in one place, cannot be told apart from outside.
const READ_EVERY: u32 = 20;

/// Returns when the record has changed, or when the holder of its claim dies while this waits for him.
pub(super) async fn changed(store: &FileStore, key: &Key, seen: Option<Revision>) {
    let mut watch = Watch {
        seen,
        known: None,
        claimant: None,
        was_alive: false,
    };
    let mut look = 0;
    loop {
        let (store, key) = (store.clone(), key.clone());
        let looked = blocking(move || watch.look(&store, &key, look == 0));
        // What cannot be read may be mended; whoever waits has a limit.
        if let Ok(looked) = looked.await {
            match looked {
                Some(same) => watch = same,
                None => return,
            }
        }
        look = (look + 1) % READ_EVERY;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the last look saw.
#[derive(Debug, Clone, Copy)]
struct Watch {
    seen: Option<Revision>,
    /// What the file looked like that had this revision.
    known: Option<Option<Stamp>>,
    claimant: Option<Owner>,
    was_alive: bool,
}

impl Watch {
    /// `None` if there is news.
    fn look(
        mut self,
        store: &FileStore,
        key: &Key,
        reads: bool,
    ) -> Result<Option<Self>, StoreError> {
        let path = store.path(key);
        if reads || self.known != Some(Stamp::of(&path)) {
            let found = store.read(key)?;
            if found.as_ref().map(|found| found.entry.1) != self.seen {
                return Ok(None);
            }
            self.known = Some(found.as_ref().map(|found| found.stamp));
            let claim = found.and_then(|found| found.entry.0.claim);
            self.claimant = claim.map(|claim| claim.owner);
        }
        let life = self.claimant.map(|owner| Life::of(&path, owner));
        // A death that is known already is no news: on a strict server it is waited on with that.
        let has_died = self.was_alive && life == Some(Life::Over);
        self.was_alive = life == Some(Life::Alive);
        Ok((!has_died).then_some(self))
    }
}
