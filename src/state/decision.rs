//! Decides what a caller has to do, and which notice subscribers get next of the session's end, from everything that this
//! manager knows.

use std::time::Duration;

use super::{LogoutStage, Progress, State};
use crate::clock::Timestamp;
use crate::endpoint::OldPair;
use crate::error::Error;
use crate::schedule::{Due, Ending, Schedule};
use crate::settings::{OnStoreFailure, Settings};
use crate::snapshot::Token;
use crate::strategy::WhileRotating;

/// What a caller has to do.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The caller goes on with this token.
    Serve(Token),
    /// The caller waits for the rotation that is in flight, or for the one that begins.
    Wait,
    Fail(Error),
}

/// What a caller has to do, and whether a rotation begins for it. A rotation begins also for a caller that fails, where
/// another instance may have signed in anew: the rotation reads the store.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) begins: bool,
}

impl Decision {
    /// This decision, without a rotation.
    fn only(self) -> Decided {
        Decided {
            decision: self,
            begins: false,
        }
    }

    fn and_begin(self) -> Decided {
        Decided {
            decision: self,
            begins: true,
        }
    }
}

impl State {
    /// Decides what a caller has to do now.
    pub(crate) fn decide(&self, settings: &Settings, now: Timestamp, wall: Duration) -> Decided {
        if self.closed {
            return Decision::Fail(Error::ShutDown).only();
        }
        match self.usable(now) {
            Some(token) => self.decide_with_token(token, settings, now, wall),
            None => self.decide_without_token(settings, now),
        }
    }

    fn decide_with_token(
        &self,
        token: &Token,
        settings: &Settings,
        now: Timestamp,
        wall: Duration,
    ) -> Decided {
        let serve = Decision::Serve(token.clone());
        let Some(held) = self.held.as_ref().filter(|_| self.end.is_none()) else {
            return serve.only();
        };
        let due = held.schedule.due(now, wall);
        if let Some(flight) = &self.flight {
            let running = flight.is_at(|at| matches!(at, Progress::Running));
            // After a failure of this rotation, a token that is held is worth more to the caller than the next attempt.
            let is_worth_it = !self.pause.has_failed()
                || settings.server.old_pair == OldPair::AccessDiesAtRotation;
            let join = needs_newer(settings, due) && is_worth_it
                || held.schedule.while_rotating == WhileRotating::Join
                    && now < flight.began + settings.join_limit;
            return if running && join {
                Decision::Wait.only()
            } else {
                serve.only()
            };
        }
        if self.cooling(now) || !self.rotatable(now) {
            return serve.only();
        }
        match due {
            Due::Nothing => serve.only(),
            Due::Advisory => serve.and_begin(),
            Due::Mandatory | Due::Expired => Decision::Wait.and_begin(),
        }
    }

    fn decide_without_token(&self, settings: &Settings, now: Timestamp) -> Decided {
        if let Some(reason) = &self.end {
            let error = self.ended(reason.clone(), now);
            let is_logging_out = self.logout_stage == Some(LogoutStage::Asked);
            let cannot_look = self.cooling(now) || self.runtime_gone;
            return if self.flight.is_some() || cannot_look || is_logging_out {
                Decision::Fail(error).only()
            } else {
                Decision::Fail(error).and_begin()
            };
        }
        if let Some(flight) = &self.flight {
            let failed = flight.room.peek(|at| match at {
                Progress::Unstored(error) if settings.on_store_failure == OnStoreFailure::Fail => {
                    Some(error.clone())
                }
                _ => None,
            });
            return failed.map_or(Decision::Wait, Decision::Fail).only();
        }
        // A pause forbids sending a token. Reading the store is allowed.
        let may_look = !self.runtime_gone
            && self
                .reloaded
                .is_none_or(|at| now.since(at) >= settings.poll_interval);
        if may_look {
            return Decision::Wait.and_begin();
        }
        match self.obstacle(now) {
            Some(error) => Decision::Fail(error).only(),
            None => Decision::Wait.and_begin(),
        }
    }

    /// How long a caller waits for a newer token, if it could go on with the one that is held.
    pub(crate) fn longest_wait(
        &self,
        settings: &Settings,
        now: Timestamp,
        wall: Duration,
    ) -> Option<Duration> {
        self.usable(now)?;
        let schedule = &self.held.as_ref()?.schedule;
        let longest_wait = schedule.longest_wait(now);
        if needs_newer(settings, schedule.due(now, wall)) {
            return Some(longest_wait);
        }
        let began = self.flight.as_ref().map_or(now, |flight| flight.began);
        Some(longest_wait.min((began + settings.join_limit).since(now)))
    }

    /// For how long from now the decision for every caller stays "serve, and begin nothing"; `None` if it is another one now.
    pub(crate) fn quiet_for(
        &self,
        settings: &Settings,
        now: Timestamp,
        wall: Duration,
    ) -> Option<Duration> {
        let decided = self.decide(settings, now, wall);
        if decided.begins || !matches!(decided.decision, Decision::Serve(_)) {
            return None;
        }
        let held = self.held.as_ref()?;
        let latest = held.schedule.at_the_latest(now, wall);
        let change = held.schedule.next_change(latest).map(|at| at.since(latest));
        let pause = self.pause.remaining(now);
        // The token expires by the monotonic clock: a wall clock that runs ahead is past that moment already.
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

/// Whether a caller needs a newer token than the one that is held while a rotation is in flight: the held one is about to
/// expire, or the server revokes it with the rotation.
fn needs_newer(settings: &Settings, due: Due) -> bool {
    due >= Due::Mandatory || settings.server.old_pair == OldPair::AccessDiesAtRotation
}

/// A notice of the session's end, which subscribers get as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The session ends at this moment, unless an instance rotates the pair.
    Expiring { ends_at: Timestamp },
    /// The session is about to end, and nothing can prolong it.
    Ending,
    /// The session has ended, unless another instance has prolonged it.
    Over,
}

/// The next notice for a pair, and when it is due; `warned` says whether subscribers were warned of the pair's end. A session
/// that has ended has no next notice, and this is not called for it.
pub(super) fn next_notice(
    schedule: &Schedule,
    warned: bool,
    settings: &Settings,
) -> Option<(Timestamp, Notice)> {
    let Ending {
        at: ends_at,
        is_final,
    } = schedule.ending?;
    // Not earlier than halfway through the lifetime: a warning that comes together with the pair is of no use.
    let half = schedule.age(ends_at) / 2;
    let before = |span: Duration| ends_at.before(span.min(half));
    Some(if !warned {
        (
            before(settings.expiring_before),
            Notice::Expiring { ends_at },
        )
    } else if is_final {
        (before(settings.ended_before), Notice::Ending)
    } else {
        (ends_at, Notice::Over)
    })
}
