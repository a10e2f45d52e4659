//! How a session ends, and how a manager closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::MutexGuard;
use tokio::sync::Notify;

use super::Session;
use crate::error::{Causes, EndReason, Error};
use crate::event::Event;
use crate::record::Record;
use crate::snapshot::Token;
use crate::state::{HeldAtLogout, Notice, State};
use crate::store::StoreError;
use crate::token::PairId;
use crate::user_code::Moment;

impl Session {
    /// Reports a notice of the session's end to subscribers, unless another pair than `of` is held by now, or the user has
    /// logged out or signed in since `epoch`.
    pub(crate) fn tell(&self, notice: Notice, of: PairId, epoch: u64) {
        let moment = self.moment();
        let mut state = self.state.lock();
        let Some(mut current) = state
            .in_epoch(epoch)
            .filter(|current| current.pair_id() == Some(of))
        else {
            return;
        };
        match notice {
            Notice::Expiring { ends_at } => {
                current.warned();
                drop(state);
                self.send(Event::Expiring {
                    left: ends_at.since(moment.now),
                });
            }
            Notice::Ending | Notice::Over => {
                let is_news = current.end(EndReason::Expired);
                self.tell_end(state, EndReason::Expired, is_news, moment);
            }
        }
    }

    /// The user logs out: from here on no caller gets a token of this session.
    pub(crate) fn log_out(&self) -> HeldAtLogout {
        // The record holds the pair, and a rotation of another session has no use for it.
        self.forget_written();
        let moment = self.moment();
        let mut state = self.state.lock();
        let (had, is_news) = state.log_out();
        self.tell_end(state, EndReason::LoggedOut, is_news, moment);
        had
    }

    /// The outcome of a rotation; `None` if the user has logged out or signed in since: a waiter that had not read the outcome
    /// by then does not get the token of a session that the user has logged out of.
    pub(crate) fn unless_left(
        &self,
        outcome: Result<Token, Error>,
        epoch: u64,
    ) -> Option<Result<Token, Error>> {
        (self.state.lock().epoch() == epoch).then_some(outcome)
    }

    /// The logout is stored in this record.
    pub(crate) fn logout_stored(&self, record: Option<&Record>) {
        if let Some(record) = record {
            let mut state = self.state.lock();
            state.saw(record);
            state.logout_stored(record.family);
        }
    }

    /// Ends the session, as a record says that was read in this epoch; `None` if the user has logged out or signed in since.
    pub(crate) fn end_seen(&self, reason: EndReason, epoch: u64) -> Option<Error> {
        let moment = self.moment();
        let mut state = self.state.lock();
        let is_news = state.in_epoch(epoch)?.end(reason.clone());
        let error = state.ended(reason.clone(), moment.now);
        self.tell_end(state, reason, is_news, moment);
        Some(error)
    }

    /// Ends the session, and reports that once.
    fn tell_end(
        &self,
        state: MutexGuard<'_, State>,
        reason: EndReason,
        is_news: bool,
        moment: Moment,
    ) {
        self.republish(&state, moment);
        let error = state.ended(reason.clone(), moment.now);
        drop(state);
        if is_news {
            tracing::warn!(key = %self.key, error = %Causes(&error), "the session has ended");
            let source = match error {
                Error::Ended { source, .. } => source,
                _ => None,
            };
            self.send(Event::Ended { reason, source });
        }
    }

    pub(crate) fn close(&self) {
        let moment = self.moment();
        let mut state = self.state.lock();
        state.close();
        self.republish(&state, moment);
        drop(state);
        self.abandon();
    }

    /// The last handle is gone: no caller can wait for this session any more.
    pub(crate) fn abandon(&self) {
        self.closing.begin();
        self.unplan();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.has_begun()
    }

    /// Returns when the session is closing.
    pub(crate) async fn closing(&self) {
        self.closing.begins().await;
    }

    /// Waits until the user's earlier logouts and sign-ins are stored.
    pub(crate) async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.get_or_init(Box::default).lock().await
    }

    /// The manager gives up storing something, for this reason.
    pub(crate) fn gave_up(&self, error: StoreError) {
        *self.given_up.lock() = Some(error);
    }

    /// Why the manager gave up storing something, if it did.
    pub(crate) fn given_up(&self) -> Option<StoreError> {
        self.given_up.lock().clone()
    }

    /// Something begins that a shutdown waits for, until the chore is dropped.
    pub(crate) fn chore(self: &Arc<Self>) -> Chore {
        self.closing.begin_chore();
        Chore(Arc::clone(self))
    }

    pub(crate) async fn chores_done(&self) {
        self.closing.chores_end().await;
    }
}

/// Work besides rotations that a shutdown waits for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Chore(Arc<Session>);

impl Drop for Chore {
    fn drop(&mut self) {
        self.0.closing.end_chore();
    }
}

/// Whether the session is closing, and what a shutdown waits for: one place to wait for both, because each session has one.
#[derive(Debug, Default)]
pub(super) struct Closing {
    is_closing: AtomicBool,
    /// How many chores are under way.
    chores: AtomicUsize,
    changed: Notify,
}

impl Closing {
    /// Closes the session: at shutdown, or when the last handle is gone.
    pub(super) fn begin(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    /// Returns when the session is closing.
    pub(super) async fn begins(&self) {
        self.until(|closing| closing.has_begun()).await;
    }

    pub(super) fn begin_chore(&self) {
        self.chores.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end_chore(&self) {
        self.chores.fetch_sub(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Returns when no chore is left.
    pub(super) async fn chores_end(&self) {
        self.until(|closing| closing.chores.load(Ordering::SeqCst) == 0)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            // The task listens before it checks, because a change between the two would be missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}
