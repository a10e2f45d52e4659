//! Stores pairs that were given out already, in the background: one of a session at a time and in order, the
//! latest in place of those that still wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::commit::{LONGEST_PAUSE, STORE_BACKOFF};
use super::persist::{PersistOutcome, persist, settle, store_now};
use super::user_code::load;
use crate::session::{Session, Unstored};
use crate::store::StoreError;

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
            let _ = settle(session, unstored, outcome).await;
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
