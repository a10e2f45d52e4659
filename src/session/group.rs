//! The sessions of many keys over one [`Shared`]: which of them are in memory, and when one leaves it.
//!
//! A session is in memory for as long as something holds it: a manager, a rotation, work that a shutdown waits for, or a task
//! that keeps it for what the store does not report. The map of them holds none. So a key that is asked for again gets the
//! session that is still at work, and a key whose session is gone has nothing at work: two sessions of one key are never under
//! way in a process. With the session goes its entry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{Policies, Session, SessionPolicy, Shared};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::Event;
use crate::settings::Coordination;
use crate::state::Seed;
use crate::token::{Digest, Key};

/// How many events a slow subscriber of all sessions may fall behind by.
const EVENTS_KEPT: usize = 1_024;

/// A map with fewer places than this is not made smaller.
const LEAST_PLACES: usize = 64;

/// The sessions of many keys. The last manager of them, or the last handle of the program if that is dropped later, ends what
/// is still under way, as the last clone of a manager does.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) shared: Arc<Shared>,
    /// The endpoint's own key.
    pub(crate) key: Key,
    pub(crate) policies: Policies,
    live: Arc<Live>,
    /// The first pair of the session under the endpoint's own key.
    seed: Option<Arc<Seed>>,
    /// The first failure that a shutdown reported. The session that had it may have left the memory since.
    failed: OnceLock<Error>,
}

impl Group {
    /// The sessions over `shared`, which has `live` too.
    pub(crate) fn new(
        shared: Arc<Shared>,
        live: Arc<Live>,
        key: Key,
        seed: Option<Arc<Seed>>,
        policies: Policies,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            key,
            policies,
            live,
            seed,
            failed: OnceLock::new(),
        })
    }

    /// The session of this key: the one that is in memory, or a new one.
    pub(crate) fn session(
        &self,
        key: Key,
        signs_in: bool,
        policy: Option<&Arc<SessionPolicy>>,
    ) -> Arc<Session> {
        let name = key.digest();
        if let Some(session) = self.live.find(&name) {
            if !session.is_over() {
                return session;
            }
            // A manager was shut down. The next one continues its session.
            self.live.remove(&name, &session);
        }
        // An answered seed does not count again: it would undo a logout in this process.
        let counts = |seed: &&Arc<Seed>| key == self.key && !seed.is_answered();
        let seed = self.seed.as_ref().filter(counts).cloned();
        // The endpoint, which is user code, is asked here, so the map must not be locked.
        let policy = policy.cloned();
        let new = Session::new(Arc::clone(&self.shared), key, seed, signs_in, policy);
        let (session, is_closed) = self.live.find_or_insert(name, new);
        if is_closed {
            session.close();
        }
        session
    }

    /// From here on, every session that is made is closed. Returns those that are in memory.
    pub(crate) fn close(&self) -> Vec<Arc<Session>> {
        self.live.sessions.lock().is_closed = true;
        self.live.all()
    }

    /// The outcome of a shutdown. What an earlier one reported as not stored, a later one reports again.
    pub(crate) fn outcome(&self, shut_down: Result<(), Error>) -> Result<(), Error> {
        match shut_down {
            Err(error @ Error::Store { .. }) => Err(self.failed.get_or_init(|| error).clone()),
            Ok(()) => self.failed.get().map_or(Ok(()), |first| Err(first.clone())),
            other => other,
        }
    }

    /// The keys of those sessions in memory for which `is_it`.
    pub(crate) fn keys_of(&self, is_it: impl Fn(&Session) -> bool) -> Vec<Key> {
        let sessions = self.live.all();
        let found = sessions.iter().filter(|session| is_it(session));
        found.map(|session| session.key.clone()).collect()
    }

    /// How many sessions are in memory.
    pub(crate) fn count(&self) -> usize {
        self.live.sessions.lock().by_name.len()
    }

    /// The events of all sessions from now on, each with its key.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<(Arc<Key>, Event)> {
        let events = &self.live.events;
        let events = events.get_or_init(|| broadcast::Sender::new(EVENTS_KEPT));
        let receiver = events.subscribe();
        // The ends of the sessions may have to be reported to the new subscriber.
        for session in self.live.all() {
            let moment = session.moment();
            session.plan(&session.lock(), moment);
        }
        receiver
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for session in self.live.all() {
            session.abandon();
        }
    }
}

/// The sessions that are in memory, and the subscribers to all of them.
#[derive(Debug, Default)]
pub(crate) struct Live {
    sessions: Mutex<Sessions>,
    /// The channel is made for the first subscriber.
    events: OnceLock<broadcast::Sender<(Arc<Key>, Event)>>,
}

/// No session is dropped while this is locked, because a session that goes locks it.
#[derive(Debug, Default)]
struct Sessions {
    by_name: HashMap<Digest, Weak<Session>>,
    is_closed: bool,
}

impl Live {
    fn find(&self, name: &Digest) -> Option<Arc<Session>> {
        self.sessions.lock().by_name.get(name)?.upgrade()
    }

    /// The session in memory, or `new` in its place; and whether all sessions are closed. A closed group takes no new session:
    /// a caller that found it before it is closed could begin a rotation for which no shutdown waits.
    fn find_or_insert(&self, name: Digest, new: Arc<Session>) -> (Arc<Session>, bool) {
        let mut sessions = self.sessions.lock();
        let is_closed = sessions.is_closed;
        let known = sessions.by_name.get(&name).and_then(Weak::upgrade);
        if known.is_none() && !is_closed {
            sessions.by_name.insert(name, Arc::downgrade(&new));
        }
        drop(sessions);
        (known.unwrap_or(new), is_closed)
    }

    fn all(&self) -> Vec<Arc<Session>> {
        let sessions = self.sessions.lock();
        let all = sessions.by_name.values();
        all.filter_map(Weak::upgrade).collect()
    }

    /// Removes this session, unless another one has taken its place.
    fn remove(&self, name: &Digest, session: &Session) {
        let Sessions { by_name, .. } = &mut *self.sessions.lock();
        let is_this = |known: &Weak<Session>| std::ptr::eq(known.as_ptr(), session);
        if by_name.get(name).is_some_and(is_this) {
            by_name.remove(name);
            let places = by_name.capacity();
            if places > LEAST_PLACES && by_name.len() < places / 4 {
                by_name.shrink_to(places / 2);
            }
        }
    }

    pub(super) fn send(&self, key: &Key, event: &Event) {
        if self.has_subscribers()
            && let Some(events) = self.events.get()
        {
            // A send fails where no subscriber is left.
            let _ = events.send((Arc::new(key.clone()), event.clone()));
        }
    }

    pub(super) fn has_subscribers(&self) -> bool {
        let events = self.events.get();
        events.is_some_and(|events| events.receiver_count() > 0)
    }
}

/// How many managers a session has, and whether a task keeps it without one.
#[derive(Debug, Default)]
pub(super) struct Use {
    managers: AtomicU32,
    /// 0 if no task keeps the session; otherwise it counts how often there was a reason to.
    reasons: AtomicU32,
}

impl Session {
    /// Whether a manager has this session.
    pub(crate) fn is_used(&self) -> bool {
        self.managers.managers.load(Ordering::SeqCst) > 0
    }

    /// A manager takes this session. It may have been without one, and without a timer, for a while.
    pub(crate) fn entered(&self) {
        let before = self.managers.managers.fetch_add(1, Ordering::SeqCst);
        if before > 0 {
            return;
        }
        // A session that was without a manager may hold a pair for which nothing was planned yet. A new one has nothing to plan.
        if self.seat.get().is_some() || self.lock().held().is_some() {
            let moment = self.moment();
            self.plan(&self.lock(), moment);
        }
    }

    /// A manager of this session is gone.
    pub(crate) fn left(self: &Arc<Self>) {
        let before = self.managers.managers.fetch_sub(1, Ordering::SeqCst);
        if before > 1 {
            return;
        }
        if self.shared.live.is_none() {
            self.abandon();
            return;
        }
        self.rest();
        // A destructor must not call user code.
        self.keep_if_needed(self.shared.clock.last().now);
    }

    /// Keeps a session without a manager for a while if it knows what the store does not report: another one that is loaded in
    /// its place would wait for its leases, and would send again what an API or a server has just refused.
    pub(super) fn keep_if_needed(self: &Arc<Self>, now: Timestamp) {
        if self.shared.live.is_none() || self.is_used() || !self.lock().is_not_stored(now) {
            return;
        }
        let reasons = &self.managers.reasons;
        if reasons.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let session = Arc::clone(self);
        self.shared.runtime.spawn(async move {
            let reasons = &session.managers.reasons;
            loop {
                let seen = reasons.load(Ordering::SeqCst);
                let span = session.kept_for();
                tokio::select! {
                    () = tokio::time::sleep(span) => {}
                    () = session.closing() => return,
                }
                let last = reasons.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst);
                if last.is_ok() {
                    return;
                }
            }
        });
    }

    /// For how long a session without a manager is kept. A pause that a server asked for may be longer than the usual ones; with
    /// leases, the record has it.
    fn kept_for(&self) -> Duration {
        let settings = self.settings();
        let usual = settings.lease_duration.max(settings.cool_down.longest);
        if settings.coordination == Coordination::Lease {
            return usual;
        }
        let now = self.now();
        let pause = self.lock().pause(now).map(|failure| failure.pause);
        usual.max(pause.unwrap_or_default())
    }
}

/// The entry of a session goes with it.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(live) = &self.shared.live {
            live.remove(&self.key.digest(), self);
        }
    }
}
