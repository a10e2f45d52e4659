//! A rotation under way, as those see it who wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Chore, Session};
use crate::clock::Timestamp;
use crate::endpoint::EndpointError;
use crate::error::Error;
use crate::event::Event;
use crate::served::Token;
use crate::settings::Coordination;
use crate::state::{Progress, State};
use crate::token::Identity;
use crate::user_code::Moment;

/// A rotation under way. Whatever becomes of its task, everybody who waits gets an answer.
#[derive(Debug)]
pub(crate) struct Flight {
    session: Arc<Session>,
    /// The pair that was held when it began: a newer one is wanted.
    seen: Option<Identity>,
    /// What the user had done when it began: if he does more, it answers nobody.
    epoch: u64,
    began: Timestamp,
    progress: watch::Sender<Progress>,
    landed: bool,
    _chore: Chore,
}

impl Flight {
    pub(super) fn new(
        session: &Arc<Session>,
        state: &State,
        progress: watch::Sender<Progress>,
        began: Timestamp,
    ) -> Self {
        Self {
            session: Arc::clone(session),
            seen: state.identity(),
            epoch: state.epoch(),
            began,
            progress,
            landed: false,
            _chore: session.chore(),
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn seen(&self) -> Option<Identity> {
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
            self.progress.send_replace(progress);
            self.session.republish(&current, moment);
        }
    }

    /// Ends it. The snapshot and the state are what they will be before anybody wakes.
    pub(crate) fn finish(mut self, outcome: Result<Token, Error>) {
        let session = Arc::clone(&self.session);
        let (mut state, moment) = session.lock_asking();
        self.land(&mut state, moment, outcome);
    }

    fn land(&mut self, state: &mut State, moment: Moment, outcome: Result<Token, Error>) {
        self.landed = true;
        let session = &self.session;
        let Some(mut current) = state.in_epoch(self.epoch) else {
            return;
        };
        current.touch_down();
        let quietly = session.settings().coordination == Coordination::None
            && is_refusal(&outcome)
            && current.usable(moment.now).is_some();
        let outcome = outcome.map_err(|error| match error {
            Error::ShutDown => error,
            error => {
                let cool_down = current.fail(error.clone(), session.settings(), moment.now);
                error.with_retry_after(cool_down)
            }
        });
        session.republish(&current, moment);
        if let Err(error) = &outcome
            && !matches!(error, Error::Ended { .. } | Error::ShutDown)
            && !quietly
        {
            session.send(Event::Failed {
                error: error.clone(),
            });
        }
        let over = matches!(self.progress.borrow().clone(), Progress::Unstored(_));
        self.progress.send_replace(if over {
            Progress::Again
        } else {
            Progress::Done(outcome, self.epoch)
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landed {
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
        self.land(&mut state, moment, Err(error));
    }
}

fn is_refusal(outcome: &Result<Token, Error>) -> bool {
    let answer = outcome.as_ref().err().and_then(Error::endpoint);
    matches!(answer, Some(EndpointError::Rejected { .. }))
}
