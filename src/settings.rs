//! Every number and choice of a manager, with its default: the one place where they are written down.

use std::time::Duration;

use crate::endpoint::ServerProfile;

/// The longest a server may put us off.
pub(crate) const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3_600);

/// Kept between the end of the send window and the claim going stale, besides the endpoint's timeout:
/// what a request may still need from the check of the window to its first byte.
const SEND_MARGIN: Duration = Duration::from_secs(5);

/// How often a token that may be spent is sent once more, with the quarantine doubling in between.
pub(crate) const LAST_RESORTS: u32 = 3;

/// Whether instances that share a store take turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coordination {
    /// A token is spent only under a claim in the store, so that one instance spends it.
    #[default]
    Claim,
    /// Whoever needs a token exchanges his own. For servers without reuse detection, or where others
    /// that know nothing of the store spend the same tokens; a refusal is no news while the access
    /// token is valid.
    None,
}

/// What callers get when a new pair could not be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// The new token at once; storing it is tried until it succeeds.
    #[default]
    Serve,
    /// An error until it is stored.
    Fail,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) wait: Duration,
    pub(crate) leeway: Duration,
    pub(crate) jitter: f64,
    pub(crate) quarantine: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) coordination: Coordination,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) cool_down: CoolDown,
    /// At least this, or a tenth of the lifetime if less, lies between two rotations.
    pub(crate) shortest_interval: Duration,
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
            quarantine: Duration::from_secs(60),
            store_timeout: Duration::from_secs(5),
            coordination: Coordination::default(),
            on_store_failure: OnStoreFailure::default(),
            cool_down: CoolDown::default(),
            shortest_interval: Duration::from_secs(1),
            expiring_before: Duration::from_secs(60),
            ended_before: Duration::from_millis(200),
            server,
            endpoint_timeout,
        }
    }

    /// How long after the first attempt to claim it a token may be sent.
    pub(crate) fn send_window(&self) -> Duration {
        self.quarantine
            .saturating_sub(self.endpoint_timeout + SEND_MARGIN)
    }

    /// What cannot hold, as (setting, problem).
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let timeout = self.endpoint_timeout;
        let seconds = |span: Duration| format!("{} s", span.as_secs_f64());
        if self.wait <= timeout {
            return Some((
                "wait",
                format!(
                    "must be longer than the endpoint's timeout of {}",
                    seconds(timeout)
                ),
            ));
        }
        if self.quarantine < timeout + 2 * SEND_MARGIN {
            let least = seconds(timeout + 2 * SEND_MARGIN);
            return Some((
                "quarantine",
                format!("must be at least {least}, 10 s over the endpoint's timeout"),
            ));
        }
        let replay_window = self.server.replay_window;
        if !replay_window.is_zero() && replay_window < timeout {
            return Some((
                "replay_window",
                format!(
                    "must be zero or at least the endpoint's timeout of {}",
                    seconds(timeout)
                ),
            ));
        }
        if !(0.0..=0.5).contains(&self.jitter) {
            return Some(("jitter", "must be between 0 and 0.5".to_owned()));
        }
        if self.store_timeout.is_zero() || timeout.is_zero() {
            return Some(("timeout", "must not be zero".to_owned()));
        }
        None
    }
}

/// How long nothing is tried after a failure; doubled with each further one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoolDown {
    /// While the access token is still valid.
    pub(crate) early: Duration,
    /// Once it has expired.
    pub(crate) expired: Duration,
    pub(crate) longest: Duration,
}

impl Default for CoolDown {
    fn default() -> Self {
        Self {
            early: Duration::from_secs(4),
            expired: Duration::from_secs(2),
            longest: Duration::from_secs(60),
        }
    }
}

impl CoolDown {
    /// After the `failures`-th failure in a row, counted from 1.
    pub(crate) fn after(&self, failures: u32, early: bool) -> Duration {
        let first = if early { self.early } else { self.expired };
        let factor = 1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(self.longest)
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
