//! Every setting of a manager, with its default, and the rules between settings. No other module has a default of
//! a manager.

mod persistence;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;

pub use self::persistence::Persistence;

use crate::clock::Backoff;
use crate::clock::span::duration;
use crate::endpoint::ServerProfile;

/// The time between the end of the send window and the end of the lease, in addition to the endpoint's timeout. A
/// request may need this long from the check of the window to its first byte.
const SEND_MARGIN: Duration = Duration::from_secs(5);

/// The pause before a caller asks again for the token of a rotation that is under way. A rotation takes some
/// milliseconds at least.
pub(crate) const PENDING_PAUSE: Duration = Duration::from_millis(20);

/// The default limit of one call of the store.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The default number of sessions that exchange a token at the same time. With 300 ms for an exchange, 64 of them rotate 200
/// sessions in a second. That is enough for 100,000 sessions whose tokens live for ten minutes, and few enough connections for a
/// strict server.
const EXCHANGES_AT_ONCE: usize = 64;

/// The shortest allowed interval of repeated work. A hundred calls a second are a storm already.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// Whether instances that share a store take turns at rotating.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Coordination {
    /// An instance spends a token only under a lease in the store, so that one instance alone spends the token.
    #[default]
    Lease,
    /// Every instance exchanges the token without a lease. This value is for servers without reuse detection, and for
    /// tokens that clients without access to the store spend too. A refusal is not reported while the access token is
    /// valid.
    ///
    /// Instances that sign in at the same time have a session each, under one key. With
    /// [write-through](Persistence::write_through), the instance that stores second adopts the stored pair, and its
    /// own pair is revoked. With write-behind, callers have got both pairs by then: the pair that is stored later
    /// replaces the earlier one. The access token of the earlier pair is valid to its end, and its instance adopts the
    /// later pair when it next reads the store.
    None,
}

/// The answer to callers when a new pair could not be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// Callers get the new token at once. The manager tries to store the pair until that succeeds.
    #[default]
    Serve,
    /// Callers get an error until the pair is stored.
    Fail,
}

/// The treatment of a [seed](crate::Builder::seed) that the store does not know, if the store holds another active
/// session under the same key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnSeedConflict {
    /// Callers get [`Error::SeedConflict`](crate::Error::SeedConflict). Two sessions under one key are mostly a mistake:
    /// a mistyped seed, or two users whose keys lack a [subject](crate::Key::subject).
    #[default]
    Error,
    /// The seed replaces the stored session, like a pair that is given to
    /// [`replace`](crate::TokenManager::replace).
    Replace,
    /// The manager uses the stored session until that session ends.
    Keep,
}

/// Every setting that is one value, once: the documentation and the name of its setter of [`Builder`](crate::Builder),
/// its type, and its default. `[refresh]` of a configuration has a key with the same name, which is read as the type in
/// brackets. `$each` is a macro that makes something of every setting.
macro_rules! settings {
    ($each:ident) => {
        $each! {
            /// Sets the deadline of a caller: how long a caller without a valid token waits for one, also through the
            /// pauses after failures that pass by themselves. After that the caller gets
            /// [`Error::TimedOut`](crate::Error::TimedOut) with the last failure. Default: 35 s. The deadline must be
            /// longer than the endpoint's timeout.
            wait: Duration [Span] = Duration::from_secs(35);

            /// Sets how long before the token's expiry callers wait for a new token rather than go on with the old one.
            /// Default: 10 s, and at most a tenth of the lifetime.
            leeway: Duration [Span] = Duration::from_secs(10);

            /// Sets the share (0 to 0.5) by which early rotations begin earlier than planned. The manager draws a share
            /// anew for each token, so that instances that started together do not rotate together. Default: 0.05.
            jitter: f64 [f64] = 0.05;

            /// Sets how long a lease is respected: the other instances leave its holder alone for this time, and after a
            /// failure of the holder for this time from the end of its pause on. Default: 60 s. The duration must be
            /// longer than the sum of the endpoint's timeout, 5 s and twice the store's timeout (5 s at least).
            lease_duration: Duration [Span] = Duration::from_secs(60);

            /// Sets whether instances that share the store coordinate by leases. Default: [`Coordination::Lease`].
            coordination: Coordination [Coordination] = Coordination::default();

            /// Sets whether callers wait until a new pair is stored. Default: [`Persistence::write_through`].
            ///
            /// Write-behind needs [`Coordination::None`]. With it, [`shutdown`](crate::TokenManager::shutdown) stores the
            /// pair that is not stored yet.
            /// Where the server revokes the old pair at the first use of the new one
            /// ([`OldPair::DiesAtFirstUse`](crate::OldPair::DiesAtFirstUse)), a pair is stored before a caller gets it in
            /// any case.
            persistence: Persistence [Persistence] = Persistence::default();

            /// Sets what callers get when a new pair could not be stored. Default: [`OnStoreFailure::Serve`].
            on_store_failure: OnStoreFailure [OnStoreFailure] = OnStoreFailure::default();

            /// Sets the pauses after failures, in which no instance sends a token. Default: [`CoolDown::default`], which
            /// is 4 s while the token is valid and 2 s once it has expired, doubling to 60 s. A pause is up to 20 %
            /// shorter at random, unless the [jitter](Self::jitter) is 0.
            cool_down: CoolDown [CoolDown] = CoolDown::default();

            /// Sets the minimum time between two rotations, capped at a tenth of the token's lifetime. Default: 1 s; at
            /// least 10 ms.
            shortest_interval: Duration [Span] = Duration::from_secs(1);

            /// Sets how often a waiting task reads the clocks when nothing else happens, because timers stand still while
            /// a machine sleeps. A record that another instance has leased is read after six such intervals, or when the
            /// store reports a change. Default: 5 s; at least 10 ms.
            poll_interval: Duration [Span] = Duration::from_secs(5);

            /// Sets how long before the end of a session that cannot be prolonged
            /// [`Event::Expiring`](crate::Event::Expiring) is sent. Default: 60 s.
            expiring_before: Duration [Span] = Duration::from_secs(60);

            /// Sets how long before the end of a session that cannot be prolonged
            /// [`Event::Ended`](crate::Event::Ended) is sent. Default: 200 ms.
            ended_before: Duration [Span] = Duration::from_millis(200);
        }
    };
}
pub(crate) use settings;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $kind:ty [$key:ty] = $default:expr;)*) => {
        /// The settings of a manager. The macro `settings` documents those that are not documented here.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Settings {
            $(pub(crate) $name: $kind,)*
            pub(crate) store_timeout: Duration,
            pub(crate) on_seed_conflict: OnSeedConflict,
            /// How many sessions of one builder exchange a token at the same time.
            pub(crate) exchanges_at_once: usize,
            /// The longest wait, from the start of a rotation, of callers whose token is still valid. It is as long as
            /// the first pause after a failure, because a server that has not answered by then is likely to fail.
            pub(crate) join_limit: Duration,
            /// The endpoint's profile, read once.
            pub(crate) server: ServerProfile,
            pub(crate) endpoint_timeout: Duration,
        }

        impl Settings {
            pub(crate) fn new(server: ServerProfile, endpoint_timeout: Duration) -> Self {
                Self {
                    $($name: $default,)*
                    store_timeout: STORE_TIMEOUT,
                    on_seed_conflict: OnSeedConflict::default(),
                    exchanges_at_once: EXCHANGES_AT_ONCE,
                    join_limit: Duration::from_secs(2),
                    server,
                    endpoint_timeout,
                }
            }
        }
    };
}
settings!(fields);

impl Settings {
    /// One value for all managers with equal settings.
    pub(crate) fn shared(self) -> Arc<Self> {
        /// The number of values that are kept. In a process with more kinds of managers, few managers are equal.
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

    /// The time after the first attempt to get a lease in which the leased token may be sent.
    pub(crate) fn send_window(&self) -> Duration {
        self.lease_duration
            .saturating_sub(self.endpoint_timeout + SEND_MARGIN)
    }

    /// The first setting that is out of range or contradicts another one, with the problem. No other code compares
    /// settings.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        self.check().err()
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let timeout = self.endpoint_timeout;
        for (name, span) in [("timeout", timeout), ("store_timeout", self.store_timeout)] {
            rule(name, !span.is_zero(), "must not be zero")?;
        }
        let longer = |than: &str| format!("must be longer than {than}");
        let problem = longer(&format!("the endpoint's timeout of {}", seconds(timeout)));
        rule("wait", self.wait > timeout, &problem)?;
        // The lease is read and written before its token is sent, and each call may take the store's whole timeout.
        let store = self.store_timeout.saturating_mul(2).max(SEND_MARGIN);
        let least = timeout.saturating_add(SEND_MARGIN).saturating_add(store);
        let sum = "the endpoint's timeout, twice the store's timeout (5 s at least), and 5 s";
        let problem = longer(&format!("{}: {sum}", seconds(least)));
        rule("lease_duration", self.lease_duration > least, &problem)?;
        let problem = "must be at least 1; to store without a queue, set `workers` to 0";
        rule("persistence.queue", self.persistence.has_queue(), problem)?;
        let without_leases = self.coordination == Coordination::None;
        let can_fail = self.persistence.is_write_through();
        let problem = "must be 0 with leases, beside which write-behind gains nothing; set it to 0, or set \
                       `coordination` to \"none\"";
        rule("persistence.workers", without_leases || can_fail, problem)?;
        let serves = self.on_store_failure == OnStoreFailure::Serve;
        let problem =
            "must be `serve` with write-behind, which serves a pair before the pair is stored";
        rule("on_store_failure", serves || can_fail, problem)?;
        let problem = "must be at least 1";
        rule("exchanges_at_once", self.exchanges_at_once > 0, problem)?;
        let is_share = (0.0..=0.5).contains(&self.jitter);
        rule("jitter", is_share, "must be between 0 and 0.5")?;
        let pauses = self.cool_down;
        let problem = format!("must be at least {}", seconds(LEAST_PAUSE));
        for (name, span) in [
            ("shortest_interval", self.shortest_interval),
            ("poll_interval", self.poll_interval),
            ("cool_down.early", pauses.early),
            ("cool_down.expired", pauses.expired),
        ] {
            rule(name, span >= LEAST_PAUSE, &problem)?;
        }
        let problem = "must not be shorter than the first pauses, `early` and `expired`";
        let first = pauses.early.max(pauses.expired);
        rule("cool_down.longest", pauses.longest >= first, problem)
    }
}

/// A setting that breaks a rule is an error, with the problem.
fn rule(name: &'static str, holds: bool, problem: &str) -> Result<(), (&'static str, String)> {
    if holds {
        return Ok(());
    }
    Err((name, problem.to_owned()))
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

/// The pauses after failures. During a pause, instances do not send requests to the token endpoint, but still read the
/// store. Callers with a valid token get that token, and the others wait. Each further failure doubles the pause.
///
/// ```
/// use std::time::Duration;
///
/// use evertoken::CoolDown;
///
/// let cool_down = CoolDown::default().longest(Duration::from_secs(300));
/// assert_eq!(cool_down.early, Duration::from_secs(4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CoolDown {
    /// The first pause while the access token is still valid. Default: 4 s.
    #[serde(deserialize_with = "duration")]
    pub early: Duration,
    /// The first pause after the access token has expired. Default: 2 s.
    #[serde(deserialize_with = "duration")]
    pub expired: Duration,
    /// The pause at which doubling ends. Default: 60 s.
    #[serde(deserialize_with = "duration")]
    pub longest: Duration,
    /// The longest pause that the token endpoint may request by `Retry-After`. Default: 1 h.
    #[serde(deserialize_with = "duration")]
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
    /// Sets the first pause while the access token is still valid; at least 10 ms.
    #[must_use]
    pub fn early(mut self, pause: Duration) -> Self {
        self.early = pause;
        self
    }

    /// Sets the first pause after the access token has expired; at least 10 ms.
    #[must_use]
    pub fn expired(mut self, pause: Duration) -> Self {
        self.expired = pause;
        self
    }

    /// Sets the pause at which doubling ends; not shorter than the first pauses.
    #[must_use]
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self
    }

    /// Sets the longest pause that the token endpoint may request by `Retry-After` (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after_limit(mut self, limit: Duration) -> Self {
        self.retry_after_limit = limit;
        self
    }

    /// The pause after the `failures`-th failure in a row, counted from 1.
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
