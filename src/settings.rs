//! Every number and choice of a manager, with its default: the one place where they are written down.

mod persistence;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;

pub use self::persistence::Persistence;

use crate::clock::Backoff;
use crate::endpoint::ServerProfile;

/// Kept between the end of the send window and the lease going stale, besides the endpoint's timeout:
/// what a request may still need from the check of the window to its first byte.
const SEND_MARGIN: Duration = Duration::from_secs(5);

/// After so long a rotation that is under way may have brought a token: it takes some milliseconds at the least.
pub(crate) const PENDING_PAUSE: Duration = Duration::from_millis(20);

/// How long one call of the store may take, by default.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The least of whatever is done again and again: a hundred times a second is a storm already.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// Whether instances that share a store take turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Coordination {
    /// A token is spent only under a lease in the store, so that one instance spends it.
    #[default]
    Lease,
    /// Whoever needs a token exchanges his own. For servers without reuse detection, or where others
    /// that know nothing of the store spend the same tokens; a refusal is no news while the access
    /// token is valid.
    ///
    /// Instances that sign in at once have a session each, and one key for them. With
    /// [write-through](Persistence::write_through), whoever comes second adopts the pair that is stored, and
    /// has his own revoked. With write-behind both have been given out by then: the one that is stored later
    /// takes the place of the other, whose access token is good to its end, and whose instance adopts the later
    /// one at its next look.
    None,
}

/// What callers get when a new pair could not be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// The new token at once; storing it is tried until it succeeds.
    #[default]
    Serve,
    /// An error until it is stored.
    Fail,
}

/// What becomes of a [seed](crate::Builder::seed) that the store does not know, where another session goes on under its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnSeedConflict {
    /// [`Error::SeedConflict`](crate::Error::SeedConflict). Of two sessions under one key one is mostly a slip: a seed
    /// that was mistyped, or two users without a [subject](crate::Key::subject) of their own.
    #[default]
    Error,
    /// The seed takes the place of the stored session, as a pair given to
    /// [`replace`](crate::TokenManager::replace) does.
    Replace,
    /// The stored session is used for as long as it goes on.
    Keep,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) wait: Duration,
    pub(crate) leeway: Duration,
    pub(crate) jitter: f64,
    pub(crate) lease_duration: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) coordination: Coordination,
    pub(crate) persistence: Persistence,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) on_seed_conflict: OnSeedConflict,
    pub(crate) cool_down: CoolDown,
    /// At least this, or a tenth of the lifetime if less, lies between two rotations.
    pub(crate) shortest_interval: Duration,
    /// Clocks and others' leases are looked at this often at least.
    pub(crate) poll_interval: Duration,
    /// For so long at most from its beginning a rotation is waited for by callers whose token is still good: as long as
    /// the first pause after a failure, because a server that has not answered by then is likely to fail.
    pub(crate) join_limit: Duration,
    /// How long before a session ends it is told that it will.
    pub(crate) expiring_before: Duration,
    /// How long before a session ends that nothing can prolong it is told that it has.
    pub(crate) ended_before: Duration,
    /// The endpoint's, read once.
    pub(crate) server: ServerProfile,
    pub(crate) endpoint_timeout: Duration,
}

impl Settings {
    pub(crate) fn new(server: ServerProfile, endpoint_timeout: Duration) -> Self {
        Self {
            wait: Duration::from_secs(35),
            leeway: Duration::from_secs(10),
            jitter: 0.05,
            lease_duration: Duration::from_secs(60),
            store_timeout: STORE_TIMEOUT,
            coordination: Coordination::default(),
            persistence: Persistence::default(),
            on_store_failure: OnStoreFailure::default(),
            on_seed_conflict: OnSeedConflict::default(),
            cool_down: CoolDown::default(),
            shortest_interval: Duration::from_secs(1),
            poll_interval: Duration::from_secs(5),
            join_limit: Duration::from_secs(2),
            expiring_before: Duration::from_secs(60),
            ended_before: Duration::from_millis(200),
            server,
            endpoint_timeout,
        }
    }

    /// The same as one value with those of other managers, if they are equal.
    pub(crate) fn shared(self) -> Arc<Self> {
        /// A process that has more kinds of managers has few of each.
        const KINDS: usize = 16;
        static SHARED: Mutex<VecDeque<Weak<Settings>>> = Mutex::new(VecDeque::new());
        let mut shared = SHARED.lock();
        shared.retain(|settings| settings.strong_count() > 0);
        let mut known = shared.iter().filter_map(Weak::upgrade);
        if let Some(settings) = known.find(|settings| **settings == self) {
            return settings;
        }
        let settings = Arc::new(self);
        shared.truncate(KINDS - 1);
        shared.push_front(Arc::downgrade(&settings));
        settings
    }

    /// How long after the first attempt to lease it a token may be sent.
    pub(crate) fn send_window(&self) -> Duration {
        self.lease_duration
            .saturating_sub(self.endpoint_timeout + SEND_MARGIN)
    }

    /// What cannot hold, as (setting, problem): the one place where settings are compared.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let timeout = self.endpoint_timeout;
        for (name, span) in [("timeout", timeout), ("store_timeout", self.store_timeout)] {
            if span.is_zero() {
                return Some((name, "must not be zero".to_owned()));
            }
        }
        if self.wait <= timeout {
            let problem = format!(
                "must be longer than the endpoint's timeout of {}",
                seconds(timeout)
            );
            return Some(("wait", problem));
        }
        // The lease is read and written before its token is sent, and each may take the store's whole time.
        let store = self.store_timeout.saturating_mul(2);
        let least = timeout
            .saturating_add(SEND_MARGIN)
            .saturating_add(store.max(SEND_MARGIN));
        if self.lease_duration <= least {
            let problem = format!(
                "must be longer than {}: the endpoint's timeout, twice the store's timeout (5 s at least), and 5 s",
                seconds(least)
            );
            return Some(("lease_duration", problem));
        }
        if self.persistence.has_no_queue() {
            let problem = "must be at least 1; without write-behind, `workers` is 0";
            return Some(("persistence.queue", problem.to_owned()));
        }
        if !self.persistence.is_write_through() && self.on_store_failure == OnStoreFailure::Fail {
            let problem =
                "must be `serve` with write-behind, which serves a pair before it is stored";
            return Some(("persistence.on_store_failure", problem.to_owned()));
        }
        if !(0.0..=0.5).contains(&self.jitter) {
            return Some(("jitter", "must be between 0 and 0.5".to_owned()));
        }
        for (name, span) in [
            ("shortest_interval", self.shortest_interval),
            ("poll_interval", self.poll_interval),
            ("cool_down.early", self.cool_down.early),
            ("cool_down.expired", self.cool_down.expired),
        ] {
            if span < LEAST_PAUSE {
                let problem = format!("must be at least {}", seconds(LEAST_PAUSE));
                return Some((name, problem));
            }
        }
        if self.cool_down.longest < self.cool_down.early.max(self.cool_down.expired) {
            let problem = "must not be shorter than the first pauses, `early` and `expired`";
            return Some(("cool_down.longest", problem.to_owned()));
        }
        None
    }
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

/// The pauses after failures: no instance sends before one is over. Each further failure doubles it. The store is looked at
/// all the same, callers with a valid token are served, and the others wait.
///
/// ```
/// use std::time::Duration;
///
/// use evertoken::CoolDown;
///
/// let cool_down = CoolDown::default().longest(Duration::from_secs(300));
/// assert_eq!(cool_down.early, Duration::from_secs(4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoolDown {
    /// The first pause while the access token is still valid. Default: 4 s.
    pub early: Duration,
    /// The first pause once it has expired. Default: 2 s.
    pub expired: Duration,
    /// The pause at which doubling ends. Default: 60 s.
    pub longest: Duration,
    /// The longest pause that the token endpoint may ask for by `Retry-After`. Default: 1 h.
    pub retry_after_limit: Duration,
}

impl Default for CoolDown {
    fn default() -> Self {
        Self {
            early: Duration::from_secs(4),
            expired: Duration::from_secs(2),
            longest: Duration::from_secs(60),
            retry_after_limit: Duration::from_secs(3_600),
        }
    }
}

impl CoolDown {
    /// The first pause while the access token is still valid; at least 10 ms.
    #[must_use]
    pub fn early(mut self, pause: Duration) -> Self {
        self.early = pause;
        self
    }

    /// The first pause once it has expired; at least 10 ms.
    #[must_use]
    pub fn expired(mut self, pause: Duration) -> Self {
        self.expired = pause;
        self
    }

    /// The pause at which doubling ends; not shorter than the first ones.
    #[must_use]
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self
    }

    /// The longest pause that the token endpoint may ask for by `Retry-After` (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after_limit(mut self, limit: Duration) -> Self {
        self.retry_after_limit = limit;
        self
    }

    /// After the `failures`-th failure in a row, counted from 1.
    pub(crate) fn after(&self, failures: u32, early: bool) -> Duration {
        let first = if early { self.early } else { self.expired };
        Backoff::new(first, self.longest).after(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cool_downs_double_up_to_a_minute() {
        let seconds = |early| -> Vec<u64> {
            (1..=7)
                .map(|n| CoolDown::default().after(n, early).as_secs())
                .collect()
        };
        assert_eq!(seconds(false), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(true), [4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(CoolDown::default().after(u32::MAX, true).as_secs(), 60);
    }
}
