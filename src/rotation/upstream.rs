//! A logout that the provider sends: it ends the session that it means, and no other one that has taken its place under the
//! key.
//!
//! The turn of the session is held from the decision until the logout is stored, so that no sign-in of this process comes in
//! between. A sign-in of another instance may: then the record shows another session, and stays.

use std::sync::Arc;

use super::logout::{Stored, revoke_all, store_at_last, write_in_turn};
use super::patiently;
use crate::record::marks::Marks;
use crate::session::{Chore, Session};
use crate::state::HeldAtLogout;
use crate::store::StoreError;

/// A session that was logged out in this process, with what is still to be done.
pub(crate) struct LoggedOut {
    chore: Chore,
    had: HeldAtLogout,
    meant: Marks,
    stored: Stored,
}

impl LoggedOut {
    /// Whether the store holds the logout. `false` if another session has taken the place of the one that was meant.
    pub(crate) fn is_stored(&self) -> Result<bool, StoreError> {
        let stored = self.stored.as_ref().map(Option::is_some);
        stored.map_err(Clone::clone)
    }

    /// Revokes the pairs of the session, and stores a logout that is not stored yet.
    pub(crate) async fn finish(self) {
        let session = self.chore.session();
        // The instance that signed in has taken care of the pair that it replaced.
        if !matches!(self.stored, Ok(None)) {
            // The caller of the logout has its answer already.
            let _ = revoke_all(session, &self.had, &self.stored).await;
        }
        store_at_last(session, &self.had, Some(&self.meant), self.stored).await;
    }
}

/// Logs out if the provider's logout means the session: for this process at once, then in the store.
pub(crate) async fn log_out_if_meant(
    chore: Chore,
    meant: Marks,
) -> Result<Option<LoggedOut>, StoreError> {
    let session = Arc::clone(chore.session());
    let _turn = session.in_order().await;
    let is_meant = match session.is_meant_by(&meant) {
        Some(is_meant) => is_meant,
        None => {
            let seen = session.load_patiently().await?;
            seen.record()
                .is_some_and(|record| record.is_meant_by(&meant))
        }
    };
    if !is_meant {
        return Ok(None);
    }
    let had = session.log_out();
    let stored = patiently(|| write_in_turn(&session, &had, Some(&meant))).await;
    Ok(Some(LoggedOut {
        chore,
        had,
        meant,
        stored,
    }))
}

impl Session {
    /// Whether the provider's `logout` means the session whose pair is held; `None` if none is held.
    pub(crate) fn is_meant_by(&self, logout: &Marks) -> Option<bool> {
        let state = self.lock();
        let marks = state.held().map(|held| held.committed.upstream);
        marks.map(|marks| marks.is_some_and(|marks| marks.are_meant_by(logout)))
    }
}
