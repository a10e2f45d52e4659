//! The pause after a failed attempt: nothing is sent, and the store is watched, because another instance may have
//! succeeded.

use std::time::Duration;

use super::failure::{cause, class, passes, told};
use super::{Rotation, Seen, store_failed};
use crate::error::{Causes, Error};
use crate::record::pause::{Class, NotBefore};
use crate::state::{Cause, Failure, Progress};
use crate::store::{Revision, StoreError, StoreTime};

impl Rotation {
    /// Counts a failure and tells of it.
    pub(super) fn fail(&mut self, error: Error, recorded: u32) -> Failure {
        let cause = cause(&error, recorded, self.session().settings());
        self.fail_with(error, cause)
    }

    pub(super) fn fail_with(&mut self, error: Error, cause: Cause) -> Failure {
        let failure = self.flight.fail(error, cause);
        tracing::warn!(
            key = %self.session().key,
            error = %Causes(&failure.error),
            pause = ?failure.pause,
            "an attempt to rotate has failed"
        );
        failure
    }

    /// What the record says of a failure, until the end of the pause after it.
    pub(super) fn not_before(failure: &Failure, now: StoreTime) -> Option<NotBefore> {
        let (class, code) = class(&failure.error)?;
        // Where this instance does not get through, another one may: it goes first.
        let lead = match class {
            Class::NotSent => failure.pause / 10,
            _ => Duration::ZERO,
        };
        Some(NotBefore {
            until: now.after(failure.pause.saturating_sub(lead)),
            class,
            code,
            failures: failure.count,
        })
    }

    /// What forbids to send now: a failure of our own, or one of another instance that the record tells of.
    pub(super) fn forbids(&self, seen: &Seen) -> Option<Failure> {
        let session = self.session();
        let now = session.now();
        let own = session.lock().pause(now);
        let settings = session.settings();
        let cool_down = settings.cool_down;
        let longest = cool_down
            .retry_after_limit
            .max(cool_down.longest)
            .max(settings.lease_duration);
        let store_now = self.store_now(seen.clock);
        let recorded = seen
            .record()
            .and_then(|record| record.pause_left(store_now, longest));
        let Some((left, pause)) = recorded else {
            return own;
        };
        let until = now + left;
        match own {
            // The same failure, by the store's clock.
            Some(own) if own.until < until => Some(Failure {
                pause: left,
                until,
                ..own
            }),
            Some(own) => Some(own),
            None => {
                let failure = Failure {
                    error: told(pause).with_retry_after(left),
                    pause: left,
                    until,
                    count: pause.failures,
                    is_told: true,
                    is_final: false,
                };
                let timer = cause(&failure.error, 0, session.settings()).timer;
                self.flight.learn_of_failure(&failure, timer);
                Some(failure)
            }
        }
    }

    /// Waits for the end of the pause after a failure, or for a change of the record: the next step is a look. With a
    /// failure that does not pass by itself there is nothing to wait for.
    pub(super) async fn wait_out(
        &mut self,
        failure: Failure,
        watched: Option<Option<Revision>>,
    ) -> Result<(), Error> {
        if !failure.is_told && !passes(&failure.error, self.has_worked) {
            self.is_counted = true;
            return Err(failure.error);
        }
        self.unless_left()?;
        let progress = Progress::Pausing(failure.error.clone(), failure.until);
        self.flight.report(progress);
        let session = self.flight.session();
        let poll_interval = session.settings().poll_interval;
        let changed = async {
            match watched {
                Some(revision) => {
                    let store = &session.shared.store;
                    store.changed(&session.key, revision, Duration::MAX).await;
                }
                None => std::future::pending().await,
            }
        };
        let mut changed = std::pin::pin!(changed);
        let is_over = loop {
            let left = failure.until.since(session.now());
            if left.is_zero() {
                break true;
            }
            tokio::select! {
                () = &mut changed => break false,
                () = session.closing() => return Err(Error::ShutDown),
                () = self.flight.superseded() => return Err(Error::Pending),
                () = tokio::time::sleep(left.min(poll_interval)) => {}
            }
        };
        if is_over && !self.is_needed() {
            return Err(Error::Pending);
        }
        self.has_paused = is_over;
        self.flight.report(Progress::Running);
        Ok(())
    }

    /// Waits for the end of the pause after a failure of the store, needed or not: what is to be stored is not forgotten.
    pub(super) async fn sit_out(&mut self, error: StoreError) -> Result<(), Error> {
        self.unless_left()?;
        let failure = self.fail(store_failed(error), 0);
        self.flight
            .report(Progress::Pausing(failure.error, failure.until));
        let session = self.session();
        tokio::select! {
            () = tokio::time::sleep(failure.pause) => {}
            () = session.closing() => return Err(Error::ShutDown),
        }
        self.flight.report(Progress::Running);
        Ok(())
    }

    /// [`Error::Pending`] once the user has done something with the session: nothing is waited for on its behalf any more.
    fn unless_left(&self) -> Result<(), Error> {
        let is_left = self.session().lock().epoch() != self.flight.epoch();
        if is_left { Err(Error::Pending) } else { Ok(()) }
    }

    /// Whether a caller or the worker needs a newer token.
    fn is_needed(&self) -> bool {
        let session = self.session();
        let (now, wall) = (session.now(), session.wall());
        let state = session.lock();
        state.has_waiters() || state.timer_is_due(now, wall)
    }
}
