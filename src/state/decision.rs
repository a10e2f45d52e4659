//! Decides what a caller has to do, and which notice subscribers get next of the session's end, from everything that this
//! manager knows.

use std::time::Duration;

use super::{HeldPair, LogoutStage, Progress, State};
use crate::clock::Timestamp;
use crate::endpoint::OldPair;
use crate::error::Error;
use crate::schedule::{Due, Ending, Schedule};
use crate::settings::{OnStoreFailure, Settings};
use crate::snapshot::Token;
use crate::strategy::WhileRotating;
use crate::user_code::Moment;

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
    pub(crate) fn decide(&self, settings: &Settings, moment: Moment) -> Decided {
        if self.is_closed {
            return Decision::Fail(Error::ShutDown).only();
        }
        match self.usable(moment.now) {
            Some(token) => self.decide_with_token(token, settings, moment),
            None => self.decide_without_token(settings, moment.now),
        }
    }

    fn decide_with_token(&self, token: &Token, settings: &Settings, moment: Moment) -> Decided {
        let now = moment.now;
        let serve = Decision::Serve(token.clone());
        let Some(held) = self.held.as_ref().filter(|_| self.end.is_none()) else {
            return serve.only();
        };
        let due = held.due(moment);
        if let Some(flight) = &self.flight {
            let running = self.is_at(|at| matches!(at, Progress::Running));
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
            let cannot_look = self.cooling(now) || self.is_runtime_gone;
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
        let is_over = |at| now.since(at) >= settings.poll_interval;
        if !self.is_runtime_gone && self.reloaded.is_none_or(is_over) {
            return Decision::Wait.and_begin();
        }
        match self.obstacle(now) {
            Some(error) => Decision::Fail(error).only(),
            None => Decision::Wait.and_begin(),
        }
    }

    /// How long a caller waits for a newer token, if it could go on with the one that is held.
    pub(crate) fn longest_wait(&self, settings: &Settings, moment: Moment) -> Option<Duration> {
        let now = moment.now;
        self.usable(now)?;
        let held = self.held.as_ref()?;
        let longest_wait = held.schedule.longest_wait(now);
        if needs_newer(settings, held.due(moment)) {
            return Some(longest_wait);
        }
        let began = self.flight.as_ref().map_or(now, |flight| flight.began);
        Some(longest_wait.min((began + settings.join_limit).since(now)))
    }

    /// For how long from now the decision for every caller stays "serve, and begin nothing"; `None` if it is another one now.
    pub(crate) fn quiet_for(&self, settings: &Settings, moment: Moment) -> Option<Duration> {
        let now = moment.now;
        let Decided {
            decision: Decision::Serve(_),
            begins: false,
        } = self.decide(settings, moment)
        else {
            return None;
        };
        let HeldPair { schedule, .. } = self.held()?;
        let latest = schedule.at_the_latest(now, moment.wall);
        let change = schedule.next_change(latest).map(|at| at.since(latest));
        let pause = self.pause.remaining(now);
        // The token expires by the monotonic clock: a wall clock that runs ahead is past that moment already.
        let expiry = schedule.expires_at.filter(|end| now < *end);
        let expiry = expiry.map(|end| end.since(now));
        let next = change.into_iter().chain(pause).chain(expiry).min();
        Some(next.unwrap_or(Duration::MAX))
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
