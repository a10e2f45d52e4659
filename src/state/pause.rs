//! The pause after a failure, in which nothing is tried, and its doubling.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::endpoint::EndpointError;
use crate::error::Error;
use crate::settings::CoolDown;

/// What failed last, if nothing has succeeded since.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Failure>);

#[derive(Debug)]
struct Failure {
    /// In a row, of its kind.
    count: u32,
    /// Whether the token was still good.
    early: bool,
    /// Nothing is tried before.
    until: Timestamp,
    /// `None` if the server issued a pair that brought no progress.
    error: Option<Error>,
}

impl Pause {
    pub(super) fn has_failed(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|failure| failure.until)
    }

    /// How much of it is left; `None` when it is over.
    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        let until = self.ends_at().filter(|until| now < *until)?;
        Some(until.since(now))
    }

    /// What those are told who need a token during the pause.
    pub(super) fn error(&self, now: Timestamp) -> Option<Error> {
        let error = self.0.as_ref()?.error.clone()?;
        Some(error.with_retry_after(self.left(now)?))
    }

    /// What failed last, and how long nothing is tried for it.
    pub(super) fn last_error(&self, now: Timestamp) -> Option<Error> {
        let error = self.0.as_ref()?.error.clone()?;
        Some(error.with_retry_after(self.left(now).unwrap_or_default()))
    }

    /// Whether the server is being left alone because it issued nothing new.
    pub(super) fn is_stall(&self, now: Timestamp) -> bool {
        let stalled = self
            .0
            .as_ref()
            .is_some_and(|failure| failure.error.is_none());
        stalled && self.left(now).is_some()
    }

    /// A misconfiguration is told, and not tried again unless a caller needs a token.
    pub(super) fn needs_a_caller(&self) -> bool {
        let error = self.0.as_ref().and_then(|failure| failure.error.as_ref());
        let answer = error.and_then(Error::endpoint);
        matches!(answer, Some(EndpointError::Misconfigured { .. }))
    }

    /// A pause after an error, while the token is still good (`early`) or not. Returns how long it is.
    pub(super) fn after_error(
        &mut self,
        error: Error,
        early: bool,
        next_need: Option<Timestamp>,
        cool_down: CoolDown,
        now: Timestamp,
    ) -> Duration {
        // Once the token is needed, the patience of the early failures does not count any more.
        let before = self.0.as_ref().filter(|failure| failure.early == early);
        // That there is no session is not a failure that may last longer the longer it lasts: a user may sign in at
        // another instance any moment.
        let before = before.filter(|_| !matches!(error, Error::NoSession));
        let count = before.map_or(0, |failure| failure.count).saturating_add(1);
        let asked = match error.endpoint() {
            Some(EndpointError::Retry { after }) => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let own = now + cool_down.after(count, early);
        // It does not outlast the moment from which the token is needed. But what the server asks for
        // holds, needed or not: it would only ask again.
        let until = next_need.map_or(own, |need| own.min(need));
        let until = until.max(now + asked.min(cool_down.retry_after_limit));
        self.0 = Some(Failure {
            count,
            early,
            until,
            error: Some(error),
        });
        until.since(now)
    }

    /// How often in a row the server brought nothing new.
    pub(super) fn stalls(&self) -> u32 {
        let stalled = self.0.as_ref().filter(|failure| failure.error.is_none());
        stalled.map_or(0, |failure| failure.count)
    }

    /// The server brought nothing new, for one more time than `before`: it is left alone for a while.
    /// A token that is still valid is not served past its `expiry` for it: by then there may be another.
    pub(super) fn after_stall(
        &mut self,
        before: u32,
        expiry: Option<Timestamp>,
        cool_down: CoolDown,
        now: Timestamp,
    ) {
        let count = before.saturating_add(1);
        let own = now + cool_down.after(count, true);
        let until = match expiry {
            Some(expiry) if now < expiry => own.min(expiry),
            _ => own,
        };
        self.0 = Some(Failure {
            count,
            early: true,
            until,
            error: None,
        });
    }
}
