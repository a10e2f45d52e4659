//! A rotation in flight, as its waiters see it. It does none of the rotation's work.

use std::sync::Arc;
use std::time::Duration;

use super::{Chore, Session};
use crate::clock::Timestamp;
use crate::endpoint::EndpointError;
use crate::error::Error;
use crate::event::Event;
use crate::settings::Coordination;
use crate::snapshot::Token;
use crate::state::{Cause, Failure, Progress, Room, State, Timer, Waiter, Wakeups};
use crate::token::PairId;
use crate::user_code::Moment;

/// A rotation in flight. Whatever becomes of its task, each waiter gets an answer.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) session: Arc<Session>,
    /// The pair that was held when the rotation began. The rotation is to bring a newer one.
    pub(crate) seen: Option<PairId>,
    /// The epoch in which the rotation began. After another logout or sign-in its outcome answers no waiter.
    pub(crate) epoch: u64,
    began: Timestamp,
    room: Arc<Room>,
    is_resolved: bool,
    _chore: Chore,
}

impl Flight {
    pub(super) fn new(
        session: &Arc<Session>,
        state: &State,
        room: Arc<Room>,
        began: Timestamp,
    ) -> Self {
        Self {
            session: Arc::clone(session),
            seen: state.pair_id(),
            epoch: state.epoch,
            began,
            room,
            is_resolved: false,
            _chore: session.chore(),
        }
    }

    /// How long the rotation has been in flight.
    pub(crate) fn took(&self) -> Duration {
        self.session.now().since(self.began)
    }

    /// Reports to the waiters how far the rotation is.
    pub(crate) fn report(&self, progress: Progress) {
        let moment = self.session.moment();
        let mut state = self.session.lock();
        // Otherwise the waiters have been woken to decide again, and some may not have read that yet.
        if let Some(current) = state.in_epoch(self.epoch) {
            let wakeups = self.room.report(progress);
            self.session.republish(&current, moment);
            drop(state);
            drop(wakeups);
        }
    }

    /// Counts a failure of this rotation, reports it and begins the pause after it.
    pub(crate) fn fail(&self, error: Error, cause: Cause) -> Failure {
        let moment = self.session.moment();
        self.count(&mut self.session.lock(), moment, error, cause)
    }

    fn count(&self, state: &mut State, moment: Moment, error: Error, cause: Cause) -> Failure {
        let session = &self.session;
        let now = moment.now;
        let Some(mut current) = state.in_epoch(self.epoch) else {
            return Failure::new(error, Duration::ZERO, now, 0);
        };
        let is_refusal = matches!(error.endpoint(), Some(EndpointError::Rejected { .. }));
        let quietly = session.settings().coordination == Coordination::None
            && is_refusal
            && current.usable(now).is_some();
        let (pause, count) = current.fail(error.clone(), cause, session.settings(), now);
        session.republish(&current, moment);
        let error = error.with_retry_after(pause);
        if !matches!(error, Error::Ended { .. }) && !quietly {
            let error = error.clone();
            session.send(Event::Failed { error });
        }
        Failure::new(error, pause, now, count)
    }

    /// Another instance failed and noted that in the record: this manager tries nothing before that pause is over.
    pub(crate) fn learn_of_failure(&self, failure: &Failure, timer: Timer) {
        let moment = self.session.moment();
        let mut state = self.session.lock();
        if let Some(mut current) = state.in_epoch(self.epoch) {
            current.learn_of_failure(failure, timer, self.session.settings(), moment.now);
            self.session.republish(&current, moment);
        }
    }

    /// Returns when the user has logged out or signed in since this rotation began.
    pub(crate) async fn superseded(&self) {
        // Nothing else ends a flight before it is resolved.
        Waiter::uncounted(&self.room).over().await;
    }

    /// Resolves the flight. Snapshot and state are up to date before the first waiter wakes.
    pub(crate) fn finish(mut self, outcome: Result<Token, Error>) {
        let session = Arc::clone(&self.session);
        let (mut state, moment) = session.lock_asking();
        let wakeups = self.resolve(&mut state, moment, outcome);
        drop(state);
        drop(wakeups);
    }

    /// Returns the waiters to be woken with the state unlocked: ten thousand of them would wait for the lock.
    fn resolve(
        &mut self,
        state: &mut State,
        moment: Moment,
        outcome: Result<Token, Error>,
    ) -> Wakeups {
        self.is_resolved = true;
        let Some(mut current) = state.in_epoch(self.epoch) else {
            return Wakeups::default();
        };
        current.clear_flight();
        self.session.republish(&current, moment);
        let is_unstored = self.room.peek(|at| matches!(at, Progress::Unstored(_)));
        self.room.report(match outcome {
            _ if is_unstored => Progress::Retry,
            Err(Error::Pending) => Progress::Retry,
            outcome => Progress::Done(outcome, self.epoch),
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.is_resolved {
            return;
        }
        // A destructor must not call user code.
        let session = Arc::clone(&self.session);
        let moment = session.shared.clock.last();
        let mut state = session.lock();
        // A flight is dropped unresolved by a runtime that shuts down, or by a panic on the way to its task.
        let error = if std::thread::panicking() {
            let retry_after = Duration::ZERO;
            Error::TaskDied { retry_after }
        } else {
            state.is_runtime_gone = true;
            Error::RuntimeGone
        };
        let failure = self.count(&mut state, moment, error, Cause::default());
        let wakeups = self.resolve(&mut state, moment, Err(failure.error));
        drop(state);
        drop(wakeups);
    }
}
