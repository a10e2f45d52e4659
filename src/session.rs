//! One session of a manager: its locked state, the snapshot for readers, and the moments where the one
//! becomes the other. It starts nothing and waits for nothing.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, broadcast, watch};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::endpoint::{EndpointError, TokenEndpoint};
use crate::error::{EndReason, Error};
use crate::event::Event;
use crate::record::claim::Owner;
use crate::record::look::{Look, look};
use crate::record::{Record, StoredPair};
use crate::schedule::{Pacing, Schedule};
use crate::served::{Snapshot, Token};
use crate::settings::{Coordination, Settings};
use crate::state::{Held, Leaving, Notice, Progress, Rejection, State, Verdict};
use crate::status::Status;
use crate::store::{StoreError, StoreTime, TokenStore};
use crate::strategy::{Plan, RefreshStrategy};
use crate::token::{Identity, Key, TokenPair};

/// Events a slow subscriber may fall behind by; there are a few for each rotation.
const EVENTS_KEPT: usize = 256;

/// What many sessions may share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endpoint: Arc<dyn TokenEndpoint>,
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) strategy: Arc<dyn RefreshStrategy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    /// What stands before the token in its header.
    pub(crate) prefix: &'static str,
    pub(crate) on_rotated: Option<OnRotated>,
    pub(crate) runtime: tokio::runtime::Handle,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    pub(crate) owner: Owner,
    state: Mutex<State>,
    snapshot: ArcSwapOption<Snapshot>,
    /// Then the hot path calls it without a detour.
    on_system_clock: bool,
    events: broadcast::Sender<Event>,
    /// Tells the worker that its next moment may have changed.
    rescheduled: Arc<Notify>,
    worker: Once,
    /// Turns true at shutdown, or when the last handle is gone.
    closing: watch::Sender<bool>,
    /// How much is being done besides rotations that a shutdown waits for.
    chores: watch::Sender<usize>,
    /// What the user does with the session is stored one after the other.
    order: tokio::sync::Mutex<()>,
}

/// What the worker has to do.
#[derive(Debug)]
pub(crate) enum Wake {
    Rotate(Flight),
    Tell(Notice),
    /// Nothing for so long, or until something is planned.
    Sleep(Option<Duration>),
}

/// What a caller has to do, with the rotation that was begun for it.
#[derive(Debug)]
pub(crate) enum Decision {
    Serve(Token),
    Join(watch::Receiver<Progress>),
    Fail(Error),
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: Key,
        owner: Owner,
        seed: Option<(TokenPair, Timestamp)>,
        on_system_clock: bool,
    ) -> Self {
        let can_sign_in = shared.endpoint.can_sign_in();
        Self {
            shared,
            key,
            owner,
            state: Mutex::new(State::new(seed, can_sign_in)),
            snapshot: ArcSwapOption::empty(),
            on_system_clock,
            events: broadcast::Sender::new(EVENTS_KEPT),
            rescheduled: Arc::default(),
            worker: Once::new(),
            closing: watch::Sender::new(false),
            chores: watch::Sender::new(0),
            order: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn wall(&self) -> Duration {
        self.shared.clock.wall()
    }

    fn send(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// What readers see. It neither waits nor locks nor allocates.
    #[inline]
    pub(crate) fn snapshot(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    /// The snapshot, if nothing has to be decided.
    #[inline]
    pub(crate) fn quiet<'a>(&self, snapshot: &'a Option<Arc<Snapshot>>) -> Option<&'a Snapshot> {
        let snapshot = snapshot.as_deref()?;
        let now = if self.on_system_clock {
            SystemClock.coarse()
        } else {
            self.shared.clock.coarse()
        };
        now.is_before(snapshot.quiet_until).then_some(snapshot)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Decides for a caller. A flight that comes with the answer has to be started.
    pub(crate) fn decide(self: &Arc<Self>) -> (Decision, Option<Flight>) {
        let (now, wall) = (self.now(), self.wall());
        let mut state = self.state.lock();
        match state.verdict(self.settings(), now, wall) {
            Verdict::Serve(token) => {
                self.republish(&state);
                (Decision::Serve(token), None)
            }
            Verdict::ServeAndRotate(token) => {
                let (flight, _) = self.take_off(&mut state);
                (Decision::Serve(token), Some(flight))
            }
            Verdict::Join(progress) => (Decision::Join(progress), None),
            Verdict::Rotate => {
                let (flight, progress) = self.take_off(&mut state);
                (Decision::Join(progress), Some(flight))
            }
            Verdict::Fail(error) => (Decision::Fail(error), None),
            Verdict::FailAndLook(error) => {
                let (flight, _) = self.take_off(&mut state);
                (Decision::Fail(error), Some(flight))
            }
        }
    }

    /// Decides for a caller who wants a newer pair than `seen`, whatever the plan says.
    pub(crate) fn renew(self: &Arc<Self>, seen: Option<Identity>) -> (Decision, Option<Flight>) {
        let mut state = self.state.lock();
        if let Some(progress) = state.flight() {
            return (Decision::Join(progress), None);
        }
        if state.identity() != seen {
            drop(state);
            return self.decide();
        }
        if let Some(error) = state.obstacle(self.now()) {
            return (Decision::Fail(error), None);
        }
        let (flight, progress) = self.take_off(&mut state);
        (Decision::Join(progress), Some(flight))
    }

    /// What the worker has to do.
    pub(crate) fn wake(self: &Arc<Self>) -> Wake {
        let now = self.now();
        let mut state = self.state.lock();
        let rotate_at = state.wake_at(now, self.wall());
        let notice = state.next_notice(self.settings());
        if rotate_at.is_some_and(|at| at <= now) {
            return Wake::Rotate(self.take_off(&mut state).0);
        }
        if let Some((at, notice)) = notice
            && at <= now
        {
            if notice == Notice::Over {
                return Wake::Rotate(self.take_off(&mut state).0);
            }
            return Wake::Tell(notice);
        }
        let at = rotate_at.into_iter().chain(notice.map(|(at, _)| at)).min();
        Wake::Sleep(at.map(|at| at.since(now)))
    }

    /// Tells of the end of the session whose pair is `of`, before it comes; not if another is held by now.
    pub(crate) fn tell(&self, notice: Notice, of: Identity) {
        let mut state = self.state.lock();
        if state.identity() != Some(of) {
            return;
        }
        match notice {
            Notice::Expiring { ends_at } => {
                state.warned();
                drop(state);
                self.send(Event::Expiring {
                    left: ends_at.since(self.now()),
                });
            }
            Notice::Ending | Notice::Over => {
                self.end_locked(state, EndReason::Expired);
            }
        }
    }

    /// Starts the worker with the first rotation: before it there is nothing to wake for.
    pub(crate) fn ensure_worker(self: &Arc<Self>, start: impl FnOnce(&Arc<Self>)) {
        self.worker.call_once(|| start(self));
    }

    /// Wakes whoever waits for the plan to change.
    pub(crate) fn rescheduled(&self) -> Arc<Notify> {
        Arc::clone(&self.rescheduled)
    }

    fn take_off(self: &Arc<Self>, state: &mut State) -> (Flight, watch::Receiver<Progress>) {
        let (progress, receiver) = watch::channel(Progress::Running);
        state.take_off(progress.clone());
        self.republish(state);
        let flight = Flight {
            session: Arc::clone(self),
            seen: state.identity(),
            epoch: state.epoch(),
            progress,
            landed: false,
            _chore: self.chore(),
        };
        (flight, receiver)
    }

    /// Makes the snapshot say what the state does. Every change of the state ends with it.
    fn republish(&self, state: &State) {
        let token = state.held().and_then(|held| held.token.clone());
        let quiet_for = state.quiet_for(self.settings(), self.now(), self.wall());
        let snapshot = token.zip(quiet_for).map(|(token, quiet_for)| {
            let quiet_until = self.shared.clock.coarse() + quiet_for;
            Arc::new(Snapshot::new(token, quiet_until))
        });
        self.snapshot.store(snapshot);
        self.rescheduled.notify_one();
    }

    /// What a pair becomes when it is held. Asks the strategy, so the state must not be locked.
    pub(crate) fn holding(
        &self,
        pair: TokenPair,
        identity: Identity,
        number: u64,
        first: bool,
        sent_at: Timestamp,
    ) -> Held {
        let settings = self.settings();
        let life = pair.lifetime;
        let plan = catch_unwind(AssertUnwindSafe(|| self.shared.strategy.plan(&life))).unwrap_or_else(|_| {
            tracing::error!(key = %self.key, "the refresh strategy panicked; rotating on request instead");
            Plan::on_request(&life)
        });
        let pacing = Pacing {
            leeway: settings.leeway,
            shortest_interval: settings.shortest_interval,
            jitter: settings.jitter * draw(),
        };
        let sent_wall = self.wall().saturating_sub(self.now().since(sent_at));
        Held {
            digest: pair.digest(&self.key),
            schedule: Schedule::new(
                &plan,
                &life,
                pacing,
                pair.refresh.is_some(),
                sent_at,
                sent_wall,
            ),
            token: pair
                .access
                .clone()
                .map(|access| Token::new(access, identity, self.shared.prefix)),
            pair,
            identity,
            number,
            first,
            sent_at,
        }
    }

    /// The record's pair, as it is held.
    fn stored_pair(&self, record: &Record, store_now: StoreTime) -> Option<Held> {
        let stored = record.pair.clone()?;
        let sent_at = self.now().before(store_now.since(stored.issued_at));
        Some(self.holding(
            stored.pair,
            record.identity(),
            record.committed_number,
            stored.first,
            sent_at,
        ))
    }

    /// Takes the record's pair, which another instance rotated or an earlier process stored. Returns
    /// whether it may be taken: what was logged out does not come back, and what was read before the
    /// user did something is no news.
    pub(crate) fn adopt(&self, record: &Record, store_now: StoreTime, epoch: u64) -> bool {
        let Some(held) = self.stored_pair(record, store_now) else {
            return true;
        };
        let identity = held.identity;
        let mut state = self.state.lock();
        let is_newer = look(Some(record), state.held().map(Held::for_look)) == Look::Adopt;
        if state.epoch() != epoch || !is_newer {
            return false;
        }
        state.saw_next_number(record.next_number);
        let held = state.hold(held);
        self.republish(&state);
        drop(state);
        if held {
            tracing::debug!(key = %self.key, version = identity.version, "adopted a stored pair");
            self.send(Event::Adopted { identity });
        }
        held
    }

    /// Takes the seed's pair, from the record it was written into; not if the user has done something
    /// since that was read.
    pub(crate) fn begin_seeded(&self, record: &Record, store_now: StoreTime, epoch: u64) {
        let Some(held) = self.stored_pair(record, store_now) else {
            return;
        };
        let mut state = self.state.lock();
        if state.epoch() == epoch {
            state.saw_next_number(record.next_number);
            state.begin(held);
            self.republish(&state);
        }
    }

    /// Takes the record's pair, which the user gave to this manager having logged out `leaves` times.
    /// Returns whether it may: a logout that he asked for later wins.
    pub(crate) fn begin(
        &self,
        record: &Record,
        store_now: StoreTime,
        leaves: u64,
        news: Option<Event>,
    ) -> bool {
        let held = self.stored_pair(record, store_now);
        let mut state = self.state.lock();
        if state.leaves() != leaves {
            return false;
        }
        let Some(held) = held else {
            return true;
        };
        state.saw_next_number(record.next_number);
        state.begin_anew(held);
        self.republish(&state);
        drop(state);
        if let Some(event) = news {
            self.send(event);
        }
        true
    }

    /// Publishes a pair that this manager was issued. Returns whether it may: not if the user has done
    /// something since its rotation looked.
    pub(crate) fn publish(&self, held: Held, epoch: u64) -> bool {
        let identity = held.identity;
        let mut state = self.state.lock();
        if state.epoch() != epoch {
            return false;
        }
        let stalled = state
            .held()
            .is_some_and(|old| brought_nothing(old, &held, self.now()));
        let stalls = state.stalls();
        if !state.hold(held) {
            return false;
        }
        state.issued(self.now());
        let expired = state.usable(self.now()).is_none();
        if stalled || expired {
            state.stall(stalls, self.settings(), self.now());
        }
        self.republish(&state);
        drop(state);
        tracing::info!(key = %self.key, version = identity.version, "rotated");
        self.send(Event::Rotated { identity });
        true
    }

    /// A pair is served, or kept, that could not be stored yet.
    pub(crate) fn unpersisted(&self, error: &StoreError) {
        self.send(Event::Unpersisted {
            error: error.clone(),
        });
    }

    /// The user logs out: from here on nobody gets a token of this session.
    pub(crate) fn leave(&self) -> Leaving {
        let mut state = self.state.lock();
        let leaving = state.leave();
        self.end_locked(state, EndReason::LoggedOut);
        leaving
    }

    /// The logout is stored in this record.
    pub(crate) fn left(&self, record: Option<&Record>) {
        if let Some(record) = record {
            self.state.lock().left(record.lineage);
        }
    }

    /// The session cannot be prolonged, by a record that was read in this epoch; `None` if the user has
    /// done something since.
    pub(crate) fn end_seen(&self, reason: EndReason, epoch: u64) -> Option<Error> {
        let state = self.state.lock();
        (state.epoch() == epoch).then(|| self.end_locked(state, reason))
    }

    /// The session cannot be prolonged; told once.
    fn end_locked(&self, mut state: MutexGuard<'_, State>, reason: EndReason) -> Error {
        let news = state.set_end(reason.clone());
        self.republish(&state);
        drop(state);
        if news {
            tracing::warn!(key = %self.key, %reason, "the session has ended");
            self.send(Event::Ended {
                reason: reason.clone(),
            });
        }
        Error::ended(reason)
    }

    pub(crate) fn reject(self: &Arc<Self>, identity: Identity) -> (Rejection, Option<Flight>) {
        let now = self.now();
        let mut state = self.state.lock();
        let rejection = state.reject(identity, self.settings(), now);
        let mut start = None;
        let may_start = state.flight().is_none() && !state.cooling(now) && !state.is_closed();
        if rejection == Rejection::Rotating && may_start {
            let (flight, _) = self.take_off(&mut state);
            start = Some(flight);
        }
        self.republish(&state);
        (rejection, start)
    }

    /// An API accepted the token.
    pub(crate) fn accept(&self, token: &Token) {
        if !token.accepted() {
            token.accept();
            self.state.lock().accept(token.identity());
        }
    }

    /// How long a caller waits for a newer token who could go on with the one that is held.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let now = self.now();
        let state = self.state.lock();
        state.usable(now)?;
        state.held().map(|held| held.schedule.patience(now))
    }

    /// The token held, as long as it may be served.
    pub(crate) fn usable(&self) -> Option<Token> {
        self.state.lock().usable(self.now()).cloned()
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.close();
        self.republish(&state);
        drop(state);
        self.abandon();
    }

    /// Nobody is left who could wait for this session.
    pub(crate) fn abandon(&self) {
        self.closing.send_replace(true);
        self.rescheduled.notify_one();
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Returns when the session is closing.
    pub(crate) async fn closing(&self) {
        // The sender lives in `self`, so there is no error to wait for.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Waits for what the user did before to be stored, which is no rotation.
    pub(crate) async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.lock().await
    }

    /// Something begins that a shutdown waits for.
    pub(crate) fn chore(self: &Arc<Self>) -> Chore {
        self.chores.send_modify(|chores| *chores += 1);
        Chore(Arc::clone(self))
    }

    pub(crate) async fn chores_done(&self) {
        // The sender lives in `self`, so there is no error to wait for.
        let _ = self
            .chores
            .subscribe()
            .wait_for(|chores| *chores == 0)
            .await;
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.now();
        let state = self.state.lock();
        let held = state.held();
        let schedule = held.map(|held| &held.schedule);
        let left = |end: Option<Timestamp>| end.map(|end| end.since(now));
        Status {
            identity: held.map(|held| held.identity),
            end: state.end().cloned(),
            access_expires_in: left(schedule.and_then(|schedule| schedule.expires_at)),
            refresh_expires_in: left(schedule.and_then(|schedule| schedule.refresh_expires_at)),
            is_rotating: state.flight().is_some(),
            is_unpersisted: state.is_unstored(),
            failure: state.failure(now),
        }
    }

    /// The pair held, as it is stored: its times become the store's.
    pub(crate) fn stored(&self, held: &Held, store_now: StoreTime) -> StoredPair {
        StoredPair {
            issued_at: store_now.before(self.now().since(held.sent_at)),
            first: held.first,
            pair: held.pair.clone(),
        }
    }
}

/// Something besides rotations that a shutdown waits for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Chore(Arc<Session>);

impl Drop for Chore {
    fn drop(&mut self) {
        self.0.chores.send_modify(|chores| *chores -= 1);
    }
}

/// What the user does with each new pair.
pub(crate) struct OnRotated(Box<dyn Fn(TokenPair) -> Saving + Send + Sync>);

type Saving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl OnRotated {
    pub(crate) fn new<F>(callback: impl Fn(TokenPair) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |pair| Box::pin(callback(pair))))
    }

    pub(crate) fn call(&self, pair: TokenPair) -> Saving {
        (self.0)(pair)
    }
}

impl fmt::Debug for OnRotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRotated")
    }
}

/// A rotation under way. Whatever becomes of its task, everybody who waits gets an answer.
#[derive(Debug)]
pub(crate) struct Flight {
    session: Arc<Session>,
    /// The pair that was held when it began: a newer one is wanted.
    seen: Option<Identity>,
    /// What the user had done when it began: if he does more, it answers nobody.
    epoch: u64,
    progress: watch::Sender<Progress>,
    landed: bool,
    _chore: Chore,
}

impl Flight {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn seen(&self) -> Option<Identity> {
        self.seen
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
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
        let mut state = session.state.lock();
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

/// Whether the server issued the token again that was held and still valid.
fn brought_nothing(old: &Held, new: &Held, now: Timestamp) -> bool {
    old.pair.access == new.pair.access && old.schedule.expires_at.is_none_or(|end| now < end)
}

/// A random share, 0 to 1. Without randomness there is no jitter.
fn draw() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    crate::token::random().map_or(0.0, |bits| {
        ((bits >> 75) as u64) as f64 / (1_u64 << 53) as f64
    })
}
