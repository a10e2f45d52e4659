//! Logs out: first ends the record, so that no instance rotates on, then revokes the pairs of the session.
//!
//! A logout never waits for a rotation. A rotation that commits later finds the record ended; its pair is revoked and
//! never published.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::begin::{displacing, seeded};
use super::revoke::{
    ToRevoke, clear, revoke_in_background, revoke_left_behind, revoke_now_or_later,
};
use super::user_code::{STORE_PAUSE, STORE_TRIES, load, store_now, swap};
use super::{Next, Rotation, Seen, family};
use crate::clock::Backoff;
use crate::clock::Timestamp;
use crate::error::{Causes, EndReason, Error};
use crate::event::LogoutProgress;
use crate::record::commit::Seeding;
use crate::record::{Record, RecordState};
use crate::session::Session;
use crate::settings::OnSeedConflict;
use crate::state::{HeldAtLogout, HeldPair, LogoutStage};
use crate::store::{StoreError, Swap};
use crate::token::TokenPair;

/// The pauses between attempts to store a logout.
const BACKOFF: Backoff = Backoff::new(STORE_PAUSE, Duration::from_secs(5));

/// Ends the session and reports the `progress` until the first attempts at storing and revoking are over. A logout
/// that is not stored by then is tried again as long as the manager lives.
pub(crate) async fn log_out(
    session: &Arc<Session>,
    had: HeldAtLogout,
    progress: watch::Sender<LogoutProgress>,
) {
    let mut stored = Err(StoreError::new("not tried"));
    for tried in 0..STORE_TRIES {
        stored = write(session, &had).await;
        if stored.is_ok() {
            break;
        }
        tokio::time::sleep(STORE_PAUSE * (tried + 1)).await;
    }
    let is_stored = stored.as_ref().map(drop).map_err(Clone::clone);
    progress.send_modify(|it| it.stored = Some(is_stored));
    let mut revoked = Ok(());
    let kept = stored.as_ref().ok().and_then(|seen| seen.as_ref());
    let digest = kept.and_then(Seen::record).map(Record::digest);
    for pair in had.pairs() {
        if Some(pair.digest(&session.key)) != digest {
            let to_revoke = ToRevoke::Pair(pair.clone());
            revoked = revoked.and(revoke_now_or_later(session, to_revoke).await);
        }
    }
    if let Some(seen) = kept {
        let to_revoke = ToRevoke::Record(Box::new(seen.clone()));
        revoked = revoked.and(revoke_now_or_later(session, to_revoke).await);
    }
    progress.send_modify(|it| it.revoked = Some(revoked));
    drop(progress);
    let mut backoff = BACKOFF;
    while let Err(error) = &stored
        && !session.is_closing()
    {
        tracing::warn!(key = %session.key, error = %Causes(error), "a logout could not be stored; the manager tries again");
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = session.closing() => {}
        }
        stored = write(session, &had).await;
        if let Ok(Some(seen)) = &stored {
            // The caller of the logout has its answer already.
            let _ = revoke_now_or_later(session, ToRevoke::Record(Box::new(seen.clone()))).await;
        }
    }
    if let Err(error) = stored {
        tracing::error!(key = %session.key, error = %Causes(&error), "a logout could not be stored, and the manager gives up: other instances may still serve the session");
        session.gave_up(error);
    }
}

/// Writes the logout into the record. Returns `None` if the user has signed in again meanwhile.
async fn write(session: &Arc<Session>, had: &HeldAtLogout) -> Result<Option<Seen>, StoreError> {
    let _turn = session.in_order().await;
    loop {
        let mut seen = load(session).await?;
        if session.lock().logout_stage() != Some(LogoutStage::Asked) {
            return Ok(None);
        }
        if let Some((seed, given_at)) = &had.seed
            && conflicts(session, &seen, seed, *given_at).await?
        {
            // The stored session belongs to another seed, and this manager never held it.
            revoke_in_background(session, seed.clone());
            session.lock().logout_stored(family().map_err(store_error)?);
            return Ok(None);
        }
        let last = last(session, had, &seen).await?;
        let is_same = |record: &&Record| record.family == last.family;
        let before = seen.record();
        if before
            .filter(is_same)
            .is_some_and(|record| record.state == RecordState::LoggedOut)
        {
            session.logout_stored(before);
            return Ok(Some(seen));
        }
        let ended = last.ended(RecordState::LoggedOut);
        match swap(session, seen.revision(), &ended).await? {
            Swap::Swapped(revision) => {
                // A session that the seed displaces is logged out as well.
                revoke_left_behind(session, before.filter(|it| !is_same(it)), true, None);
                session.logout_stored(Some(&ended));
                seen.entry = Some((ended, revision));
                return Ok(Some(seen));
            }
            Swap::Lost(_) => tokio::time::sleep(super::UNCHANGED_PAUSE).await,
        }
    }
}

/// The error as one of the store. Seeds and families fail only with errors of the store.
fn store_error(error: Error) -> StoreError {
    match error {
        Error::Store { source, .. } => source,
        error => StoreError::with_source("the logout could not be prepared", error),
    }
}

/// Whether the settings refuse the seed because the stored session goes on.
async fn conflicts(
    session: &Session,
    seen: &Seen,
    seed: &TokenPair,
    given_at: Timestamp,
) -> Result<bool, StoreError> {
    let seeding = seeded(session, seen, seed.clone(), given_at)
        .await
        .map_err(store_error)?;
    let is_refused = session.settings().on_seed_conflict == OnSeedConflict::Error;
    Ok(is_refused && matches!(seeding, Seeding::Displaces(_)))
}

/// The record that the logout ends. If the store has none, a record is made up: it keeps a seed of the next start
/// from undoing the logout.
async fn last(session: &Session, had: &HeldAtLogout, seen: &Seen) -> Result<Record, StoreError> {
    let now = store_now(session, seen.clock);
    let family = family().map_err(store_error)?;
    if let Some((pair, given_at)) = &had.seed {
        let seeding = seeded(session, seen, pair.clone(), *given_at)
            .await
            .map_err(store_error)?;
        if let Some(record) = displacing(session, seeding) {
            return Ok(record);
        }
    }
    Ok(match (seen.record(), &had.held) {
        (Some(record), _) => record.clone(),
        (None, Some(held)) => Record::forwarded(
            None,
            &session.key,
            held.summary(),
            session.stored(held, now),
            0,
        ),
        (None, None) => Record::vacant(session.key.clone(), family),
    })
}

/// Revokes what a logout left behind: held pairs that the record does not hold, and the record's own pair, if the
/// instance that logged out stopped before revoking it.
pub(super) async fn clean_up(
    session: &Arc<Session>,
    record: &Record,
    seen: &Seen,
    held: Option<&HeldPair>,
    epoch: u64,
) {
    let family = held.map_or(record.family, |held| held.pair_id.family);
    let spare = session.take_spare(family, epoch);
    for ours in held.into_iter().chain(&spare) {
        if ours.digest != record.digest() {
            revoke_in_background(session, ours.pair.clone());
        }
    }
    // The caller of the logout has its answer already. The instance that reads this record next tries again.
    let _ = clear(session, seen).await;
}

impl Rotation {
    /// After a logout in this process, no session that was logged out here is adopted, even if a store that was set
    /// back shows it as active: the record is ended again. Returns `None` if the record is another session, or says
    /// logged out itself.
    pub(super) async fn enforce_logout(&self, seen: &Seen) -> Result<Option<Next>, Error> {
        let stage = self.session().lock().logout_stage();
        let Some(record) = seen.record().filter(|_| stage != Some(LogoutStage::Asked)) else {
            return match stage {
                Some(_) => Err(Error::ended(EndReason::LoggedOut)),
                None => Ok(None),
            };
        };
        let is_logged_out = {
            let state = self.session().lock();
            // The user has signed in since: that session is written over this record.
            let is_past = state
                .held()
                .is_some_and(|held| held.sign_ins > record.sign_ins);
            // The user had replaced this session by another one before the logout.
            let is_older = stage.is_some() && record.sign_ins < state.sign_ins();
            state.is_logged_out(record.family) && !is_past || is_older
        };
        if !is_logged_out || record.state == RecordState::LoggedOut {
            return Ok(None);
        }
        self.swap(seen.revision(), &record.ended(RecordState::LoggedOut))
            .await?;
        Ok(Some(Next::Reload))
    }
}
