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
    ) -> Self {
        Self {
            session: Arc::clone(session),
            seen: state.identity(),
            epoch: state.epoch(),
            began: session.now(),
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
        let state = self.session.state.lock();
        // Else those who waited have been told to decide again, and some may not have heard it yet.
        if state.epoch() == self.epoch {
            self.progress.send_replace(progress);
            self.session.republish(&state);
        }
    }

    /// Ends it. The snapshot and the state are what they will be before anybody wakes.
    pub(crate) fn finish(mut self, outcome: Result<Token, Error>) {
        self.land(outcome);
    }

    fn land(&mut self, outcome: Result<Token, Error>) {
        self.landed = true;
        let session = Arc::clone(&self.session);
        let mut state = session.lock_asking();
        if state.epoch() != self.epoch {
            return;
        }
        state.touch_down();
        let quietly = session.settings().coordination == Coordination::None
            && is_refusal(&outcome)
            && state.usable(session.now()).is_some();
        let outcome = outcome.map_err(|error| match error {
            Error::ShutDown => error,
            // Nothing to be stormed, and somebody may seed it any moment.
            Error::NoSession if state.held().is_none() => error,
            error => {
                let cool_down = state.fail(error.clone(), session.settings(), session.now());
                error.with_retry_after(cool_down)
            }
        });
        session.republish(&state);
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
            Progress::Done(outcome)
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.land(Err(Error::TaskDied));
        }
    }
}

fn is_refusal(outcome: &Result<Token, Error>) -> bool {
    let answer = outcome.as_ref().err().and_then(Error::endpoint);
    matches!(answer, Some(EndpointError::Rejected { .. }))
}
