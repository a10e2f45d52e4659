//! The waiting room of a rotation in flight: the rotation's last report, and the callers that wait for the next one.
//!
//! A caller costs one entry here, with its waker and its deadline. A channel and a timer for each caller cost three times as
//! much when ten thousand callers wait. The lock of a room is the innermost one: under it no other lock is taken, and no waker
//! is called or dropped.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use slab::Slab;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Progress;
use crate::token::PairId;

/// Where callers wait for one rotation, until its last report closes the room.
#[derive(Debug)]
pub(crate) struct Room {
    /// The pair that was held when the rotation began.
    began_with: Option<PairId>,
    /// Set with the last report: the entries are gone, so a caller that leaves need not remove its own.
    is_closed: AtomicBool,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    report: Progress,
    /// How many reports there were.
    version: u32,
    seats: Slab<Sitter>,
    /// How many of the seats callers have.
    callers: usize,
    /// The deadlines, each with the seat of its caller.
    deadlines: BTreeSet<(Instant, usize)>,
    has_timer: bool,
    /// The waker of the task that sleeps until the earliest deadline.
    timer: Option<Waker>,
}

/// A waiter, as the room sees it.
#[derive(Debug)]
struct Sitter {
    /// `None` after the waker was called, until the caller polls again.
    waker: Option<Waker>,
    deadline: Option<Instant>,
    /// Whether the deadline has passed without the caller knowing it yet.
    is_due: bool,
}

/// Wakers that are to be called. They are called when this is dropped at the latest, and the room is not locked then.
#[derive(Debug, Default)]
#[must_use = "it is dropped where it may wake"]
pub(crate) struct Wakeups(Vec<Waker>);

impl Drop for Wakeups {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            // A waker is code of an executor: its panic would leave the other callers asleep.
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::error!(
                    "the waker of a waiting caller panicked; check the executor of that caller"
                );
            }
        }
    }
}

impl Room {
    pub(crate) fn new(began_with: Option<PairId>) -> Arc<Self> {
        Arc::new(Self {
            began_with,
            is_closed: AtomicBool::new(false),
            inside: Mutex::new(Inside {
                report: Progress::Running,
                version: 0,
                seats: Slab::new(),
                callers: 0,
                deadlines: BTreeSet::new(),
                has_timer: false,
                timer: None,
            }),
        })
    }

    /// Reads the last report, with the room locked.
    pub(crate) fn peek<T>(&self, peek: impl FnOnce(&Progress) -> T) -> T {
        peek(&self.inside.lock().report)
    }

    /// Whether a caller waits.
    pub(crate) fn has_callers(&self) -> bool {
        self.inside.lock().callers > 0
    }

    /// Reports how far the rotation is. The report that the rotation is over is the last one; later reports are ignored.
    pub(crate) fn report(&self, report: Progress) -> Wakeups {
        let is_last = report.is_over();
        let (wakers, before, gone) = {
            let mut inside = self.inside.lock();
            if self.is_closed.load(Ordering::Relaxed) {
                return Wakeups::default();
            }
            inside.version = inside.version.wrapping_add(1);
            let before = std::mem::replace(&mut inside.report, report);
            let sitters = inside.seats.iter_mut();
            let wakers = sitters.filter_map(|(_, sitter)| sitter.waker.take());
            let mut wakers: Vec<Waker> = wakers.collect();
            let gone = is_last.then(|| {
                wakers.extend(inside.timer.take());
                let seats = std::mem::take(&mut inside.seats);
                inside.callers = 0;
                self.is_closed.store(true, Ordering::Release);
                (seats, std::mem::take(&mut inside.deadlines))
            });
            (wakers, before, gone)
        };
        drop((before, gone));
        Wakeups(wakers)
    }

    /// Wakes the callers whose deadline has passed. Returns the next deadline, at which this is to be called again, or earlier
    /// when `timer` is woken. `None` if no deadline is left: then the timer ends, and the next caller starts another one.
    pub(crate) fn ring(&self, now: Instant, timer: &Waker) -> Option<Instant> {
        let mut due = Wakeups::default();
        let mut inside = self.inside.lock();
        while let Some(&(at, seat)) = inside.deadlines.first()
            && at <= now
        {
            inside.deadlines.pop_first();
            if let Some(sitter) = inside.seats.get_mut(seat) {
                sitter.deadline = None;
                sitter.is_due = true;
                due.0.extend(sitter.waker.take());
            }
        }
        let next = inside.deadlines.first().map(|(at, _)| *at);
        inside.has_timer = next.is_some();
        let before = match next {
            Some(_) => inside.timer.replace(timer.clone()),
            None => inside.timer.take(),
        };
        drop(inside);
        drop((due, before));
        next
    }
}

/// The task that sleeps until the earliest deadline in the room. It ends with the last deadline, and with the room.
pub(crate) fn timer(room: Arc<Room>) -> impl Future<Output = ()> {
    let mut sleep: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |context| {
        let mut now = Instant::now();
        while let Some(next) = room.ring(now, context.waker()) {
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            ready!(sleep.as_mut().poll(context));
            now = Instant::now().max(next);
        }
        Poll::Ready(())
    })
}

/// The caller's deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due;

const NO_SEAT: usize = usize::MAX;

/// A waiter in a room. It takes a seat when it is polled, and removes its entry when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    room: Arc<Room>,
    /// The seat; [`NO_SEAT`] before there is one. A waiter is small, because there may be ten thousand.
    seat: usize,
    /// How many reports the waiter has read. The room begins with [`Progress::Running`], to which a caller need not react.
    seen: u32,
    /// Whether this is a caller. A task of the rotation waits here as well, and the rotation does not go on for its sake.
    is_caller: bool,
}

impl Waiter {
    /// A caller, for which the rotation goes on.
    pub(crate) fn new(room: &Arc<Room>) -> Self {
        Self {
            room: Arc::clone(room),
            seat: NO_SEAT,
            seen: 0,
            is_caller: true,
        }
    }

    /// A waiter that is not a caller.
    pub(crate) fn uncounted(room: &Arc<Room>) -> Self {
        let mut waiter = Self::new(room);
        waiter.is_caller = false;
        waiter
    }

    /// The pair that was held when the rotation began. A token of another pair is newer.
    pub(crate) fn began_with(&self) -> Option<PairId> {
        self.room.began_with
    }

    /// The last report.
    pub(crate) fn report(&self) -> Progress {
        self.room.peek(Progress::clone)
    }

    /// Returns the next report that the waiter has not read, or that `deadline` has passed, by the clock of the room's timer.
    /// `start` is called with the room when the room's timer is to be started.
    pub(crate) fn poll(
        &mut self,
        deadline: Option<Instant>,
        context: &Context<'_>,
        start: impl FnOnce(&Arc<Room>),
    ) -> Poll<Result<Progress, Due>> {
        let mut inside = self.room.inside.lock();
        let is_news = inside.version != self.seen;
        self.seen = inside.version;
        // Of a closed room, a waiter may ask for the last report once more.
        if is_news || self.room.is_closed.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(inside.report.clone()));
        }
        let Inside {
            seats,
            callers,
            deadlines,
            ..
        } = &mut *inside;
        if self.seat == NO_SEAT {
            *callers += usize::from(self.is_caller);
            self.seat = seats.insert(Sitter {
                waker: None,
                deadline: None,
                is_due: false,
            });
        }
        let at = self.seat;
        let Some(sitter) = seats.get_mut(at) else {
            self.seat = NO_SEAT;
            return Poll::Ready(Ok(inside.report.clone()));
        };
        if std::mem::take(&mut sitter.is_due) {
            return Poll::Ready(Err(Due));
        }
        let waker = context.waker();
        let before = match &mut sitter.waker {
            Some(before) if before.will_wake(waker) => None,
            before => before.replace(waker.clone()),
        };
        let mut sooner = None;
        let mut starts = false;
        if sitter.deadline != deadline {
            if let Some(old) = sitter.deadline {
                deadlines.remove(&(old, at));
            }
            sitter.deadline = deadline;
            if let Some(deadline) = deadline {
                let is_first = deadlines.first().is_none_or(|(first, _)| deadline < *first);
                deadlines.insert((deadline, at));
                starts = !std::mem::replace(&mut inside.has_timer, true);
                sooner = inside.timer.take_if(|_| is_first);
            }
        }
        drop(inside);
        // A waker may run any code when it is dropped or called.
        drop(before);
        if starts {
            start(&self.room);
        }
        drop(sooner.map(|timer| Wakeups(vec![timer])));
        Poll::Pending
    }

    /// Returns when the rotation is over.
    pub(crate) fn over(mut self) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            loop {
                if let Ok(report) = ready!(self.poll(None, context, |_| {}))
                    && report.is_over()
                {
                    return Poll::Ready(());
                }
            }
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // Ten thousand callers that leave at once would wait for the lock.
        if self.seat == NO_SEAT || self.room.is_closed.load(Ordering::Acquire) {
            return;
        }
        let mut inside = self.room.inside.lock();
        if self.room.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let sitter = inside.seats.try_remove(self.seat);
        inside.callers -= usize::from(self.is_caller && sitter.is_some());
        if let Some(deadline) = sitter.as_ref().and_then(|sitter| sitter.deadline) {
            inside.deadlines.remove(&(deadline, self.seat));
        }
        // The timer ends when no deadline is left.
        let is_idle = inside.deadlines.is_empty();
        let timer = inside.timer.take_if(|_| is_idle);
        drop(inside);
        drop(sitter);
        drop(timer.map(|timer| Wakeups(vec![timer])));
    }
}

#[cfg(test)]
mod tests;
