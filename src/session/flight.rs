//! A rotation under way, as those see it who wait for it.

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

/// A rotation under way. Whatever becomes of its task, everybody who waits gets an answer.
#[derive(Debug)]
pub(crate) struct Flight {
    session: Arc<Session>,
    /// The pair that was held when it began: a newer one is wanted.
    seen: Option<PairId>,
    /// What the user had done when it began: if he does more, it answers nobody.
    epoch: u64,
    began: Timestamp,
    room: Arc<Room>,
    resolved: bool,
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
            epoch: state.epoch(),
            began,
            room,
            resolved: false,
            _chore: session.chore(),
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn seen(&self) -> Option<PairId> {
        self.seen
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long it has been under way.
    pub(crate) fn took(&self) -> Duration {
        self.session.now().since(self.began)
    }

    /// Tells those who wait how far it is.
    pub(crate) fn report(&self, progress: Progress) {
        let moment = self.session.moment();
        let mut state = self.session.state.lock();
        // Else those who waited have been told to decide again, and some may not have heard it yet.
        if let Some(current) = state.in_epoch(self.epoch) {
            let wakeups = self.room.report(progress);
            self.session.republish(&current, moment);
            drop(state);
            drop(wakeups);
        }
    }

    /// Counts a failure of this rotation, and tells of it; nothing is tried for a while.
    pub(crate) fn fail(&self, error: Error, cause: Cause) -> Failure {
        let session = &self.session;
        let moment = session.moment();
        let mut state = session.state.lock();
        let failure = self.count(&mut state, moment, error, cause);
        drop(state);
        failure
    }

    fn count(&self, state: &mut State, moment: Moment, error: Error, cause: Cause) -> Failure {
        let session = &self.session;
        let now = moment.now;
        let Some(mut current) = state.in_epoch(self.epoch) else {
            return Failure {
                error,
                pause: Duration::ZERO,
                until: now,
                count: 0,
                is_told: false,
                is_final: false,
            };
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
        Failure {
            error,
            pause,
            until: now + pause,
            count,
            is_told: false,
            is_final: false,
        }
    }

    /// Another instance has failed, and says so in the record: nothing is tried before its pause is over.
    pub(crate) fn learn_of_failure(&self, failure: &Failure, timer: Timer) {
        let moment = self.session.moment();
        let mut state = self.session.state.lock();
        if let Some(mut current) = state.in_epoch(self.epoch) {
            current.learn_of_failure(failure, timer, self.session.settings(), moment.now);
            self.session.republish(&current, moment);
        }
    }

    /// Returns when the user has done something with the session since this began.
    pub(crate) async fn superseded(&self) {
        // Nothing else ends it before it is resolved.
        Waiter::uncounted(&self.room).over().await;
    }

    /// Ends it, with a failure that was counted. The snapshot and the state are what they will be before any waiter wakes.
    pub(crate) fn finish(mut self, outcome: Result<Token, Error>) {
        let session = Arc::clone(&self.session);
        let (mut state, moment) = session.lock_asking();
        let wakeups = self.resolve(&mut state, moment, outcome);
        drop(state);
        drop(wakeups);
    }

    /// Those who wait are to be woken with the state unlocked: ten thousand of them would wait for the lock.
    fn resolve(
        &mut self,
        state: &mut State,
        moment: Moment,
        outcome: Result<Token, Error>,
    ) -> Wakeups {
        self.resolved = true;
        let session = &self.session;
        let Some(mut current) = state.in_epoch(self.epoch) else {
            return Wakeups::default();
        };
        current.clear_flight();
        session.republish(&current, moment);
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
        if self.resolved {
            return;
        }
        // User code is not called in a destructor.
        let session = Arc::clone(&self.session);
        let moment = session.shared.clock.last();
        let mut state = session.lock();
        // A runtime that is shut down drops its rotations; else nothing does but a panic on the way to its task.
        let error = if std::thread::panicking() {
            let retry_after = Duration::ZERO;
            Error::TaskDied { retry_after }
        } else {
            state.lose_runtime();
            Error::RuntimeGone
        };
        let failure = self.count(&mut state, moment, error, Cause::default());
        let wakeups = self.resolve(&mut state, moment, Err(failure.error));
        drop(state);
        drop(wakeups);
    }
}
