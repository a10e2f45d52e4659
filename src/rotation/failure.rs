//! Classifies a failure for callers, for the worker and for other instances: whether it passes by itself, how long
//! the pause after it is, and what the record says about it. A rotation also waits here for the end of a pause.
//!
//! The free functions are pure, except for the random jitter. A failure of this instance reaches the others only
//! through the record, so that all instances keep one pause.

use std::sync::Arc;
use std::time::Duration;

use super::{Kind, Rotation, Seen};
use crate::endpoint::{EndpointError, ResendAfterSilence};
use crate::error::{Causes, Error};
use crate::record::{Class, NotBefore, cut};
use crate::settings::Settings;
use crate::state::{Cause, Failure, Progress, Timer};
use crate::store::{Revision, StoreError, StoreTime};

/// The only HTTP statuses that refuse a sign-in without an OAuth error code: a server that wants other credentials
/// answers with one of them.
const REFUSALS: [u16; 2] = [400, 401];

/// Turns an answer that brought no pair into the error for callers.
pub(super) fn endpoint_failed(source: EndpointError, kind: Kind) -> Error {
    let retry_after = Duration::ZERO;
    let refuses = match &source {
        EndpointError::Rejected { .. }
        | EndpointError::Refused { .. }
        | EndpointError::UserNeeded { .. } => true,
        EndpointError::Page { quote, .. } => quote.status.is_some_and(|it| REFUSALS.contains(&it)),
        _ => false,
    };
    let source = Arc::new(source);
    match kind {
        Kind::SignIn if refuses => Error::SignInRefused {
            source,
            retry_after,
        },
        _ => Error::Endpoint {
            source,
            is_sign_in: kind == Kind::SignIn,
            retry_after,
        },
    }
}

/// Whether a failure passes by itself, so that callers wait for the next attempt. `has_worked` says whether a pair
/// was ever committed under this key. If not, the client's configuration is the likeliest cause of an answer that
/// refuses it.
pub(super) fn passes(error: &Error, has_worked: bool) -> bool {
    match error {
        Error::Store { .. } => true,
        Error::Endpoint { source, .. } => match &**source {
            EndpointError::NotSent { is_lasting, .. } => !is_lasting,
            EndpointError::Later { .. }
            | EndpointError::Unavailable { .. }
            | EndpointError::Unknown { .. } => true,
            EndpointError::Page { .. } | EndpointError::Refused { .. } => has_worked,
            EndpointError::Rejected { .. } | EndpointError::UserNeeded { .. } => false,
        },
        _ => false,
    }
}

/// What the length of the pause depends on, besides the failures before. `recorded` is the number of failures that
/// the record counts.
pub(super) fn cause(error: &Error, recorded: u32, settings: &Settings) -> Cause {
    let answer = error.endpoint();
    let is_refusal = matches!(error, Error::SignInRefused { .. });
    let is_silence = match answer {
        Some(EndpointError::Unknown { .. }) => true,
        Some(EndpointError::Unavailable { quote, .. }) => quote.status == Some(504),
        _ => false,
    };
    let waits = settings.server.resend_after_silence == ResendAfterSilence::LeaseDuration;
    Cause {
        recorded,
        least: match is_silence && waits {
            true => settings.lease_duration,
            false => Duration::ZERO,
        },
        has_no_pause: false,
        is_longest: is_refusal || matches!(answer, Some(EndpointError::UserNeeded { .. })),
        timer: match answer {
            _ if is_refusal => Timer::Never,
            Some(EndpointError::Refused { .. } | EndpointError::UserNeeded { .. }) => {
                Timer::AfterLongest
            }
            _ => Timer::AfterPause,
        },
        jitter: match settings.jitter > 0.0 {
            true => crate::session::draw(),
            false => 0.0,
        },
    }
}

/// What the record says about a failure; `None` if the failure does not concern other instances.
pub(super) fn class(error: &Error) -> Option<(Class, Option<String>)> {
    let answer = error.endpoint()?;
    let status = || answer.status().map(|status| status.to_string());
    let code = || answer.code().map(|code| cut(code).to_owned());
    let (class, said) = match answer {
        EndpointError::NotSent { .. } => (Class::NotSent, None),
        EndpointError::Later { .. } => (Class::Later, None),
        EndpointError::UserNeeded { .. } => (Class::UserNeeded, code()),
        EndpointError::Refused { .. } | EndpointError::Rejected { .. } => (Class::Refused, code()),
        EndpointError::Page { .. } => (Class::Page, status()),
        EndpointError::Unavailable { .. } => (Class::Unavailable, status()),
        EndpointError::Unknown { .. } => (Class::Unknown, None),
    };
    match error {
        Error::SignInRefused { .. } => Some((Class::SignInRefused, said)),
        _ => Some((class, said)),
    }
}

/// The failure of another instance, as the record describes it.
pub(super) fn recorded_failure(pause: &NotBefore) -> Error {
    let code = pause.code.clone().unwrap_or_default();
    let status = code.parse().unwrap_or_default();
    let answer = match pause.class {
        Class::NotSent => EndpointError::not_sent(FoundElsewhere),
        Class::Later => EndpointError::later(None),
        Class::UserNeeded => EndpointError::user_needed(code),
        Class::Refused | Class::SignInRefused => EndpointError::refused(code),
        Class::Page => EndpointError::page(status),
        Class::Unavailable => EndpointError::unavailable(status, None),
        Class::Unknown => EndpointError::unknown(FoundElsewhere),
    };
    let kind = match pause.class {
        Class::SignInRefused => Kind::SignIn,
        _ => Kind::Refresh,
    };
    let answer = answer.with_description(Some(FoundElsewhere.to_string()));
    endpoint_failed(answer, kind)
}

/// Stands for the source of another instance's error, which the record does not keep.
#[derive(Debug, thiserror::Error)]
#[error("another instance of this client got this answer")]
struct FoundElsewhere;

impl Rotation {
    /// Counts a failure, and reports it in the log and to the waiters.
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
            "an attempt to renew the token pair failed"
        );
        failure
    }

    /// The pause that the record keeps for all instances; `None` if the failure does not concern other instances.
    pub(super) fn not_before(failure: &Failure, now: StoreTime) -> Option<NotBefore> {
        let (class, code) = class(&failure.error)?;
        // Another instance may reach the server where this one does not: for the others the pause is a tenth shorter,
        // so that one of them tries first.
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

    /// The pause in which nothing is sent now: after a failure of this instance, or after one of another instance
    /// that the record describes.
    pub(super) fn current_pause(&self, seen: &Seen) -> Option<Failure> {
        let session = self.session();
        let now = session.now();
        let own = session.lock().pause(now);
        let settings = session.settings();
        let cool_down = settings.cool_down;
        let longest = cool_down
            .retry_after_limit
            .max(cool_down.longest)
            .max(settings.lease_duration);
        let store_now = self.session().store_now(seen.clock);
        let recorded = seen
            .record()
            .and_then(|record| record.remaining_pause(store_now, longest));
        let Some((remaining, pause)) = recorded else {
            return own;
        };
        let until = now + remaining;
        match own {
            // This is the same failure; by the store's clock its pause ends later.
            Some(own) if own.until < until => Some(Failure {
                pause: remaining,
                until,
                ..own
            }),
            Some(own) => Some(own),
            None => {
                let error = recorded_failure(pause).with_retry_after(remaining);
                let failure = Failure {
                    is_of_another: true,
                    ..Failure::new(error, remaining, now, pause.failures)
                };
                let timer = cause(&failure.error, 0, session.settings()).timer;
                self.flight.learn_of_failure(&failure, timer);
                Some(failure)
            }
        }
    }

    /// Waits for the end of the pause after a failure, or for a change of the record; the next step loads the record.
    /// Returns the error at once if the failure does not pass by itself.
    pub(super) async fn wait_for_pause_end(
        &mut self,
        failure: Failure,
        watched: Option<Option<Revision>>,
    ) -> Result<(), Error> {
        if !failure.is_of_another && !passes(&failure.error, self.has_worked) {
            self.is_counted = true;
            return Err(failure.error);
        }
        self.leave();
        self.check_epoch()?;
        let progress = Progress::Pausing(failure.error.clone(), failure.until);
        self.flight.report(progress);
        let session = &self.flight.session;
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
            let remaining = failure.until.since(session.now());
            if remaining.is_zero() {
                break true;
            }
            tokio::select! {
                () = &mut changed => break false,
                () = session.unused() => session.refuse_unused()?,
                () = self.flight.superseded() => return Err(Error::Pending),
                () = tokio::time::sleep(remaining.min(poll_interval)) => {}
            }
        };
        if is_over && !self.is_needed() {
            return Err(Error::Pending);
        }
        self.has_paused = is_over;
        self.flight.report(Progress::Running);
        Ok(())
    }

    /// Waits for the end of the pause after a failure of the store, even if no caller needs the token: the rotation
    /// still has something to store.
    pub(super) async fn wait_for_store(&mut self, error: StoreError) -> Result<(), Error> {
        self.leave();
        self.check_epoch()?;
        let failure = self.fail(error.into(), 0);
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

    /// Returns [`Error::Pending`] once the user has logged out or signed in: the rotation no longer waits on behalf
    /// of the former session.
    fn check_epoch(&self) -> Result<(), Error> {
        let is_left = self.session().lock().epoch != self.flight.epoch;
        if is_left { Err(Error::Pending) } else { Ok(()) }
    }

    /// Whether a caller or the worker needs a newer token.
    fn is_needed(&self) -> bool {
        let moment = self.session().moment();
        let is_used = self.session().is_used();
        let state = self.session().lock();
        state.has_waiters() || is_used && state.timer_is_due(moment)
    }
}
