//! The lifetimes of tokens, counted from the moment when the request for them was sent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest believed lifetime, ten years. A longer one is a mistake of the server: milliseconds in place of seconds,
/// or a point in time.
pub(crate) const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The lifetime of a token, counted from the moment when the request for the token was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// The server or the token itself states the lifetime.
    Known {
        /// The time from the request to the expiry.
        #[serde(with = "millis")]
        total: Duration,
    },
    /// The lifetime is unknown: the token is used until an API rejects it.
    #[default]
    Unknown,
    /// The token does not expire.
    Never,
}

impl Validity {
    /// The lifetime, if it is known.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        match self {
            Self::Known { total } => Some(*total),
            Self::Unknown | Self::Never => None,
        }
    }

    /// The remaining lifetime at this age.
    fn aged(self, age: Duration) -> Self {
        match self {
            Self::Known { total } => total.saturating_sub(age).into(),
            other => other,
        }
    }
}

impl From<Duration> for Validity {
    fn from(total: Duration) -> Self {
        Self::Known { total }
    }
}

/// Whether rotating prolongs the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefreshExpiry {
    /// Each rotation brings a refresh token with a full lifetime of its own.
    #[default]
    Sliding,
    /// The session ends a fixed time after the sign-in. Rotations do not prolong it.
    Absolute,
}

/// The times of one pair, as a [`RefreshStrategy`](crate::RefreshStrategy) sees them.
///
/// All times count from the moment when the request for the pair was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Lifetime {
    /// The lifetime of the access token.
    pub access: Validity,
    /// The lifetime of the refresh token.
    pub refresh: Validity,
    /// Whether rotating prolongs the session.
    pub refresh_expiry: RefreshExpiry,
    /// The time at which the server requested the next rotation (`refresh_in`). It takes precedence over a strategy's
    /// own time.
    #[serde(serialize_with = "millis::some")]
    #[serde(deserialize_with = "millis::option")]
    pub refresh_in: Option<Duration>,
}

impl Lifetime {
    /// The times of a pair whose access token has the lifetime `access`.
    #[must_use]
    pub fn new(access: Validity) -> Self {
        Self {
            access,
            ..Self::default()
        }
    }

    /// The remaining times at this age.
    pub(crate) fn aged(self, age: Duration) -> Self {
        Self {
            access: self.access.aged(age),
            refresh: self.refresh.aged(age),
            refresh_in: self.refresh_in.map(|asked| asked.saturating_sub(age)),
            refresh_expiry: self.refresh_expiry,
        }
    }

    /// The age at which the access token expires; `None` if the expiry is unknown or never comes.
    #[must_use]
    pub fn expiry(&self) -> Option<Duration> {
        self.access.total()
    }

    /// The age of the access token at `fraction` (0 to 1) of its lifetime. If the server asked for a refresh after a time of
    /// its own (`refresh_in`), that time counts in place of the fraction, up to the expiry.
    ///
    /// `None` if there is no `refresh_in` and the lifetime is unknown or has no end: an early rotation needs an expiry.
    #[must_use]
    pub fn at_fraction(&self, fraction: f64) -> Option<Duration> {
        let fraction = if fraction.is_nan() { 1.0 } else { fraction };
        self.early(|total| share(total, fraction.clamp(0.0, 1.0)))
    }

    /// The age of the access token at `window` before its expiry, at half its lifetime at the earliest. A `refresh_in` of the
    /// server counts in its place, and `None` means the same, as in [`at_fraction`](Self::at_fraction).
    #[must_use]
    pub fn before_expiry(&self, window: Duration) -> Option<Duration> {
        self.early(|total| total - window.min(total / 2))
    }

    fn early(&self, own: impl Fn(Duration) -> Duration) -> Option<Duration> {
        match (self.refresh_in, self.expiry()) {
            (Some(asked), Some(total)) => Some(asked.min(total)),
            (Some(asked), None) => Some(asked),
            (None, total) => total.map(own),
        }
    }

    /// Whether the session ends no later than the access token, so that rotating is useless.
    #[must_use]
    pub fn is_last_of_fixed_session(&self) -> bool {
        let totals = self.access.total().zip(self.refresh.total());
        self.refresh_expiry == RefreshExpiry::Absolute
            && totals.is_some_and(|(access, refresh)| access >= refresh)
    }
}

/// Serializes durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::clock::whole_millis;

    pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(whole_millis(*span))
    }

    pub(crate) fn some<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(whole_millis).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }

    pub(crate) fn option<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(from)?.map(Duration::from_millis))
    }
}

/// A share (0 to 1) of a span of any length. The product of floats may be a little more than the span, and is clamped.
fn share(span: Duration, share: f64) -> Duration {
    let part = Duration::try_from_secs_f64(span.as_secs_f64() * share);
    part.map_or(span, |part| part.min(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_fraction_1_of_the_longest_lifetime_is_that_lifetime() {
        let life = Lifetime::new(Duration::MAX.into());
        assert_eq!(life.at_fraction(1.0), Some(Duration::MAX));
        assert!(
            life.at_fraction(0.5)
                .is_some_and(|half| half < Duration::MAX)
        );
    }

    #[test]
    fn early_times_are_safe_for_every_lifetime() {
        let known = Lifetime::new(MINUTE.into());
        assert_eq!(known.at_fraction(0.8), Some(Duration::from_secs(48)));
        assert_eq!(known.at_fraction(f64::NAN), Some(MINUTE));
        assert_eq!(known.at_fraction(-1.0), Some(Duration::ZERO));
        assert_eq!(
            known.before_expiry(Duration::from_secs(10)),
            Some(Duration::from_secs(50))
        );
        assert_eq!(known.before_expiry(Duration::MAX), Some(MINUTE / 2));
        for validity in [Validity::Unknown, Validity::Never] {
            assert_eq!(Lifetime::new(validity).at_fraction(0.8), None);
            assert_eq!(Lifetime::new(validity).before_expiry(MINUTE), None);
        }
    }

    #[test]
    fn refresh_in_from_the_server_takes_precedence() {
        let mut life = Lifetime::new(MINUTE.into());
        life.refresh_in = Some(Duration::from_secs(7));
        assert_eq!(life.at_fraction(0.8), Some(Duration::from_secs(7)));
        assert_eq!(life.before_expiry(MINUTE), Some(Duration::from_secs(7)));
        life.refresh_in = Some(2 * MINUTE);
        assert_eq!(life.at_fraction(0.8), Some(MINUTE));
    }
}
