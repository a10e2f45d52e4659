//! Logging out: the record is ended first, so that nobody rotates on, and what it held is revoked then.
//!
//! It waits for no rotation. One that lands later finds the record ended, and its pair is revoked and
//! never published.

use std::time::Duration;

use tokio::sync::watch;

use super::calls::{STORE_PAUSE, STORE_TRIES, load, revoke, store_now, swap};
use super::first::seeded;
use super::revoke::is_unheard;
use super::{Next, Rotation, Seen, lineage};
use crate::endpoint::EndpointError;
use crate::error::{EndReason, Error};
use crate::record::{Record, State};
use crate::session::Session;
use crate::state::{Exit, Held, Leaving};
use crate::status::Logout;
use crate::store::{StoreError, Swap};
use crate::token::TokenPair;

/// Pauses between attempts to store a logout double up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ends the session and says how that goes, until there is nothing more to tell; where it could not be
/// stored, goes on trying as long as the manager lives.
pub(crate) async fn log_out(session: &Session, leaving: Leaving, told: watch::Sender<Logout>) {
    let mut stored = Err(StoreError::new("not tried"));
    for tried in 0..STORE_TRIES {
        stored = write(session, &leaving).await;
        if stored.is_ok() {
            break;
        }
        tokio::time::sleep(STORE_PAUSE * (tried + 1)).await;
    }
    told.send_modify(|logout| logout.stored = stored.as_ref().map(drop).map_err(Clone::clone));
    let mut kept = stored.as_ref().ok().cloned().flatten();
    let digest = kept.as_ref().and_then(Seen::record).map(Record::digest);
    let is_elsewhere = |pair: &&TokenPair| Some(pair.digest(&session.key)) != digest;
    let mut pairs: Vec<_> = leaving.pairs().filter(is_elsewhere).collect();
    let revoked = revoke_left(session, &mut pairs, &mut kept).await;
    told.send_modify(|logout| logout.revoked = revoked);
    drop(told);
    let mut pause = STORE_PAUSE;
    while (stored.is_err() || !pairs.is_empty() || kept.is_some()) && !session.is_closing() {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = session.closing() => {}
        }
        if let Err(error) = &stored {
            tracing::warn!(key = %session.key, %error, "a logout could not be stored; trying again");
            stored = write(session, &leaving).await;
            kept = stored.as_ref().ok().cloned().flatten();
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            pause = (pause * 2).min(super::revoke::LONGEST_PAUSE);
        }
        if !session.is_closing() {
            // It was said already.
            let _ = revoke_left(session, &mut pairs, &mut kept).await;
        }
    }
    if let Err(error) = stored {
        tracing::error!(key = %session.key, %error, "a logout could not be stored");
        session.gave_up(error);
    }
}

/// Revokes pairs that no record holds, and the one of the record that was `kept`. Left is what the server has not heard.
async fn revoke_left(
    session: &Session,
    pairs: &mut Vec<&TokenPair>,
    kept: &mut Option<Seen>,
) -> Result<(), EndpointError> {
    let mut all = Ok(());
    for pair in std::mem::take(pairs) {
        let revoked = revoke(session, pair).await;
        if is_unheard(&revoked) {
            pairs.push(pair);
        }
        all = all.and(revoked);
    }
    if let Some(seen) = kept.take() {
        let revoked = clear(session, &seen).await;
        if is_unheard(&revoked) {
            *kept = Some(seen);
        }
        all = all.and(revoked);
    }
    all
}

/// Ends the record; `None` if the user has signed in anew meanwhile.
async fn write(session: &Session, leaving: &Leaving) -> Result<Option<Seen>, StoreError> {
    let _turn = session.in_order().await;
    loop {
        let mut seen = load(session).await?;
        if session.lock().exit() != Some(Exit::Asked) {
            return Ok(None);
        }
        if seen
            .record()
            .is_some_and(|record| record.state == State::LoggedOut)
        {
            session.left(seen.record());
            return Ok(Some(seen));
        }
        let ended = last(session, leaving, &seen)?.ended(State::LoggedOut);
        match swap(session, seen.revision(), &ended).await? {
            Swap::Swapped(revision) => {
                session.left(Some(&ended));
                seen.entry = Some((ended, revision));
                return Ok(Some(seen));
            }
            Swap::Lost(_) => tokio::time::sleep(super::SAME_AGAIN).await,
        }
    }
}

/// The record that is to be ended. Where the store has none, it is made up: it keeps a sign-in or a seed
/// of the next start from undoing the logout.
fn last(session: &Session, leaving: &Leaving, seen: &Seen) -> Result<Record, StoreError> {
    let random = |error: Error| StoreError::with_source("no random numbers", error);
    let now = store_now(session, seen.clock);
    let lineage = lineage().map_err(random)?;
    if let Some((pair, given_at)) = &leaving.seed
        && let Some(record) = seeded(session, seen, pair.clone(), *given_at).map_err(random)?
    {
        return Ok(record);
    }
    Ok(match (seen.record(), &leaving.held) {
        (Some(record), _) => record.clone(),
        (None, Some(held)) => Record::forwarded(
            None,
            &session.key,
            held.for_look(),
            session.stored(held, now),
            0,
            now,
        ),
        (None, None) => Record::vacant(session.key.clone(), lineage),
    })
}

/// Revokes what a logout left behind: pairs of ours that the record does not hold, and the record's own,
/// if the one who logged out died before he could.
pub(super) async fn clean_up(session: &Session, record: &Record, seen: &Seen, held: Option<&Held>) {
    let spare = session.lock().take_spare();
    for ours in held.into_iter().chain(&spare) {
        if ours.digest != record.digest() {
            // It was said already, and nobody waits for this.
            let _ = revoke(session, &ours.pair).await;
        }
    }
    let _ = clear(session, seen).await;
}

/// Revokes the pair of a record that was ended, and takes it out.
async fn clear(session: &Session, seen: &Seen) -> Result<(), EndpointError> {
    let Some((record, revision)) = &seen.entry else {
        return Ok(());
    };
    let Some(stored) = &record.pair else {
        return Ok(());
    };
    let revoked = revoke(session, &stored.pair).await;
    // Where the server cannot be told, to keep the pair helps nobody but a thief.
    if is_unheard(&revoked) {
        return revoked;
    }
    let cleared = record.cleared(store_now(session, seen.clock));
    if let Err(error) = swap(session, Some(*revision), &cleared).await {
        tracing::warn!(key = %session.key, %error, "a pair stays in the store after the logout");
    }
    revoked
}

impl Rotation {
    /// After a logout of our own: nothing of that session is adopted, also where the store lost it.
    /// `None` if the record is another session, or says the same.
    pub(super) async fn keep_out(&self, exit: Exit, seen: &Seen) -> Result<Option<Next>, Error> {
        let logged_out = || Error::ended(EndReason::LoggedOut);
        let Exit::Written(lineage) = exit else {
            return Err(logged_out());
        };
        let Some(record) = seen.record() else {
            return Err(logged_out());
        };
        if record.lineage != lineage || record.state == State::LoggedOut {
            return Ok(None);
        }
        self.swap(seen.revision(), &record.ended(State::LoggedOut))
            .await
            .map_err(super::store_failed)?;
        Ok(Some(Next::Again))
    }
}
