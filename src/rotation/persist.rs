//! Stores a pair against the record that the store holds by now, and applies the outcome to the session.
//!
//! A pair that callers already have is stored in the background, so that callers do not wait for the store. One pair
//! of a session is stored at a time and in order; a later pair replaces those that still wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::UNCHANGED_PAUSE;
use super::commit::{LONGEST_PAUSE, STORE_BACKOFF};
use super::logout::{revoke_in_background, shares_a_token};
use crate::error::{Causes, EndReason, Error};
use crate::record::Record;
use crate::record::commit::{CommitDecision, Rival};
use crate::session::{Seen, Session, Unstored};
use crate::snapshot::Token;
use crate::state::HeldPair;
use crate::store::{StoreError, Swap};

/// How often a sign-in of this instance is stored again after instances that do not coordinate had stored others,
/// whose pairs are no longer good.
const RECOVERIES: u32 = 5;

/// Stores the pair, and returns what became of it. `None` if other instances stored their own sign-ins again and again.
/// After an error the pair may be stored all the same.
pub(super) async fn persist(
    session: &Session,
    unstored: &mut Unstored,
) -> Result<Option<CommitDecision>, StoreError> {
    let mut collisions = 0;
    loop {
        let now = session.store_now(unstored.seen.clock);
        unstored.commit.pair = session.stored(&unstored.held, now);
        let decision = unstored
            .commit
            .judge(unstored.seen.record(), &session.key, now);
        let CommitDecision::Write(next) = decision else {
            return Ok(Some(decision));
        };
        let before = unstored.seen.revision();
        match session.swap_timed(before, &next).await {
            Ok((Swap::Swapped(revision), clock)) => {
                unstored.seen.entry = Some((Arc::from(next), revision));
                if let Some(clock) = clock {
                    let entry = unstored.seen.entry.clone();
                    session.wrote(Seen { entry, clock });
                }
                return Ok(Some(CommitDecision::Committed));
            }
            Ok((Swap::Lost(newer), _)) => unstored.seen = Seen::new(newer, unstored.seen.clock),
            Err(error) => {
                session.lock().store_failures += 1;
                return Err(error);
            }
        }
        if unstored.commit.rival != Rival::Wins {
            collisions += 1;
            if collisions > RECOVERIES {
                return Ok(None);
            }
        }
        // A store that still shows the same record, as a replica that lags behind does, is not asked again without a
        // pause.
        if unstored.seen.revision() == before {
            tokio::time::sleep(UNCHANGED_PAUSE).await;
        }
    }
}

/// Brings the session to what the store holds now. Returns `None` if the record has to be loaded again: another pair
/// took the place of this one, or its access token expired before it was stored.
pub(super) async fn apply_outcome(
    session: &Arc<Session>,
    unstored: Unstored,
    outcome: CommitDecision,
) -> Result<Option<Token>, Error> {
    let epoch = unstored.epoch;
    match outcome {
        CommitDecision::Committed => {
            let is_last = unstored.is_last;
            let token = publish_committed(session, unstored).await;
            // The request and the swap took longer than the access token is valid.
            let is_over = !is_last && session.usable().is_none();
            return Ok(token.filter(|_| !is_over));
        }
        CommitDecision::LoggedOut => {
            revoke_in_background(session, unstored.held.pair);
            session.end_seen(EndReason::LoggedOut, epoch)?;
        }
        CommitDecision::Superseded => {
            let ours = unstored.held.pair;
            let theirs = unstored.seen.record().and_then(|it| it.pair.as_ref());
            if !theirs.is_some_and(|theirs| shares_a_token(&theirs.pair, &ours)) {
                revoke_in_background(session, ours);
            }
        }
        CommitDecision::Outrun => session.keep_spare(unstored.held, epoch),
        // The next load finds the newer pair, or the end.
        CommitDecision::Passed | CommitDecision::Condemned | CommitDecision::Write(_) => {}
    }
    Ok(None)
}

/// Publishes a pair that the record holds.
async fn publish_committed(session: &Arc<Session>, unstored: Unstored) -> Option<Token> {
    let Unstored {
        mut held,
        seen,
        epoch,
        is_published,
        ..
    } = unstored;
    if !is_published {
        call_on_rotated(session, &held, epoch).await;
    }
    let pair_id = seen.record().map_or(held.pair_id, Record::pair_id);
    if held.pair_id != pair_id {
        held = session.holding(held.pair, pair_id, held.committed);
    }
    let token = held.token().cloned();
    let current = session.lock().pair_id();
    let is_outdated = is_published
        && current.is_some_and(|it| it.family == pair_id.family && it.version > pair_id.version);
    let is_new = !is_published || current != Some(pair_id);
    // A logout or a new sign-in may have come in between. A logout ends the record, now or soon, and revokes its
    // pair; a new sign-in replaces it.
    if is_new && !is_outdated && !session.publish(held, epoch, unstored.is_last) {
        return None;
    }
    token
}

/// Calls the user's callback for new pairs before a caller uses the pair. The callback is not called if the user has
/// logged out or signed in since the rotation began: it would save the pair of a former session.
pub(super) async fn call_on_rotated(session: &Session, held: &HeldPair, epoch: u64) {
    let limit = session.settings().store_timeout;
    let is_current = session.lock().epoch == epoch;
    if let Some(on_rotated) = session.shared.on_rotated.as_ref().filter(|_| is_current)
        && let Err(error) = on_rotated
            .call(&session.key, held.pair.clone(), limit)
            .await
    {
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
    if session.outbox.put(unstored, room) {
        let storing = Arc::clone(session);
        session.in_background(async move { store_all(&storing).await });
    }
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
            session.lock().given_up.get_or_insert(error);
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
    if unstored.is_reported
        && let Ok(seen) = session.load().await
    {
        unstored.seen = seen;
    }
    let error = match persist(session, &mut unstored).await {
        Ok(None) => StoreError::new(
            "other instances stored their own sign-ins of this session again and again; set `coordination` to \"lease\"",
        ),
        Ok(Some(outcome)) => {
            let (epoch, seen) = (unstored.epoch, unstored.seen.clone());
            let gave_way = matches!(
                outcome,
                CommitDecision::Superseded | CommitDecision::Passed | CommitDecision::Outrun
            );
            // No caller waits for this outcome; events report it.
            let _ = apply_outcome(session, unstored, outcome).await;
            if let Some(record) = seen.record().filter(|_| gave_way) {
                let now = session.store_now(seen.clock);
                session.adopt(record, now, epoch, Some(Duration::ZERO));
            }
            return Ok(session.outbox.stored());
        }
        Err(error) => error,
    };
    tracing::warn!(key = %session.key, error = %Causes(&error), "a pair that callers already use could not be stored; the manager tries again");
    if !unstored.is_reported {
        unstored.is_reported = true;
        session.unpersisted(&error, unstored.epoch);
    }
    session.outbox.put_back(unstored);
    Err(error)
}
