//! Stores a pair against the record that the store holds by now, and applies the outcome to the session.
//!
//! A pair that callers already have is stored in the background, so that callers do not wait for the store. One pair
//! of a session is stored at a time and in order; a later pair replaces those that still wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::UNCHANGED_PAUSE;
use super::commit::{LONGEST_PAUSE, STORE_BACKOFF};
use super::revoke::{revoke_in_background, shares_a_token};
use super::user_code::{load, swap_timed};
use crate::error::{Causes, EndReason, Error};
use crate::record::Record;
use crate::record::commit::{CommitDecision, Rival};
use crate::session::{Seen, Session, Unstored};
use crate::snapshot::Token;
use crate::state::HeldPair;
use crate::store::{StoreError, StoreTime, Swap};
use crate::token::PairId;

/// How often a sign-in of this instance is stored again after instances that do not coordinate had stored others,
/// whose pairs are no longer good.
const RECOVERIES: u32 = 5;

/// What became of a pair that was to be stored.
#[derive(Debug)]
pub(super) enum PersistOutcome {
    /// The record holds the pair, under this pair id.
    Committed(PairId),
    /// The user logged out meanwhile.
    LoggedOut,
    /// The record holds the session of another sign-in.
    Superseded,
    /// The record held the pair once, and another instance has rotated it since.
    Passed,
    /// The pair of a later lease was committed first.
    Outrun,
    /// The server returned a token that is known to be dead.
    Condemned,
    /// Other instances stored their own sign-ins again and again.
    Contended,
}

/// Stores the pair. After an error the pair may be stored all the same.
pub(super) async fn persist(
    session: &Session,
    unstored: &mut Unstored,
) -> Result<PersistOutcome, StoreError> {
    let mut collisions = 0;
    loop {
        let now = store_now(session, unstored);
        let commit = unstored.commit(session.stored(&unstored.held, now));
        let record = unstored.seen.as_ref().map(|(record, _)| record);
        let next = match commit.judge(record, &session.key, now) {
            CommitDecision::Write(next) => next,
            CommitDecision::Committed => {
                let pair_id = record.map_or(unstored.held.pair_id, Record::pair_id);
                return Ok(PersistOutcome::Committed(pair_id));
            }
            CommitDecision::LoggedOut => return Ok(PersistOutcome::LoggedOut),
            CommitDecision::Superseded => return Ok(PersistOutcome::Superseded),
            CommitDecision::Passed => return Ok(PersistOutcome::Passed),
            CommitDecision::Outrun => return Ok(PersistOutcome::Outrun),
            CommitDecision::Condemned => return Ok(PersistOutcome::Condemned),
        };
        let before = unstored.seen.as_ref().map(|(_, revision)| *revision);
        let newer = match swap_timed(session, before, &next).await {
            Ok((Swap::Swapped(revision), clock)) => {
                let pair_id = next.pair_id();
                if let Some(clock) = clock {
                    session.wrote(Seen {
                        entry: Some((*next, revision)),
                        clock,
                    });
                }
                return Ok(PersistOutcome::Committed(pair_id));
            }
            Ok((Swap::Lost(newer), _)) => newer,
            Err(error) => {
                session.store_failed();
                return Err(error);
            }
        };
        if unstored.rival != Rival::Wins {
            collisions += 1;
            if collisions > RECOVERIES {
                return Ok(PersistOutcome::Contended);
            }
        }
        // A store that still shows the same record, as a replica that lags behind does, is not asked again without a
        // pause.
        if newer.as_ref().map(|(_, revision)| *revision) == before {
            tokio::time::sleep(UNCHANGED_PAUSE).await;
        }
        unstored.seen = newer;
    }
}

/// The store's time, continued by the session's own clock.
pub(super) fn store_now(session: &Session, unstored: &Unstored) -> StoreTime {
    let (read, at) = unstored.read;
    read.after(session.now().since(at))
}

/// Brings the session to what the store holds now. Returns `None` if the record has to be loaded again: another pair
/// took the place of this one, or its access token expired before it was stored.
pub(super) async fn apply_outcome(
    session: &Arc<Session>,
    unstored: Unstored,
    outcome: PersistOutcome,
) -> Result<Option<Token>, Error> {
    let Unstored { held, epoch, .. } = unstored;
    let is_last = unstored.is_last;
    let ended = |reason| session.end_seen(reason, epoch).map_or(Ok(None), Err);
    match outcome {
        PersistOutcome::Committed(pair_id) => {
            let is_published = unstored.is_published;
            let token =
                publish_committed(session, held, pair_id, epoch, is_published, is_last).await;
            // The request and the swap took longer than the access token is valid.
            let is_over = !is_last && session.usable().is_none();
            Ok(token.filter(|_| !is_over))
        }
        PersistOutcome::LoggedOut => {
            revoke_in_background(session, held.pair);
            ended(EndReason::LoggedOut)
        }
        PersistOutcome::Superseded => {
            let theirs = unstored.seen.and_then(|(record, _)| record.pair);
            let is_shared = theirs.is_some_and(|theirs| shares_a_token(&theirs.pair, &held.pair));
            if !is_shared {
                revoke_in_background(session, held.pair);
            }
            Ok(None)
        }
        PersistOutcome::Passed => Ok(None),
        PersistOutcome::Outrun => {
            session.keep_spare(held, epoch);
            Ok(None)
        }
        // The record already says that the session ended; the next load finds that.
        PersistOutcome::Condemned => Ok(None),
        PersistOutcome::Contended => {
            revoke_in_background(session, held.pair);
            Err(Error::Collision {
                retry_after: Duration::ZERO,
            })
        }
    }
}

/// Publishes a pair that the record holds.
async fn publish_committed(
    session: &Arc<Session>,
    mut held: HeldPair,
    pair_id: PairId,
    epoch: u64,
    is_published: bool,
    is_last: bool,
) -> Option<Token> {
    if !is_published {
        call_on_rotated(session, &held, epoch).await;
    }
    if held.pair_id != pair_id {
        held = session.holding(held.pair.clone(), pair_id, held.committed(), held.sent_at);
    }
    let token = held.token().cloned();
    let current = session.lock().pair_id();
    let is_passed = is_published
        && current.is_some_and(|it| it.family == pair_id.family && it.version > pair_id.version);
    let is_new = !is_published || current != Some(pair_id);
    // A logout or a new sign-in may have come in between. A logout ends the record, now or soon, and revokes its
    // pair; a new sign-in replaces it.
    if is_new && !is_passed && !session.publish(held, epoch, is_last) {
        return None;
    }
    token
}

/// Calls the user's callback for new pairs before a caller uses the pair. The callback is not called if the user has
/// logged out or signed in since the rotation began: it would save the pair of a former session.
pub(super) async fn call_on_rotated(session: &Session, held: &HeldPair, epoch: u64) {
    if session.lock().epoch() != epoch {
        return;
    }
    let Some(on_rotated) = &session.shared.on_rotated else {
        return;
    };
    let limit = session.settings().store_timeout;
    if let Err(error) = on_rotated.call(held.pair.clone(), limit).await {
        tracing::warn!(key = %session.key, "the callback `on_rotated` {error}; the pair is served all the same");
    }
}

/// Hands over a pair that callers already have, to be stored in the background.
pub(super) fn store_in_background(
    session: &Arc<Session>,
    unstored: Unstored,
    room: OwnedSemaphorePermit,
) {
    // The task that stores an earlier pair of this session goes on with this one.
    if !session.outbox.put(unstored, room) {
        return;
    }
    let runtime = session.shared.runtime.clone();
    let session = Arc::clone(session);
    let chore = session.chore();
    runtime.spawn(async move {
        store_all(&session).await;
        drop(chore);
    });
}

/// Stores pairs until none is left. Gives up once the manager is no longer used and other instances treat the token
/// as spent.
async fn store_all(session: &Arc<Session>) {
    let persistence = &session.settings().persistence;
    let mut failures = 0;
    loop {
        let worker = persistence.worker().await;
        let stored = store_next(session).await;
        drop(worker);
        let error = match stored {
            Ok(true) => return,
            Ok(false) => {
                failures = 0;
                continue;
            }
            Err(error) => error,
        };
        failures += 1;
        let was_closing = session.is_closing();
        let lease_duration = session.settings().lease_duration;
        if was_closing && session.outbox.give_up(session.now().before(lease_duration)) {
            tracing::error!(key = %session.key, error = %Causes(&error), "a pair that callers already use could not be stored, and the manager gives up: the session may need a new sign-in");
            session.gave_up(error);
            continue;
        }
        let pause = if persistence.retries_soon(failures) {
            STORE_BACKOFF.after(failures)
        } else {
            LONGEST_PAUSE
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The pause ends early when the manager begins to shut down.
            () = session.closing(), if !was_closing => {}
        }
    }
}

/// Stores the pair that waits, if there is one. Returns whether no pair waits afterwards.
pub(super) async fn store_next(session: &Arc<Session>) -> Result<bool, StoreError> {
    let Some(_writing) = session.outbox.writing().await else {
        return Ok(true);
    };
    let Some(mut unstored) = session.outbox.take() else {
        return Ok(session.outbox.stored());
    };
    // If the record cannot be read either, the attempt goes against the record that was read last.
    if unstored.is_told
        && let Ok(seen) = load(session).await
    {
        unstored.read = (seen.clock.read, seen.clock.at);
        unstored.seen = seen.entry;
    }
    let error = match persist(session, &mut unstored).await {
        Ok(PersistOutcome::Contended) => StoreError::new(
            "other instances stored their own sign-ins of this session again and again; set `coordination` to \"lease\"",
        ),
        Ok(outcome) => {
            let now = store_now(session, &unstored);
            let (epoch, theirs) = (unstored.epoch, unstored.seen.clone());
            let gave_way = matches!(
                outcome,
                PersistOutcome::Superseded | PersistOutcome::Passed | PersistOutcome::Outrun
            );
            // No caller waits for this outcome; events report it.
            let _ = apply_outcome(session, unstored, outcome).await;
            if let Some((record, _)) = theirs.filter(|_| gave_way) {
                session.adopt(&record, now, epoch, Duration::ZERO);
            }
            return Ok(session.outbox.stored());
        }
        Err(error) => error,
    };
    tracing::warn!(key = %session.key, error = %Causes(&error), "a pair that callers already use could not be stored; the manager tries again");
    if !unstored.is_told {
        unstored.is_told = true;
        session.unpersisted(&error, unstored.epoch);
    }
    session.outbox.put_back(unstored);
    Err(error)
}
