//! Logs out: first ends the record, so that no instance rotates on, then revokes the pairs of the session.
//!
//! A logout never waits for a rotation. A rotation that commits later finds the record ended; its pair is revoked and
//! never published.
//!
//! This module also revokes pairs that another pair replaced. A server that cannot be reached now is tried again later.
//! Only a logout waits for a revocation, and only for its first attempt: no token of a session in use depends on one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::begin::{displacing, seeded};
use super::{Next, Rotation, STORE_PAUSE, Seen, UNCHANGED_PAUSE, family, patiently};
use crate::clock::Backoff;
use crate::endpoint::EndpointError;
use crate::error::{Causes, EndReason, Error};
use crate::event::LogoutProgress;
use crate::record::commit::Seeding;
use crate::record::marks::Marks;
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
    let stored = patiently(|| write(session, &had, None)).await;
    let is_stored = stored.as_ref().map(drop).map_err(Clone::clone);
    progress.send_modify(|it| it.stored = Some(is_stored));
    let revoked = revoke_all(session, &had, &stored).await;
    progress.send_modify(|it| it.revoked = Some(revoked));
    drop(progress);
    store_at_last(session, &had, None, stored).await;
}

/// What the first attempts at storing a logout came to: the record that says so, or `None` where there was nothing to end.
pub(super) type Stored = Result<Option<Seen>, StoreError>;

/// Revokes the pairs of the session, and returns the result of the first attempt.
pub(super) async fn revoke_all(
    session: &Arc<Session>,
    had: &HeldAtLogout,
    stored: &Stored,
) -> Result<(), EndpointError> {
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
    revoked
}

/// Tries to store a logout that is not stored yet, for as long as the manager lives.
pub(super) async fn store_at_last(
    session: &Arc<Session>,
    had: &HeldAtLogout,
    meant: Option<&Marks>,
    mut stored: Stored,
) {
    let mut backoff = BACKOFF;
    while let Err(error) = &stored
        && !session.is_closing()
    {
        tracing::warn!(key = %session.key, error = %Causes(error), "a logout could not be stored; the manager tries again");
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = session.closing() => {}
        }
        stored = write(session, had, meant).await;
        if let Ok(Some(seen)) = &stored {
            // The caller of the logout has its answer already.
            let _ = revoke_now_or_later(session, ToRevoke::Record(Box::new(seen.clone()))).await;
        }
    }
    if let Err(error) = stored {
        tracing::error!(key = %session.key, error = %Causes(&error), "a logout could not be stored, and the manager gives up: other instances may still serve the session");
        session.lock().given_up.get_or_insert(error);
    }
}

/// Writes the logout into the record when its turn comes.
async fn write(session: &Arc<Session>, had: &HeldAtLogout, meant: Option<&Marks>) -> Stored {
    let _turn = session.in_order().await;
    write_in_turn(session, had, meant).await
}

/// Writes the logout into the record. Returns `None` if the user has signed in again meanwhile, or if there is nothing to end.
/// A logout of the provider ends the session that it means, and no other one that has taken its place.
pub(super) async fn write_in_turn(
    session: &Arc<Session>,
    had: &HeldAtLogout,
    meant: Option<&Marks>,
) -> Stored {
    loop {
        let mut seen = session.load().await?;
        if session.lock().logout_stage != Some(LogoutStage::Asked) {
            return Ok(None);
        }
        if meant.is_some_and(|meant| is_another(&seen, had, meant)) {
            let left = had.held.as_ref().map(|held| held.pair_id.family);
            let left = left.map_or_else(family, Ok)?;
            session.lock().logout_stored(left);
            return Ok(None);
        }
        if session.is_of_a_sign_in() && seen.entry.is_none() && had.is_empty() {
            // The store would keep a record of each id that a stranger makes up, and no seed or sign-in of the endpoint can
            // undo this logout.
            session.lock().logout_stored(family()?);
            return Ok(None);
        }
        let mut displacing_seed = None;
        if let Some((seed, given_at)) = &had.seed {
            let seeding = seeded(session, &seen, seed.clone(), *given_at).await?;
            let is_refused = session.settings().on_seed_conflict == OnSeedConflict::Error;
            if is_refused && matches!(seeding, Seeding::Displaces(_)) {
                // The stored session belongs to another seed, and this manager never held it.
                revoke_in_background(session, seed.clone());
                session.lock().logout_stored(family()?);
                return Ok(None);
            }
            displacing_seed = displacing(session, seeding);
        }
        let last = match displacing_seed {
            Some(record) => record,
            None => last(session, had, &seen)?,
        };
        let before = seen.record();
        let is_same = |record: &&Record| record.family == last.family;
        let is_over = |record: &&Record| record.state == RecordState::LoggedOut;
        if let Some(record) = before.filter(is_same).filter(is_over) {
            session.logout_stored(record);
            return Ok(Some(seen));
        }
        let ended = last.ended(RecordState::LoggedOut);
        match session.swap(seen.revision(), &ended).await? {
            Swap::Swapped(revision) => {
                // A session that the seed displaces is logged out as well.
                revoke_left_behind(session, before.filter(|it| !is_same(it)), true, None);
                session.logout_stored(&ended);
                seen.entry = Some((Arc::new(ended), revision));
                return Ok(Some(seen));
            }
            Swap::Lost(_) => tokio::time::sleep(UNCHANGED_PAUSE).await,
        }
    }
}

/// Whether the record is of a session that has taken the place of the one which the provider's logout means.
fn is_another(seen: &Seen, had: &HeldAtLogout, meant: &Marks) -> bool {
    let left = had.held.as_ref().map(|held| held.pair_id.family);
    seen.record().is_some_and(|record| {
        let is_over = record.state == RecordState::LoggedOut;
        !is_over && !record.is_meant_by(meant) && left != Some(record.family)
    })
}

/// The record that the logout ends. If the store has none, a record is made up: it keeps a seed of the next start
/// from undoing the logout.
fn last(session: &Session, had: &HeldAtLogout, seen: &Seen) -> Result<Record, StoreError> {
    let key = &session.key;
    Ok(match (seen.record(), &had.held) {
        (Some(record), _) => record.clone(),
        (None, Some(held)) => {
            let pair = session.stored(held, session.store_now(seen.clock));
            Record::forwarded(None, key, held.summary(), pair, 0)
        }
        (None, None) => Record::vacant(key.clone(), family()?),
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
        let stage = self.session().lock().logout_stage;
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
                .is_some_and(|held| held.committed.sign_ins > record.sign_ins);
            // The user had replaced this session by another one before the logout.
            let is_older = stage.is_some() && record.sign_ins < state.sign_ins;
            state.is_logged_out(record.family) && !is_past || is_older
        };
        if !is_logged_out || record.state == RecordState::LoggedOut {
            return Ok(None);
        }
        self.session()
            .swap(seen.revision(), &record.ended(RecordState::LoggedOut))
            .await?;
        Ok(Some(Next::Reload))
    }
}

/// The pauses between attempts to reach the server.
const REVOCATION_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// How long a revocation is tried.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be revoked.
#[derive(Debug)]
pub(super) enum ToRevoke {
    Pair(TokenPair),
    /// The pair of an ended record, which is removed from the record afterwards.
    Record(Box<Seen>),
}

impl ToRevoke {
    fn pair(&self) -> Option<&TokenPair> {
        match self {
            Self::Pair(pair) => Some(pair),
            Self::Record(seen) => Some(&seen.record()?.pair.as_ref()?.pair),
        }
    }

    async fn revoke(&self, session: &Session) -> Result<(), EndpointError> {
        match self {
            Self::Pair(pair) => revoke(session, pair).await,
            Self::Record(seen) => clear(session, seen).await,
        }
    }

    /// Whether this revocation is no longer needed: a later logout revokes the record's pair, or a sign-in has
    /// brought one of its tokens again.
    fn is_obsolete(&self, session: &Session, logouts: u64) -> bool {
        let state = session.lock();
        let is_held = |pair: &TokenPair| {
            let held = state.held();
            held.is_some_and(|held| shares_a_token(&held.pair, pair))
        };
        matches!(self, Self::Record(_)) && state.logouts != logouts
            || self.pair().is_some_and(is_held)
    }
}

/// Revokes a pair that another one replaced. Only a shutdown waits for this task, and only for one attempt.
pub(super) fn revoke_in_background(session: &Arc<Session>, pair: TokenPair) {
    in_background(session, ToRevoke::Pair(pair), None);
}

/// Revokes what a logout leaves, and returns the result of the first attempt. A server that could not be reached is
/// tried again in the background.
pub(super) async fn revoke_now_or_later(
    session: &Arc<Session>,
    to_revoke: ToRevoke,
) -> Result<(), EndpointError> {
    let revoked = to_revoke.revoke(session).await;
    if is_unheard(&revoked) {
        in_background(session, to_revoke, Some(revoked.clone()));
    }
    revoked
}

/// Revokes for as long as the manager lives. `tried` is the result of an attempt that was already made.
fn in_background(
    session: &Arc<Session>,
    to_revoke: ToRevoke,
    tried: Option<Result<(), EndpointError>>,
) {
    let began = session.now();
    let logouts = session.lock().logouts;
    let revoking = Arc::clone(session);
    session.in_background(async move {
        let session = revoking;
        let mut revoked = match tried {
            Some(revoked) => revoked,
            None => to_revoke.revoke(&session).await,
        };
        let mut backoff = REVOCATION_BACKOFF;
        while is_unheard(&revoked) && session.now().since(began) < GIVE_UP_AFTER {
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = session.closing() => break,
            }
            if to_revoke.is_obsolete(&session, logouts) {
                break;
            }
            revoked = tokio::select! {
                revoked = to_revoke.revoke(&session) => revoked,
                () = session.closing() => break,
            };
        }
    });
}

/// Revokes the pair of an ended record and removes it from the record.
pub(super) async fn clear(session: &Session, seen: &Seen) -> Result<(), EndpointError> {
    let Some((record, revision)) = &seen.entry else {
        return Ok(());
    };
    let Some(stored) = &record.pair else {
        return Ok(());
    };
    let revoked = revoke(session, &stored.pair).await;
    // The pair stays in the record while the revocation can be tried again. A server that refuses revocations is no
    // reason to keep the pair: that would help only a thief.
    if is_unheard(&revoked) {
        return revoked;
    }
    let cleared = record.cleared();
    if let Err(error) = session.swap(Some(*revision), &cleared).await {
        tracing::warn!(key = %session.key, error = %Causes(&error), "a revoked pair could not be removed from the store after the logout");
    }
    revoked
}

/// Whether the server may not know of the revocation, so that another attempt makes sense.
fn is_unheard(revoked: &Result<(), EndpointError>) -> bool {
    !matches!(
        revoked,
        Ok(()) | Err(EndpointError::Refused { .. } | EndpointError::Rejected { .. })
    )
}

/// Revokes the pairs of logged-out sessions that a `new` pair removes from the store.
pub(super) fn revoke_left_behind<'a>(
    session: &Arc<Session>,
    records: impl IntoIterator<Item = &'a Record>,
    is_logging_out: bool,
    new: Option<&TokenPair>,
) {
    for record in records {
        let is_logged_out = is_logging_out || record.state == RecordState::LoggedOut;
        let Some(stored) = record.pair.as_ref().filter(|_| is_logged_out) else {
            continue;
        };
        if !new.is_some_and(|new| shares_a_token(new, &stored.pair)) {
            revoke_in_background(session, stored.pair.clone());
        }
    }
}

/// Whether two pairs have a token in common. Some servers answer two sign-ins with one token: to revoke it would end
/// the other session too.
pub(super) fn shares_a_token(one: &TokenPair, other: &TokenPair) -> bool {
    one.access.is_some() && one.access == other.access
        || one.refresh.is_some() && one.refresh == other.refresh
}

async fn revoke(session: &Session, pair: &TokenPair) -> Result<(), EndpointError> {
    let limit = session.settings().endpoint_timeout;
    let result = session.shared.endpoint.revoke(pair, limit).await;
    if let Err(error) = &result {
        tracing::warn!(key = %session.key, error = %Causes(error), "the endpoint could not revoke a pair");
    }
    result
}
