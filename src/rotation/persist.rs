//! One attempt to store a pair, against the record that the store has come to hold meanwhile; and what follows from the
//! outcome. A pair that callers have already is stored in the background: one of a session at a time and in order, the latest
//! in place of those that still wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::UNCHANGED_PAUSE;
use super::commit::{LONGEST_PAUSE, STORE_BACKOFF};
use super::revoke::{revoke_in_background, shares_a_token};
use super::user_code::{load, swap_timed};
use crate::error::{EndReason, Error};
use crate::record::Record;
use crate::record::commit::{CommitDecision, Rival};
use crate::session::{Seen, Session, Unstored};
use crate::snapshot::Token;
use crate::state::HeldPair;
use crate::store::{StoreError, StoreTime, Swap};
use crate::token::PairId;

/// How often a sign-in of ours is stored anew because others that do not coordinate were faster, and theirs
/// is over already.
const RECOVERIES: u32 = 5;

/// Where a pair got to.
#[derive(Debug)]
pub(super) enum PersistOutcome {
    /// The record holds it, under this pair id.
    Committed(PairId),
    /// The user logged out meanwhile.
    LoggedOut,
    /// The key has come to hold another sign-in's.
    Superseded,
    /// The record held it once, and has gone on from it.
    Passed,
    /// A later lease was committed first.
    Outrun,
    /// The server echoed a token that is known to be dead.
    Condemned,
    /// The key came to hold others' again and again.
    Contended,
}

/// Stores the pair. After an error it may be stored all the same.
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
        // A store that answers from the past is not asked without pause.
        if newer.as_ref().map(|(_, revision)| *revision) == before {
            tokio::time::sleep(UNCHANGED_PAUSE).await;
        }
        unstored.seen = newer;
    }
}

/// The store's time, carried on by our own clock.
pub(super) fn store_now(session: &Session, unstored: &Unstored) -> StoreTime {
    let (read, at) = unstored.read;
    read.after(session.now().since(at))
}

/// Makes the manager say what the store does; `None` to look again: another pair took this one's place, or it came
/// too late.
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
            // The answer, or the store, took longer than its access token lives.
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
        // It is the record's own decision, which the next look finds.
        PersistOutcome::Condemned => Ok(None),
        PersistOutcome::Contended => {
            revoke_in_background(session, held.pair);
            Err(Error::Collision {
                retry_after: Duration::ZERO,
            })
        }
    }
}

/// The record has it; now everybody may.
async fn publish_committed(
    session: &Arc<Session>,
    mut held: HeldPair,
    pair_id: PairId,
    epoch: u64,
    is_published: bool,
    is_last: bool,
) -> Option<Token> {
    if !is_published {
        save_elsewhere(session, &held, epoch).await;
    }
    if held.pair_id != pair_id {
        held = session.holding(held.pair.clone(), pair_id, held.committed(), held.sent_at);
    }
    let token = held.token().cloned();
    let current = session.lock().pair_id();
    let is_passed = is_published
        && current.is_some_and(|it| it.family == pair_id.family && it.version > pair_id.version);
    let is_new = !is_published || current != Some(pair_id);
    // A logout that came in between has ended the record, or will, and revokes its pair; a new
    // sign-in has replaced it, or will.
    if is_new && !is_passed && !session.publish(held, epoch, is_last) {
        return None;
    }
    token
}

/// Gives the pair to a user who saves pairs too, before a caller uses it; not if the user has done something since its
/// rotation began: what is saved then is another session's.
pub(super) async fn save_elsewhere(session: &Session, held: &HeldPair, epoch: u64) {
    if session.lock().epoch() != epoch {
        return;
    }
    let Some(on_rotated) = &session.shared.on_rotated else {
        return;
    };
    let limit = session.settings().store_timeout;
    if let Err(error) = on_rotated.call(held.pair.clone(), limit).await {
        tracing::warn!(key = %session.key, "the callback for new pairs {error}");
    }
}

/// Leaves a pair to be stored, which callers have.
pub(super) fn hand_over(session: &Arc<Session>, unstored: Unstored, room: OwnedSemaphorePermit) {
    // Somebody who sees to an earlier one of this session goes on with this one.
    if !session.outbox.put(unstored, room) {
        return;
    }
    let runtime = session.shared.runtime.clone();
    let session = Arc::clone(session);
    let chore = session.chore();
    runtime.spawn(async move {
        write(&session).await;
        drop(chore);
    });
}

/// Until nothing is left; or until nobody is, and others treat the token as spent.
async fn write(session: &Arc<Session>) {
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
            tracing::error!(key = %session.key, %error, "a pair that was given out could not be stored");
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
            // At once, when the manager is to be shut down.
            () = session.closing(), if !was_closing => {}
        }
    }
}

/// Stores the pair that waits, if one does. Returns whether nothing is left then.
pub(super) async fn store_next(session: &Arc<Session>) -> Result<bool, StoreError> {
    let Some(_writing) = session.outbox.writing().await else {
        return Ok(true);
    };
    let Some(mut unstored) = session.outbox.take() else {
        return Ok(session.outbox.stored());
    };
    // Where it cannot even be read, the attempt is made against what was read last.
    if unstored.is_told
        && let Ok(seen) = load(session).await
    {
        unstored.read = (seen.clock.read, seen.clock.at);
        unstored.seen = seen.entry;
    }
    let error = match persist(session, &mut unstored).await {
        Ok(PersistOutcome::Contended) => {
            StoreError::new("other sign-ins of this session were stored, again and again")
        }
        Ok(outcome) => {
            let now = store_now(session, &unstored);
            let (epoch, theirs) = (unstored.epoch, unstored.seen.clone());
            let gave_way = matches!(
                outcome,
                PersistOutcome::Superseded | PersistOutcome::Passed | PersistOutcome::Outrun
            );
            // Nobody waits for this; what there is to tell is told by event.
            let _ = apply_outcome(session, unstored, outcome).await;
            if let Some((record, _)) = theirs.filter(|_| gave_way) {
                session.adopt(&record, now, epoch, Duration::ZERO);
            }
            return Ok(session.outbox.stored());
        }
        Err(error) => error,
    };
    tracing::warn!(key = %session.key, %error, "a pair that was given out could not be stored; trying again");
    if !unstored.is_told {
        unstored.is_told = true;
        session.unpersisted(&error, unstored.epoch);
    }
    session.outbox.put_back(unstored);
    Err(error)
}
