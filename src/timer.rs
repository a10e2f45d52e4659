//! One timer for all sessions of a runtime: a session that waits for a moment has an entry here, and not a task of its own,
//! so that ten thousand idle sessions cost one task.
//!
//! The timer's task runs as long as there is an entry. The timer does not know what a session does when it is woken, and
//! never waits for anything but time, so that one session does not delay another.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::user_code::UserClock;

/// The pause after a panic, because the cause would mostly make the next wake-up panic at once.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// How far the wall clock may run ahead of the monotonic clock before all sessions are asked for their moments again:
/// a session's moment may then be earlier by as much.
const WALL_TOLERANCE: Duration = Duration::from_millis(100);

/// How many sessions are woken in a row before the task yields to other tasks.
const BATCH: usize = 64;

/// A session as the timer sees it: the timer wakes it at the moment that it asked for.
pub(crate) trait Sleeper: Send + Sync {
    /// The moment has come, or the clocks have moved. The session asks for its next moment before this returns, and
    /// does not block.
    fn wake_up(self: Arc<Self>);

    /// Its place at the timer, once it has one.
    fn seat(&self) -> Option<&Seat>;
}

/// A session's place at its timer.
#[derive(Debug)]
pub(crate) struct Seat {
    timer: Arc<Timer>,
    number: u64,
    /// The moment of its entry, in nanoseconds; [`NEVER`] if it has no entry. It is written only while the agenda is
    /// locked.
    at: AtomicI64,
}

const NEVER: i64 = i64::MAX;

/// Wakes the sessions of one runtime that share one clock.
#[derive(Debug)]
pub(crate) struct Timer {
    runtime: Handle,
    clock: Arc<UserClock>,
    seats: AtomicU64,
    agenda: Mutex<Agenda>,
    /// Notified when an entry is added that is earlier than all others.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Agenda {
    entries: BTreeMap<(Timestamp, u64), Weak<dyn Sleeper>>,
    /// The shortest poll interval that a session has asked for since the agenda was last empty.
    poll_interval: Option<Duration>,
    is_running: bool,
}

impl Timer {
    /// The timer of this runtime. Sessions on the system's clock share one; each session on a clock of the user's has
    /// its own.
    pub(crate) fn of(runtime: &Handle, clock: &Arc<UserClock>) -> Arc<Self> {
        static SHARED: Mutex<Vec<(Id, Weak<Timer>)>> = Mutex::new(Vec::new());
        let new = || {
            Arc::new(Self {
                runtime: runtime.clone(),
                clock: Arc::clone(clock),
                seats: AtomicU64::new(0),
                agenda: Mutex::default(),
                sooner: Notify::new(),
            })
        };
        if !clock.is_system() {
            return new();
        }
        let mut shared = SHARED.lock();
        shared.retain(|(_, timer)| timer.strong_count() > 0);
        let of_this = shared.iter().find(|(id, _)| *id == runtime.id());
        if let Some(timer) = of_this.and_then(|(_, timer)| timer.upgrade()) {
            return timer;
        }
        let timer = new();
        shared.push((runtime.id(), Arc::downgrade(&timer)));
        timer
    }

    fn run_if_needed(self: &Arc<Self>) {
        let starts = {
            let mut agenda = self.agenda.lock();
            let starts = !agenda.is_running && !agenda.entries.is_empty();
            agenda.is_running |= starts;
            starts
        };
        if starts {
            // The task is spawned with the agenda unlocked: a runtime that has shut down drops the task at once, and
            // the drop locks the agenda.
            self.runtime.spawn(run(Running(Some(Arc::clone(self)))));
        }
    }

    fn step(&self, ahead: &mut i128) -> Step {
        let ahead_now = ahead_of(&self.clock);
        if ahead_now > ahead.saturating_add(nanos(WALL_TOLERANCE)) {
            *ahead = ahead_now;
            self.all().into_iter().for_each(wake);
        }
        *ahead = ahead_now.min(*ahead);
        let now = self.clock.now();
        let due = self.due(now);
        if !due.is_empty() {
            due.into_iter().for_each(wake);
            return Step::Yield;
        }
        let mut agenda = self.agenda.lock();
        let Some(((at, _), _)) = agenda.entries.first_key_value() else {
            // The flag is cleared under the same lock as the check, so that an entry that comes later starts the task
            // again.
            agenda.is_running = false;
            agenda.poll_interval = None;
            return Step::Idle;
        };
        let left = at.since(now);
        let poll_interval = agenda.poll_interval.unwrap_or(Duration::MAX);
        Step::Sleep(left.min(poll_interval))
    }

    /// Removes and returns entries that are due by now, at most [`BATCH`] of them.
    fn due(&self, now: Timestamp) -> Vec<Arc<dyn Sleeper>> {
        let mut agenda = self.agenda.lock();
        let mut due = Vec::new();
        while due.len() < BATCH
            && let Some(first) = agenda.entries.first_entry()
            && first.key().0 <= now
        {
            if let Some(sleeper) = first.remove().upgrade() {
                if let Some(seat) = sleeper.seat() {
                    seat.store(None);
                }
                due.push(sleeper);
            }
        }
        due
    }

    /// All sessions that have an entry.
    fn all(&self) -> Vec<Arc<dyn Sleeper>> {
        let agenda = self.agenda.lock();
        agenda.entries.values().filter_map(Weak::upgrade).collect()
    }
}

/// What the timer's task does next.
enum Step {
    Yield,
    Sleep(Duration),
    Idle,
}

impl Seat {
    pub(crate) fn new(timer: Arc<Timer>) -> Self {
        let number = timer.seats.fetch_add(1, Ordering::Relaxed);
        Self {
            timer,
            number,
            at: AtomicI64::new(NEVER),
        }
    }

    /// Notes the moment of the entry and returns the former one. The caller holds the lock of the agenda.
    fn store(&self, at: Option<Timestamp>) -> Option<Timestamp> {
        let at = at.map_or(NEVER, Timestamp::as_nanos);
        let before = self.at.swap(at, Ordering::Relaxed);
        (before != NEVER).then_some(Timestamp::from_nanos(before))
    }

    /// Plans a wake-up of the `sleeper` at this place, instead of the planned one; `None` for no wake-up. Until then
    /// the task compares the clocks every `poll_interval`, because a timer of tokio's stands still while the machine
    /// sleeps.
    pub(crate) fn plan(
        &self,
        sleeper: impl FnOnce() -> Weak<dyn Sleeper>,
        at: Option<Timestamp>,
        poll_interval: Duration,
    ) {
        if self.at.load(Ordering::Relaxed) == at.map_or(NEVER, Timestamp::as_nanos) {
            return;
        }
        let mut agenda = self.timer.agenda.lock();
        if let Some(before) = self.store(at) {
            agenda.entries.remove(&(before, self.number));
        }
        if let Some(at) = at {
            agenda.entries.insert((at, self.number), sleeper());
            let before = agenda.poll_interval.unwrap_or(Duration::MAX);
            agenda.poll_interval = Some(before.min(poll_interval));
        }
        let first = agenda.entries.first_key_value().map(|(key, _)| *key);
        drop(agenda);
        // The task would now sleep for too long, or without an entry.
        if first.is_none_or(|first| Some(first) == at.map(|at| (at, self.number))) {
            self.timer.sooner.notify_one();
        }
        self.timer.run_if_needed();
    }
}

/// Held by the timer's task and dropped with it, also by a runtime that shuts down before the task has run.
struct Running(Option<Arc<Timer>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(timer) = self.0.take() {
            timer.agenda.lock().is_running = false;
        }
    }
}

async fn run(mut running: Running) {
    let Some(timer) = running.0.clone() else {
        return;
    };
    let mut ahead = ahead_of(&timer.clock);
    loop {
        match timer.step(&mut ahead) {
            Step::Yield => tokio::task::yield_now().await,
            Step::Sleep(left) => {
                let _ = tokio::time::timeout(left, timer.sooner.notified()).await;
            }
            Step::Idle => {
                // Another task may already be running, so this drop must not clear the flag.
                running.0 = None;
                return;
            }
        }
    }
}

fn wake(sleeper: Arc<dyn Sleeper>) {
    let again = Arc::clone(&sleeper);
    if catch_unwind(AssertUnwindSafe(|| sleeper.wake_up())).is_err() {
        tracing::error!(
            "a session panicked when its timer woke it: this is a bug in evertoken, please report it"
        );
        if let Some(seat) = again.seat() {
            let at = seat.timer.clock.now() + AFTER_PANIC;
            seat.plan(|| Arc::downgrade(&again), Some(at), AFTER_PANIC);
        }
    }
}

/// By how much the wall clock is ahead of the monotonic clock, in nanoseconds. Each counts from its own origin.
fn ahead_of(clock: &UserClock) -> i128 {
    nanos(clock.wall()).saturating_sub(clock.now().as_nanos().into())
}

fn nanos(span: Duration) -> i128 {
    span.as_nanos().try_into().unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
