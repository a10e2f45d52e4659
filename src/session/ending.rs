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
use crate::token::PairId;
use crate::user_code::Moment;

impl Session {
    /// Sends a notice of the session's end to subscribers, unless another pair than `of` is held by now, or the user has
    /// logged out or signed in since `epoch`.
    pub(crate) fn notify(&self, notice: Notice, of: PairId, epoch: u64) {
        let moment = self.moment();
        let mut state = self.lock();
        let current = state.in_epoch(epoch);
        let Some(mut current) = current.filter(|current| current.pair_id() == Some(of)) else {
            return;
        };
        match notice {
            Notice::Expiring { ends_at } => {
                current.warned();
                drop(state);
                let left = ends_at.since(moment.now);
                self.send(Event::Expiring { left });
            }
            Notice::Ending | Notice::Over => {
                let is_news = current.end(EndReason::Expired);
                self.report_end(state, EndReason::Expired, is_news, moment);
            }
        }
    }

    /// The user logs out: from here on no caller gets a token of this session.
    pub(crate) fn log_out(&self) -> HeldAtLogout {
        // The record holds the pair, and a rotation of another session has no use for it.
        self.forget_written();
        let moment = self.moment();
        let mut state = self.lock();
        let (had, is_news, wakeups) = state.log_out();
        self.report_end(state, EndReason::LoggedOut, is_news, moment);
        drop(wakeups);
        had
    }

    /// The outcome of a rotation; `None` if the user has logged out or signed in since: a waiter that had not read the outcome
    /// by then does not get the token of a session that the user has logged out of.
    pub(crate) fn unless_left(
        &self,
        outcome: Result<Token, Error>,
        epoch: u64,
    ) -> Option<Result<Token, Error>> {
        (self.lock().epoch == epoch).then_some(outcome)
    }

    /// The logout is stored in this record.
    pub(crate) fn logout_stored(&self, record: &Record) {
        let mut state = self.lock();
        state.saw(record);
        state.logout_stored(record.family);
    }

    /// Ends the session, as a record says that was read in this epoch, and returns that end as an error. Changes nothing if the
    /// user has logged out or signed in since.
    pub(crate) fn end_seen(&self, reason: EndReason, epoch: u64) -> Result<(), Error> {
        let moment = self.moment();
        let mut state = self.lock();
        let Some(mut current) = state.in_epoch(epoch) else {
            return Ok(());
        };
        let is_news = current.end(reason.clone());
        Err(self.report_end(state, reason, is_news, moment))
    }

    /// Reports the end of the session once, and returns it as an error.
    fn report_end(
        &self,
        state: MutexGuard<'_, State>,
        reason: EndReason,
        is_news: bool,
        moment: Moment,
    ) -> Error {
        self.republish(&state, moment);
        let error = state.ended(reason.clone(), moment.now);
        drop(state);
        if is_news {
            tracing::warn!(key = %self.key, error = %Causes(&error), "the session has ended");
            let source = match &error {
                Error::Ended { source, .. } => source.clone(),
                _ => None,
            };
            self.send(Event::Ended { reason, source });
        }
        error
    }

    pub(crate) fn close(&self) {
        let moment = self.moment();
        let mut state = self.lock();
        state.is_closed = true;
        self.republish(&state, moment);
        drop(state);
        self.abandon();
    }

    /// The last manager is gone: no caller can wait for this session any more.
    pub(crate) fn abandon(&self) {
        self.closing.has_begun.store(true, Ordering::SeqCst);
        self.closing.changed.notify_waiters();
        self.unplan();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.has_begun.load(Ordering::SeqCst)
    }

    /// Whether the session was shut down, and nothing of it is under way any more.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_closed && state.flight().is_none() && self.has_no_chores()
    }

    fn has_no_chores(&self) -> bool {
        self.closing.chores.load(Ordering::SeqCst) == 0
    }

    /// Returns when the session is closing.
    pub(crate) async fn closing(&self) {
        self.closing.until(|| self.is_closing()).await;
    }

    /// Returns when no manager has the session, or the session is closing.
    pub(crate) async fn unused(&self) {
        self.closing
            .until(|| self.is_closing() || !self.is_used())
            .await;
    }

    /// An API rejected the token that is held.
    pub(super) fn became_unusable(&self) {
        self.closing.changed.notify_waiters();
    }

    /// Returns when an API has rejected the token that is held. The end of the token's lifetime is not waited for.
    pub(crate) async fn unusable(&self) {
        self.closing.until(|| self.usable().is_none()).await;
    }

    /// Ends the wait of a rotation that no caller needs any more. A manager that takes the session later decides again.
    pub(crate) fn refuse_unused(&self) -> Result<(), Error> {
        match (self.is_closing(), self.is_used()) {
            (true, _) => Err(Error::ShutDown),
            (false, false) => Err(Error::Pending),
            (false, true) => Ok(()),
        }
    }

    /// The last manager is gone, and another one may take the session yet.
    pub(super) fn rest(&self) {
        self.closing.changed.notify_waiters();
        let _state = self.lock();
        // Another manager may have taken the session meanwhile, and planned for itself.
        if !self.is_used() {
            self.unplan();
        }
    }

    /// Waits until the user's earlier logouts and sign-ins are stored.
    pub(crate) async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.get_or_init(Box::default).lock().await
    }

    /// Something begins that a shutdown waits for, until the chore is dropped.
    pub(crate) fn chore(self: &Arc<Self>) -> Chore {
        self.closing.chores.fetch_add(1, Ordering::SeqCst);
        Chore(Arc::clone(self))
    }

    /// Returns when no chore is left.
    pub(crate) async fn chores_done(&self) {
        self.closing.until(|| self.has_no_chores()).await;
    }
}

/// Work besides rotations that a shutdown waits for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Chore(Arc<Session>);

impl Chore {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Chore {
    fn drop(&mut self) {
        let closing = &self.0.closing;
        closing.chores.fetch_sub(1, Ordering::SeqCst);
        closing.changed.notify_waiters();
        // The chore may have outlived the time for which the session is kept. A destructor must not call user code.
        self.0.keep_if_needed(self.0.shared.clock.last().now);
    }
}

/// Whether the session is closing, what a shutdown waits for, and whether the token is rejected: one place to wait for all,
/// because each session has one.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Set at shutdown, or when the last handle is gone.
    has_begun: AtomicBool,
    /// How many chores are under way.
    chores: AtomicUsize,
    changed: Notify,
}

impl Closing {
    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            // The task listens before it checks, because a change between the two would be missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so() {
                return;
            }
            changed.await;
        }
    }
}
