//! The sessions that stay in memory for a while after they were presented, so that the next request of their browser finds them
//! ready, and a timer rotates them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::SessionId;
use crate::clock::{Clock as _, Timestamp};
use crate::manager::TokenManager;
use crate::session::{Group, Shared};
use crate::timer::{Seat, Sleeper};

/// The sessions that were presented a while ago at most.
pub(super) struct Lingering {
    shared: Arc<Shared>,
    kept_for: Duration,
    by_id: Mutex<HashMap<SessionId, Kept>>,
    seat: OnceLock<Seat>,
    this: Weak<Self>,
}

struct Kept {
    tokens: TokenManager,
    presented_at: Timestamp,
}

impl Lingering {
    pub(super) fn new(group: &Group) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            shared: Arc::clone(&group.shared),
            kept_for: group.policies.kept_for,
            by_id: Mutex::default(),
            seat: OnceLock::new(),
            this: Weak::clone(this),
        })
    }

    /// The manager of a session that is here; `None` also for one that was shut down, which the next manager continues.
    pub(super) fn get(&self, id: &SessionId) -> Option<TokenManager> {
        let tokens = self.by_id.lock().get(id)?.tokens.clone();
        if tokens.session.lock().is_closed {
            self.remove(id);
            return None;
        }
        Some(tokens)
    }

    /// Keeps a session for a while from now on.
    pub(super) fn keep(&self, id: &SessionId, tokens: &TokenManager, now: Timestamp) {
        let mut by_id = self.by_id.lock();
        if let Some(kept) = by_id.get_mut(id)
            && Arc::ptr_eq(&kept.tokens.session, &tokens.session)
        {
            kept.presented_at = kept.presented_at.max(now);
            return;
        }
        let is_first = by_id.is_empty();
        let kept = Kept {
            tokens: tokens.clone(),
            presented_at: now,
        };
        let before = by_id.insert(id.clone(), kept);
        drop(by_id);
        // The manager before may be the last one of its session, whose end locks other things.
        drop(before);
        if is_first {
            self.plan(Some(now + self.kept_for));
        }
    }

    /// Lets a session go.
    pub(super) fn remove(&self, id: &SessionId) {
        let removed = self.by_id.lock().remove(id);
        drop(removed);
    }

    /// Lets all sessions go.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.by_id.lock());
        drop(all);
        self.plan_next(None);
    }

    /// Plans the next pass; `None` if no session is here. A session that comes between that look and the plan counts as well.
    fn plan_next(&self, next: Option<Timestamp>) {
        self.plan(next);
        if next.is_none() && !self.by_id.lock().is_empty() {
            self.plan(Some(self.shared.clock.now() + self.kept_for));
        }
    }

    fn plan(&self, at: Option<Timestamp>) {
        let timer = || Seat::new(Arc::clone(self.shared.timer()));
        let seat = self.seat.get_or_init(timer);
        let poll_interval = self.shared.settings.poll_interval;
        seat.plan(|| Weak::<Self>::clone(&self.this), at, poll_interval);
    }
}

/// Lets those sessions go that were not presented for a while.
impl Sleeper for Lingering {
    fn wake_up(self: Arc<Self>) {
        let now = self.shared.clock.now();
        let is_over = |kept: &Kept| now.since(kept.presented_at) >= self.kept_for;
        let (over, next) = {
            let mut by_id = self.by_id.lock();
            let over: Vec<_> = by_id.extract_if(|_, kept| is_over(kept)).collect();
            if by_id.len() < by_id.capacity() / 4 {
                by_id.shrink_to_fit();
            }
            let next = by_id.values().map(|kept| kept.presented_at).min();
            (over, next)
        };
        // Not at the moment of each session: one pass lets many go.
        let soonest = now + self.kept_for / 4;
        self.plan_next(next.map(|at| (at + self.kept_for).max(soonest)));
        drop(over);
    }

    fn seat(&self) -> Option<&Seat> {
        self.seat.get()
    }
}

/// The entry at the timer goes with the last `Sessions`. The timer's task would live on for it otherwise.
impl Drop for Lingering {
    fn drop(&mut self) {
        if self.seat.get().is_some() {
            self.plan(None);
        }
    }
}

impl fmt::Debug for Lingering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lingering").finish_non_exhaustive()
    }
}
