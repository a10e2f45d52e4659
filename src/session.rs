//! One session of a manager: its locked state, the snapshot for readers, and the moments at which the snapshot is made from
//! the state. A session starts no task and waits for nothing.
//!
//! - [`pairs`]: how a pair comes to be held
//! - [`ending`]: how a session ends
//! - [`flight`]: a rotation in flight, and the answer for its waiters
//! - [`presented`]: a pair that a browser presents, compared with the one that is held
//! - [`policy`]: what holds for the sessions of one kind of client
//! - [`gate`]: the places at the token endpoint, and which rotation gets the next one
//! - [`outbox`]: a record as this process saw it last, and a pair that callers have before it is stored
//! - [`group`]: the sessions of many keys that are in memory, and when one of them leaves it

mod ending;
mod flight;
mod gate;
mod group;
mod outbox;
mod pairs;
mod policy;
mod presented;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

pub(crate) use self::ending::Chore;
use self::ending::Closing;
pub(crate) use self::flight::Flight;
pub(crate) use self::gate::{Gate, Place, Urgency};
use self::group::Use;
pub(crate) use self::group::{Group, Live};
use self::outbox::{LastWritten, Outbox};
pub(crate) use self::outbox::{Seen, StoreClock, Unstored};
pub(crate) use self::pairs::{OnRotated, draw};
pub use self::policy::SessionPolicy;
pub(crate) use self::policy::{Policies, is_name};
pub(crate) use self::presented::{Brought, Copy, NOTES_IN_IDLE};
use crate::api::Api;
use crate::clock::{Clock, Coarse, SystemClock, Timestamp};
use crate::error::Error;
use crate::event::{Event, Status};
use crate::record::lease::Owner;
use crate::settings::Settings;
use crate::snapshot::{Copies, Token};
use crate::state::{Decided, Decision, Notice, Rejection, Room, Seed, State, Waiter};
use crate::timer::{Seat, Timer};
use crate::token::{Key, PairId};
use crate::user_code::{Moment, UserClock, UserEndpoint, UserStore, UserStrategy};

/// How many events a slow subscriber may fall behind by. A rotation has a few events.
const EVENTS_KEPT: usize = 256;

/// For how many of the longest pauses a redirect that loses tokens is remembered: ten minutes. The session forgets it sooner
/// where a token comes through. Remembered for good, the redirect would hide that a token which replaced a rejected one has
/// died as well.
const BEHIND_REDIRECT: u32 = 10;

/// What the sessions of one builder share: all that is not of one key.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endpoint: UserEndpoint,
    pub(crate) store: UserStore,
    pub(crate) strategy: UserStrategy,
    pub(crate) clock: Arc<UserClock>,
    pub(crate) settings: Arc<Settings>,
    /// The text before the token in its header (`Bearer `).
    pub(crate) prefix: String,
    pub(crate) on_rotated: Option<OnRotated>,
    pub(crate) api: Arc<Api>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// The owner of every lease of these sessions. A lease names a key's token, so sessions of different keys never share one.
    pub(crate) owner: Owner,
    /// The sessions in memory, where there may be many; `None` for the session of a manager that was built alone.
    pub(crate) live: Option<Arc<Live>>,
    /// The places at the token endpoint, where there may be many sessions. A manager that was built alone has one rotation.
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) timer: OnceLock<Arc<Timer>>,
}

impl Shared {
    /// One timer for all sessions, also on a clock of the user's.
    pub(crate) fn timer(&self) -> &Arc<Timer> {
        self.timer
            .get_or_init(|| Timer::of(&self.runtime, &self.clock))
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    /// Whether the endpoint's own sign-in may begin this session. A session that a user's sign-in began has that way alone.
    signs_in: bool,
    /// What holds for this session in place of what is shared.
    policy: Option<Arc<SessionPolicy>>,
    managers: Use,
    state: Mutex<State>,
    snapshot: ArcSwapOption<Copies>,
    /// Whether the clock is the system's. The hot path reads that one without a dynamic call.
    on_system_clock: bool,
    /// The channel is made for the first subscriber.
    events: OnceLock<broadcast::Sender<Event>>,
    /// The session's entry at the runtime's timer, from the first planned moment on.
    pub(crate) seat: OnceLock<Seat>,
    this: Weak<Session>,
    closing: Closing,
    /// Logouts and sign-ins of the user are stored one after the other.
    order: OnceLock<Box<tokio::sync::Mutex<()>>>,
    /// The pair that callers have before it is stored.
    pub(crate) outbox: Outbox,
    last_written: LastWritten,
}

/// What a session has to do at a planned moment.
#[derive(Debug)]
pub(crate) enum Wake {
    Rotate(Flight),
    /// Notify subscribers, and then call [`Session::notified`].
    Notify(Notice),
    /// Nothing before the next planned moment.
    Sleep,
}

/// The answer for a caller, once a rotation that it needs has begun.
#[derive(Debug)]
pub(crate) enum Answer {
    Serve(Token),
    /// The caller waits; for this long at most if it could go on with the token that is held.
    Join(Waiter, Option<Duration>),
    Fail(Error),
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: Key,
        seed: Option<Arc<Seed>>,
        signs_in: bool,
        policy: Option<Arc<SessionPolicy>>,
    ) -> Arc<Self> {
        let can_sign_in = signs_in && shared.endpoint.can_sign_in();
        Arc::new_cyclic(|this| Self {
            on_system_clock: shared.clock.is_system(),
            shared,
            key,
            signs_in,
            policy,
            managers: Use::default(),
            state: Mutex::new(State::new(seed, can_sign_in)),
            snapshot: ArcSwapOption::empty(),
            events: OnceLock::new(),
            seat: OnceLock::new(),
            this: Weak::clone(this),
            closing: Closing::default(),
            order: OnceLock::new(),
            outbox: Outbox::default(),
            last_written: LastWritten::default(),
        })
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

    /// Whether the endpoint can sign in to this session now.
    pub(crate) fn can_sign_in(&self) -> bool {
        self.signs_in && self.shared.endpoint.can_sign_in()
    }

    /// Whether only a user's sign-in begins this session, under a random id.
    pub(crate) fn is_of_a_sign_in(&self) -> bool {
        !self.signs_in
    }

    fn send(&self, event: Event) {
        if let Some(live) = &self.shared.live {
            live.send(&self.key, &event);
        }
        if let Some(events) = self.events.get() {
            // A send fails where no subscriber is left.
            let _ = events.send(event);
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        let events = self
            .events
            .get_or_init(|| broadcast::Sender::new(EVENTS_KEPT));
        let receiver = events.subscribe();
        // The session's end may have to be reported to the new subscriber.
        let moment = self.moment();
        self.plan(&self.lock(), moment);
        receiver
    }

    fn has_subscribers(&self) -> bool {
        let events = self.events.get();
        events.is_some_and(|events| events.receiver_count() > 0)
            || (self.shared.live.as_ref()).is_some_and(|live| live.has_subscribers())
    }

    /// What readers see. Reading it neither waits, locks nor allocates.
    #[inline]
    pub(crate) fn snapshot(&self) -> Guard<Option<Arc<Copies>>> {
        self.snapshot.load()
    }

    /// The snapshot, if it is quiet: until a moment that it holds, every caller is served this token and no rotation begins.
    #[inline]
    pub(crate) fn quiet<'a>(&self, snapshot: &'a Option<Arc<Copies>>) -> Option<&'a Copies> {
        let snapshot = snapshot.as_deref()?;
        let now = if self.on_system_clock {
            SystemClock.coarse()
        } else {
            self.shared.clock.coarse()
        };
        snapshot.is_quiet(now).then_some(snapshot)
    }

    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.state.is_locked()
    }

    /// Locks the state. The holder of the lock calls no user code: the clock and the endpoint are asked before.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.shared.clock.moment()
    }

    /// Locks the state, with the time, and with whether the endpoint can sign in now: it may have used up its credentials.
    fn lock_asking(&self) -> (MutexGuard<'_, State>, Moment) {
        let can_sign_in = self.can_sign_in();
        let moment = self.moment();
        let mut state = self.lock();
        state.can_sign_in = can_sign_in;
        (state, moment)
    }

    /// Decides for a caller. The caller of this function starts the flight that comes with the answer.
    pub(crate) fn decide(self: &Arc<Self>) -> (Answer, Option<Flight>) {
        let (mut state, moment) = self.lock_asking();
        let Decided { decision, begins } = state.decide(self.settings(), moment);
        let begun = begins.then(|| self.begin_flight(&mut state, moment));
        let (flight, waiter) = begun.unzip();
        let answer = match decision {
            Decision::Serve(token) => {
                if flight.is_none() {
                    self.republish(&state, moment);
                }
                Answer::Serve(token)
            }
            Decision::Wait => match waiter.or_else(|| state.flight()) {
                Some(waiter) => Answer::Join(waiter, state.longest_wait(self.settings(), moment)),
                None => Answer::Fail(Error::Pending),
            },
            Decision::Fail(error) => Answer::Fail(error),
        };
        (answer, flight)
    }

    /// Decides for a caller that wants a newer pair than `seen`, whatever the plan says.
    pub(crate) fn renew(self: &Arc<Self>, seen: Option<PairId>) -> (Answer, Option<Flight>) {
        let moment = self.moment();
        let mut state = self.lock();
        if let Some(waiter) = state.flight() {
            return (Answer::Join(waiter, None), None);
        }
        if state.pair_id() != seen {
            drop(state);
            return self.decide();
        }
        if let Some(error) = state.obstacle(moment.now) {
            return (Answer::Fail(error), None);
        }
        let (flight, waiter) = self.begin_flight(&mut state, moment);
        (Answer::Join(waiter, None), Some(flight))
    }

    /// What the session has to do at a planned moment that has come.
    pub(crate) fn wake(self: &Arc<Self>) -> Wake {
        let (mut state, moment) = self.lock_asking();
        let now = moment.now;
        let rotate_at = state.wake_at(moment);
        let notice = self.next_notice(&state);
        if rotate_at.is_some_and(|at| at <= now) {
            return Wake::Rotate(self.begin_flight(&mut state, moment).0);
        }
        if let Some((at, notice)) = notice
            && at <= now
        {
            if notice == Notice::Over && state.flight().is_none() {
                return Wake::Rotate(self.begin_flight(&mut state, moment).0);
            }
            state.is_reporting = true;
            return Wake::Notify(notice);
        }
        self.plan(&state, moment);
        Wake::Sleep
    }

    /// Subscribers were notified of the session's end.
    pub(crate) fn notified(&self) {
        let moment = self.moment();
        let mut state = self.lock();
        state.is_reporting = false;
        self.plan(&state, moment);
    }

    /// The next notice of the session's end and its moment, if there is a subscriber.
    fn next_notice(&self, state: &State) -> Option<(Timestamp, Notice)> {
        let notice = state.next_notice(self.settings());
        notice.filter(|_| self.has_subscribers())
    }

    /// Has the timer wake the session at the next moment at which there is something to do.
    fn plan(&self, state: &State, moment: Moment) {
        let rotate_at = state.wake_at(moment);
        let notice_at = self.next_notice(state).map(|(at, _)| at);
        let at = rotate_at.into_iter().chain(notice_at).min();
        if at.is_some_and(|_| self.is_used() && !self.is_closing()) {
            let timer = || Seat::new(Arc::clone(self.shared.timer()));
            let seat = self.seat.get_or_init(timer);
            let poll_interval = self.settings().poll_interval;
            seat.plan(|| Weak::<Self>::clone(&self.this), at, poll_interval);
        } else {
            self.unplan();
        }
    }

    fn unplan(&self) {
        if let Some(seat) = self.seat.get() {
            seat.plan(|| Weak::<Self>::clone(&self.this), None, Duration::MAX);
        }
    }

    fn begin_flight(self: &Arc<Self>, state: &mut State, moment: Moment) -> (Flight, Waiter) {
        let room = Room::new(state.pair_id());
        let waiter = Waiter::new(&room);
        state.begin_flight(Arc::clone(&room), moment.now);
        self.republish(state, moment);
        let flight = Flight::new(self, state, room, moment.now);
        (flight, waiter)
    }

    /// Makes the snapshot from the state. Every change of the state ends with this call.
    fn republish(&self, state: &State, moment: Moment) {
        let copies = state.held().and_then(|held| held.served.as_ref());
        let quiet_for = state.quiet_for(self.settings(), moment);
        if let Some(copies) = copies {
            let quiet_until = quiet_for.map_or(Coarse::PAST, |quiet_for| moment.coarse + quiet_for);
            copies.set_quiet_until(quiet_until);
        }
        // Most changes of the state leave the token as it is.
        let is_new = self.snapshot.load().as_ref().map(Arc::as_ptr) != copies.map(Arc::as_ptr);
        if is_new {
            self.snapshot.store(copies.cloned());
        }
        self.plan(state, moment);
    }

    pub(crate) fn reject(self: &Arc<Self>, pair_id: PairId) -> (Rejection, Option<Flight>) {
        let (mut state, moment) = self.lock_asking();
        let now = moment.now;
        let rejection = state.reject(pair_id, self.settings(), now);
        let begins = rejection == Rejection::Rotating
            && state.flight().is_none()
            && !state.cooling(now)
            && !state.is_closed;
        let flight = begins.then(|| self.begin_flight(&mut state, moment).0);
        self.republish(&state, moment);
        drop(state);
        self.became_unusable();
        (rejection, flight)
    }

    /// An API accepted the token.
    pub(crate) fn accept(&self, token: &Token) {
        // It reads first: a write for every response would have all threads contend for the cache line.
        if !token.accepted() {
            token.accept();
            self.lock().accept(token.pair_id());
        }
    }

    /// See [`State::counts_behind_redirect`].
    pub(crate) fn counts_behind_redirect(&self, token: &Token) -> bool {
        let now = self.now();
        let longest = self.settings().cool_down.longest;
        let while_marked = longest.saturating_mul(BEHIND_REDIRECT);
        let mut state = self.lock();
        state.counts_behind_redirect(token.pair_id(), now, while_marked)
    }

    /// See [`State::rejected_behind_redirect`].
    pub(crate) fn rejected_behind_redirect(&self, token: &Token) {
        let now = self.now();
        let mut state = self.lock();
        state.rejected_behind_redirect(token.pair_id(), now);
    }

    /// The token that is held, as long as it may be served.
    pub(crate) fn usable(&self) -> Option<Token> {
        let now = self.now();
        self.lock().usable(now).cloned()
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.now();
        let state = self.lock();
        let held = state.held();
        let schedule = held.map(|held| &held.schedule);
        let left = |end: Option<Timestamp>| end.map(|end| end.since(now));
        Status {
            pair_id: held.map(|held| held.pair_id),
            end: state.end_by(now),
            access_expires_in: held
                .filter(|held| held.served.is_some())
                .and_then(|held| left(held.schedule.expires_at)),
            refresh_expires_in: left(schedule.and_then(|schedule| schedule.refresh_expires_at)),
            is_rotating: state.flight().is_some() && !state.is_pausing(),
            is_unpersisted: state.is_unstored() || self.outbox.has_unstored(),
            rotations: state.rotations,
            store_failures: state.store_failures,
            failure: state.failure(now),
        }
    }
}
