//! All that is locked: the pair, its identity and the rotation in flight change together. There is no
//! `await` in this file, and nothing in it calls code of the user's.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::endpoint::{EndpointError, OldPair};
use crate::error::{EndReason, Error};
use crate::record::look;
use crate::schedule::{Due, Schedule};
use crate::served::Token;
use crate::settings::{OnStoreFailure, RETRY_AFTER_LIMIT, Settings};
use crate::strategy::{OnExpiry, WhileRotating};
use crate::token::{Digest, Identity, TokenPair};

/// The last good pair.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) pair: TokenPair,
    pub(crate) identity: Identity,
    pub(crate) digest: Digest,
    /// The number of the claim under which it was landed.
    pub(crate) number: u64,
    /// Whether its lineage started with it.
    pub(crate) first: bool,
    pub(crate) sent_at: Timestamp,
    pub(crate) schedule: Schedule,
    /// `None` if the pair has no access token.
    pub(crate) token: Option<Token>,
}

impl Held {
    fn can_refresh(&self, now: Timestamp) -> bool {
        let in_time = self.schedule.refresh_expires_at.is_none_or(|end| now < end);
        self.pair.refresh.is_some() && in_time
    }

    pub(crate) fn for_look(&self) -> look::Held {
        look::Held {
            identity: self.identity,
            digest: self.digest,
            number: self.number,
        }
    }
}

/// What a rotation asks of the pair it finds.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) usable: Option<Token>,
    pub(crate) due: Due,
    pub(crate) identity: Option<Identity>,
    /// No request came in the lifetime, and the strategy ends such sessions.
    pub(crate) is_idle: bool,
    pub(crate) refresh_is_good: bool,
}

/// How far a rotation is, for those who wait for it.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// It is being worked on.
    Running,
    /// It waits, for another instance or for a quarantine to end: nobody with a valid token should.
    Waiting,
    /// The pair is there, but storing it fails; it is kept and tried again.
    Unstored(Error),
    /// It is over, and this is the answer for everybody.
    Done(Result<Token, Error>),
    /// It is over, and everybody has to look for himself.
    Again,
}

/// What failed last, and until when nothing is tried.
#[derive(Debug, Clone)]
struct Failure {
    count: u32,
    not_before: Timestamp,
    /// `None` if the server issued a pair that brought no progress.
    error: Option<Error>,
}

impl Failure {
    /// A misconfiguration is told, and not tried again unless a caller needs a token.
    fn needs_a_caller(&self) -> bool {
        let source = match &self.error {
            Some(Error::Endpoint { source, .. }) => source,
            _ => return false,
        };
        matches!(source, EndpointError::Misconfigured { .. })
    }
}

/// What a caller has to do.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    Serve(Token),
    /// Served, and a rotation is to be started.
    ServeAndRotate(Token),
    /// Wait for the rotation in flight.
    Join(watch::Receiver<Progress>),
    /// Start a rotation and wait for it.
    Rotate,
    Fail(Error),
    /// Fail, and have the store looked at: somebody may have signed in anew.
    FailAndLook(Error),
}

/// What becomes of a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The token is not current any more: a newer one is there already.
    Outdated,
    /// The token is not served any more; a rotation is under way.
    Rotating,
    /// It was rejected so soon after it was issued that another rotation would not help. It is served
    /// on, and a later rejection counts.
    TooSoon,
    /// There is nothing to rotate with. It is served on.
    NotRotatable,
    /// The session has ended, and with this rejection its last token has.
    Ended,
}

#[derive(Debug)]
pub(crate) struct State {
    held: Option<Held>,
    /// Ours, where another instance's pair was committed after it; until that has been accepted once.
    spare: Option<Held>,
    end: Option<EndReason>,
    flight: Option<watch::Receiver<Progress>>,
    failure: Option<Failure>,
    /// Whether an API rejected the token that is held.
    rejected: bool,
    /// Rotations in a row that were forced by a rejection, with no token accepted in between.
    rejections: u32,
    /// When this manager was last issued a pair.
    issued_at: Option<Timestamp>,
    /// The highest next number that was seen in a record.
    next_number: u64,
    /// Numbers of claims that were attempted and under which nothing was sent.
    unsent: Vec<u64>,
    seed: Option<(TokenPair, Timestamp)>,
    can_sign_in: bool,
    closed: bool,
}

impl State {
    pub(crate) fn new(seed: Option<(TokenPair, Timestamp)>, can_sign_in: bool) -> Self {
        Self {
            held: None,
            spare: None,
            end: None,
            flight: None,
            failure: None,
            rejected: false,
            rejections: 0,
            issued_at: None,
            next_number: 1,
            unsent: Vec::new(),
            seed,
            can_sign_in,
            closed: false,
        }
    }

    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    pub(crate) fn seed(&self) -> Option<&(TokenPair, Timestamp)> {
        self.seed.as_ref().filter(|_| self.held.is_none())
    }

    pub(crate) fn forget_seed(&mut self) {
        self.seed = None;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn end(&self) -> Option<&EndReason> {
        self.end.as_ref()
    }

    pub(crate) fn flight(&self) -> Option<&watch::Receiver<Progress>> {
        self.flight.as_ref()
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.held.as_ref().map(|held| held.identity)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(crate) fn saw_next_number(&mut self, number: u64) {
        self.next_number = self.next_number.max(number);
    }

    pub(crate) fn unsent(&self) -> &[u64] {
        &self.unsent
    }

    pub(crate) fn attempted(&mut self, number: u64) {
        if !self.unsent.contains(&number) {
            self.unsent.push(number);
        }
    }

    /// Something is about to be sent under this claim, or it is known to be gone.
    pub(crate) fn settle(&mut self, number: u64) {
        self.unsent.retain(|attempted| *attempted != number);
    }

    /// Whether the token that is held may still be served.
    pub(crate) fn usable(&self, now: Timestamp) -> Option<&Token> {
        let held = self.held.as_ref().filter(|_| !self.rejected)?;
        let in_time = held.schedule.expires_at.is_none_or(|end| now < end);
        // A server that issues expired tokens is taken at its word once per cool-down: those who
        // waited get what it issued, and nobody calls it again meanwhile.
        let no_progress = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.error.is_none() && now < failure.not_before);
        held.token.as_ref().filter(|_| in_time || no_progress)
    }

    /// Whether the endpoint could bring a new pair.
    fn rotatable(&self, now: Timestamp) -> bool {
        self.can_sign_in || self.held.as_ref().is_none_or(|held| held.can_refresh(now))
    }

    /// Everything a rotation asks of the pair it finds.
    pub(crate) fn standing(&self, now: Timestamp, wall: Duration) -> Standing {
        let held = self.held.as_ref();
        let due = held.map_or(Due::Expired, |held| held.schedule.due(now, wall));
        Standing {
            usable: self.usable(now).cloned(),
            due,
            identity: self.identity(),
            // Where a request came in time and its rotation failed, nobody was idle.
            is_idle: due == Due::Expired
                && !self.rejected
                && self.failure.is_none()
                && held.is_some_and(|held| {
                    held.token.is_some() && held.schedule.on_expiry == OnExpiry::End
                }),
            refresh_is_good: held.is_some_and(|held| held.can_refresh(now)),
        }
    }

    pub(crate) fn cooling(&self, now: Timestamp) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|failure| now < failure.not_before)
    }

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
            let running = matches!(*flight.borrow(), Progress::Running);
            let join = held.schedule.while_rotating == WhileRotating::Join
                || settings.server.old_pair == OldPair::AccessDiesAtRotation
                || due >= Due::First;
            return if running && join {
                Verdict::Join(flight.clone())
            } else {
                serve
            };
        }
        if self.cooling(now) || !self.rotatable(now) {
            return serve;
        }
        match due {
            Due::Nothing => serve,
            Due::Background if self.failure.as_ref().is_some_and(Failure::needs_a_caller) => serve,
            Due::Background => Verdict::ServeAndRotate(token.clone()),
            Due::First | Due::Expired => Verdict::Rotate,
        }
    }

    fn verdict_without_token(&self, settings: &Settings, now: Timestamp) -> Verdict {
        if let Some(reason) = &self.end {
            let error = Error::ended(reason.clone());
            return if self.flight.is_some() || self.cooling(now) {
                Verdict::Fail(error)
            } else {
                Verdict::FailAndLook(error)
            };
        }
        if let Some(flight) = &self.flight {
            return match &*flight.borrow() {
                Progress::Unstored(error) if settings.on_store_failure == OnStoreFailure::Fail => {
                    Verdict::Fail(error.clone())
                }
                _ => Verdict::Join(flight.clone()),
            };
        }
        self.obstacle(now).map_or(Verdict::Rotate, Verdict::Fail)
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
        let cooled = self
            .failure
            .as_ref()
            .filter(|failure| now < failure.not_before)
            .map(|failure| failure.not_before.since(now));
        Some(
            change
                .into_iter()
                .chain(cooled)
                .min()
                .unwrap_or(Duration::MAX),
        )
    }

    /// When the worker has to act, if nobody else does before.
    pub(crate) fn wake_at(&self, now: Timestamp, wall: Duration) -> Option<Timestamp> {
        if self.closed || self.end.is_some() || self.flight.is_some() || !self.rotatable(now) {
            return None;
        }
        let schedule = &self.held.as_ref()?.schedule;
        let late = schedule.at_the_latest(now, wall);
        // Measured by the clock that ran further, and told by ours.
        let wake_at = now + schedule.wake_at?.since(late);
        match &self.failure {
            Some(failure) if failure.needs_a_caller() => None,
            Some(failure) => Some(wake_at.max(failure.not_before)),
            None => Some(wake_at),
        }
    }

    /// Why a rotation that somebody asked for cannot start now.
    pub(crate) fn obstacle(&self, now: Timestamp) -> Option<Error> {
        if self.closed {
            return Some(Error::ShutDown);
        }
        if let Some(reason) = self.end.as_ref().filter(|_| self.cooling(now)) {
            return Some(Error::ended(reason.clone()));
        }
        match &self.failure {
            Some(Failure {
                not_before,
                error: Some(error),
                ..
            }) if now < *not_before => Some(error.clone().with_retry_after(not_before.since(now))),
            _ => None,
        }
    }

    /// A rotation starts.
    pub(crate) fn take_off(&mut self, flight: watch::Receiver<Progress>) {
        self.flight = Some(flight);
    }

    /// The rotation is over.
    pub(crate) fn touch_down(&mut self) {
        self.flight = None;
    }

    /// A newer pair takes the place of the one held, whose token nobody gets any more.
    pub(crate) fn hold(&mut self, held: Held) {
        self.saw_next_number(held.number + 1);
        self.held = Some(held);
        self.end = None;
        self.rejected = false;
        self.failure = None;
        self.seed = None;
    }

    pub(crate) fn set_spare(&mut self, spare: Held) {
        self.spare = Some(spare);
    }

    pub(crate) fn take_spare(&mut self) -> Option<Held> {
        self.spare.take()
    }

    /// Returns whether that is news.
    pub(crate) fn set_end(&mut self, reason: EndReason) -> bool {
        let news = self.end.as_ref() != Some(&reason);
        self.end = Some(reason);
        news
    }

    /// Counts a failure: nothing is tried before the cool-down is over. Returns how long that is.
    pub(crate) fn fail(&mut self, error: Error, settings: &Settings, now: Timestamp) -> Duration {
        let early = self.usable(now).is_some();
        let count = self
            .failure
            .as_ref()
            .map_or(0, |failure| failure.count)
            .saturating_add(1);
        let asked = match &error {
            Error::Endpoint {
                source: EndpointError::Retry { after },
                ..
            } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let span = settings
            .cool_down
            .after(count, early)
            .max(asked.min(RETRY_AFTER_LIMIT));
        let mut not_before = now + span;
        // A cool-down does not outlast the moment from which the token is needed.
        if let Some(need) = self
            .held
            .as_ref()
            .and_then(|held| held.schedule.next_need(now))
        {
            not_before = not_before.min(need);
        }
        self.failure = Some(Failure {
            count,
            not_before,
            error: Some(error),
        });
        not_before.since(now)
    }

    /// How often in a row the server brought nothing new.
    pub(crate) fn failed_without_error(&self) -> u32 {
        self.failure
            .as_ref()
            .filter(|failure| failure.error.is_none())
            .map_or(0, |failure| failure.count)
    }

    /// The server brought nothing new, for one more time than `before`: it is left alone for a while.
    pub(crate) fn stall(&mut self, before: u32, settings: &Settings, now: Timestamp) {
        let count = before.saturating_add(1);
        let not_before = now + settings.cool_down.after(count, true);
        self.failure = Some(Failure {
            count,
            not_before,
            error: None,
        });
    }

    /// A pair was issued: the next is not fetched at once, whatever an API says of this one.
    pub(crate) fn issued(&mut self, now: Timestamp) {
        self.issued_at = Some(now);
    }

    /// An API rejected the token of this identity.
    pub(crate) fn reject(
        &mut self,
        identity: Identity,
        settings: &Settings,
        now: Timestamp,
    ) -> Rejection {
        let Some(held) = self.held.as_ref().filter(|held| held.identity == identity) else {
            return Rejection::Outdated;
        };
        if self.end.is_some() {
            self.rejected = true;
            return Rejection::Ended;
        }
        if self.rejected {
            return Rejection::Rotating;
        }
        if !self.rotatable(now) {
            return Rejection::NotRotatable;
        }
        let age = held.schedule.age(now);
        let accepted = held.token.as_ref().is_some_and(Token::accepted);
        if accepted || age >= settings.cool_down.longest {
            self.rejections = 0;
        }
        let patience = match self.rejections {
            0 => Duration::ZERO,
            count => settings.cool_down.after(count, false),
        };
        let too_early = self
            .issued_at
            .is_some_and(|at| now.since(at) < held.schedule.shortest_interval);
        if (age < patience || too_early) && self.flight.is_none() {
            return Rejection::TooSoon;
        }
        self.rejected = true;
        self.rejections = self.rejections.saturating_add(1);
        Rejection::Rotating
    }

    /// An API accepted the token that is held: another instance's pair works, so ours is not needed.
    pub(crate) fn accept(&mut self, identity: Identity) {
        if self.identity() == Some(identity) {
            self.rejections = 0;
            self.spare = None;
        }
    }
}
