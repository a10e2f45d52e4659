//! How a session ends, and the manager with it or without.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::Session;
use crate::error::{EndReason, Error};
use crate::event::Event;
use crate::record::Record;
use crate::state::{Leaving, Notice, State};
use crate::store::StoreError;
use crate::token::Identity;

impl Session {
    /// Tells of the end of the session whose pair is `of`, before it comes; not if another is held by now.
    pub(crate) fn tell(&self, notice: Notice, of: Identity) {
        let mut state = self.state.lock();
        if state.identity() != Some(of) {
            return;
        }
        match notice {
            Notice::Expiring { ends_at } => {
                state.warned();
                drop(state);
                self.send(Event::Expiring {
                    left: ends_at.since(self.now()),
                });
            }
            Notice::Ending | Notice::Over => {
                self.end_locked(state, EndReason::Expired);
            }
        }
    }

    /// The user logs out: from here on nobody gets a token of this session.
    pub(crate) fn leave(&self) -> Leaving {
        let mut state = self.state.lock();
        let leaving = state.leave();
        self.end_locked(state, EndReason::LoggedOut);
        leaving
    }

    /// The logout is stored in this record.
    pub(crate) fn left(&self, record: Option<&Record>) {
        if let Some(record) = record {
            self.state.lock().left(record.lineage);
        }
    }

    /// The session cannot be prolonged, by a record that was read in this epoch; `None` if the user has
    /// done something since.
    pub(crate) fn end_seen(&self, reason: EndReason, epoch: u64) -> Option<Error> {
        let state = self.state.lock();
        (state.epoch() == epoch).then(|| self.end_locked(state, reason))
    }

    /// The session cannot be prolonged; told once.
    fn end_locked(&self, mut state: MutexGuard<'_, State>, reason: EndReason) -> Error {
        let news = state.set_end(reason.clone());
        self.republish(&state);
        drop(state);
        if news {
            tracing::warn!(key = %self.key, %reason, "the session has ended");
            self.send(Event::Ended {
                reason: reason.clone(),
            });
        }
        Error::ended(reason)
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.close();
        self.republish(&state);
        drop(state);
        self.abandon();
    }

    /// Nobody is left who could wait for this session.
    pub(crate) fn abandon(&self) {
        self.closing.send_replace(true);
        self.rescheduled.notify_one();
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Returns when the session is closing.
    pub(crate) async fn closing(&self) {
        // The sender lives in `self`, so there is no error to wait for.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Waits for what the user did before to be stored, which is no rotation.
    pub(crate) async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.lock().await
    }

    /// Something will not be stored any more.
    pub(crate) fn gave_up(&self, error: StoreError) {
        *self.given_up.lock() = Some(error);
    }

    /// Why, if it was so.
    pub(crate) fn given_up(&self) -> Option<StoreError> {
        self.given_up.lock().clone()
    }

    /// Something begins that a shutdown waits for.
    pub(crate) fn chore(self: &Arc<Self>) -> Chore {
        self.chores.send_modify(|chores| *chores += 1);
        Chore(Arc::clone(self))
    }

    pub(crate) async fn chores_done(&self) {
        // The sender lives in `self`, so there is no error to wait for.
        let _ = self
            .chores
            .subscribe()
            .wait_for(|chores| *chores == 0)
            .await;
    }
}

/// Something besides rotations that a shutdown waits for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Chore(Arc<Session>);

impl Drop for Chore {
    fn drop(&mut self) {
        self.0.chores.send_modify(|chores| *chores -= 1);
    }
}
