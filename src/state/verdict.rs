//! What a caller has to do, by everything that is known.

use std::time::Duration;

use super::{LogoutStage, Progress, State, Waiter};
use crate::clock::Timestamp;
use crate::endpoint::OldPair;
use crate::error::Error;
use crate::schedule::Due;
use crate::settings::{OnStoreFailure, Settings};
use crate::snapshot::Token;
use crate::strategy::WhileRotating;

/// What a caller has to do.
#[derive(Debug)]
pub(crate) enum Verdict {
    Serve(Token),
    /// Served, and a rotation is to be started.
    ServeAndRotate(Token),
    /// Wait for the rotation in flight.
    Join(Waiter),
    /// Start a rotation and wait for it.
    Rotate,
    Fail(Error),
    /// Fail, and have the store looked at: somebody may have signed in anew.
    FailAndReload(Error),
}

impl State {
    /// What a caller has to do now.
    pub(crate) fn verdict(&self, settings: &Settings, now: Timestamp, wall: Duration) -> Verdict {
        if self.closed {
            return Verdict::Fail(Error::ShutDown);
        }
        match self.usable(now) {
            Some(token) => self.verdict_while_usable(token, settings, now, wall),
            None => self.verdict_without_token(settings, now),
        }
    }

    fn verdict_while_usable(
        &self,
        token: &Token,
        settings: &Settings,
        now: Timestamp,
        wall: Duration,
    ) -> Verdict {
        let serve = Verdict::Serve(token.clone());
        let Some(held) = self.held.as_ref().filter(|_| self.end.is_none()) else {
            return serve;
        };
        let due = held.schedule.due(now, wall);
        if let Some(flight) = &self.flight {
            let running = flight.is_at(|at| matches!(at, Progress::Running));
            // After a failure of this rotation, the token that is there is worth more than the next attempt.
            let is_worth_it = !self.pause.has_failed()
                || settings.server.old_pair == OldPair::AccessDiesAtRotation;
            let join = needs_newer(settings, due) && is_worth_it
                || held.schedule.while_rotating == WhileRotating::Join
                    && now < flight.began + settings.join_limit;
            return if running && join {
                Verdict::Join(Waiter::new(&flight.room))
            } else {
                serve
            };
        }
        if self.cooling(now) || !self.rotatable(now) {
            return serve;
        }
        match due {
            Due::Nothing => serve,
            Due::Advisory => Verdict::ServeAndRotate(token.clone()),
            Due::Mandatory | Due::Expired => Verdict::Rotate,
        }
    }

    fn verdict_without_token(&self, settings: &Settings, now: Timestamp) -> Verdict {
        if let Some(reason) = &self.end {
            let error = self.ended(reason.clone(), now);
            let leaving = self.logout_stage == Some(LogoutStage::Asked);
            let cannot_look = self.cooling(now) || self.runtime_gone;
            return if self.flight.is_some() || cannot_look || leaving {
                Verdict::Fail(error)
            } else {
                Verdict::FailAndReload(error)
            };
        }
        if let Some(flight) = &self.flight {
            let failed = flight.room.peek(|at| match at {
                Progress::Unstored(error) if settings.on_store_failure == OnStoreFailure::Fail => {
                    Some(error.clone())
                }
                _ => None,
            });
            let join = || Verdict::Join(Waiter::new(&flight.room));
            return failed.map_or_else(join, Verdict::Fail);
        }
        // A pause forbids to send, and not to look.
        let may_look = !self.runtime_gone
            && self
                .reloaded
                .is_none_or(|at| now.since(at) >= settings.poll_interval);
        if may_look {
            return Verdict::Rotate;
        }
        self.obstacle(now).map_or(Verdict::Rotate, Verdict::Fail)
    }

    /// How long a caller waits for a newer token who could go on with the one that is held.
    pub(crate) fn patience(
        &self,
        settings: &Settings,
        now: Timestamp,
        wall: Duration,
    ) -> Option<Duration> {
        self.usable(now)?;
        let schedule = &self.held.as_ref()?.schedule;
        let patience = schedule.patience(now);
        if needs_newer(settings, schedule.due(now, wall)) {
            return Some(patience);
        }
        let began = self.flight.as_ref().map_or(now, |flight| flight.began);
        Some(patience.min((began + settings.join_limit).since(now)))
    }

    /// For how long from now the verdict stays "serve", if it is that.
    pub(crate) fn quiet_for(
        &self,
        settings: &Settings,
        now: Timestamp,
        wall: Duration,
    ) -> Option<Duration> {
        let Verdict::Serve(_) = self.verdict(settings, now, wall) else {
            return None;
        };
        let held = self.held.as_ref()?;
        let latest = held.schedule.at_the_latest(now, wall);
        let change = held.schedule.next_change(latest).map(|at| at.since(latest));
        let pause = self.pause.remaining(now);
        // The token expires by our own clock: a wall clock that ran ahead is past that moment already.
        let expiry = held.schedule.expires_at.filter(|end| now < *end);
        Some(
            change
                .into_iter()
                .chain(pause)
                .chain(expiry.map(|end| end.since(now)))
                .min()
                .unwrap_or(Duration::MAX),
        )
    }
}

/// Whether the token that is held is no good while a rotation is under way: it is about to expire, or dies at the
/// server with the rotation.
fn needs_newer(settings: &Settings, due: Due) -> bool {
    due >= Due::Mandatory || settings.server.old_pair == OldPair::AccessDiesAtRotation
}
