use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A lifetime beyond ten years is taken for a mistake: for milliseconds, or for a point in time.
pub(crate) const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long a token is good for, counted from the moment its request was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// The server said, or the token itself does.
    Known {
        /// From the request that brought it to its expiry.
        #[serde(with = "millis")]
        total: Duration,
    },
    /// Nobody said: it is good until an API rejects it.
    #[default]
    Unknown,
    /// It does not expire.
    Never,
}

impl Validity {
    /// The lifetime where one is known.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        match self {
            Self::Known { total } => Some(*total),
            Self::Unknown | Self::Never => None,
        }
    }
}

impl Validity {
    /// What is left of it after so long.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefreshExpiry {
    /// Each rotation brings a refresh token with a full lifetime of its own.
    #[default]
    Sliding,
    /// The session ends a fixed time after the sign-in, whatever is rotated.
    Absolute,
}

/// The times of one pair, as a [`RefreshStrategy`](crate::RefreshStrategy) sees them.
///
/// All of them count from the moment the request that brought the pair was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Lifetime {
    /// The access token's.
    pub access: Validity,
    /// The refresh token's.
    pub refresh: Validity,
    /// Whether rotating prolongs the session.
    pub refresh_expiry: RefreshExpiry,
    /// When the server asked to be asked again (`refresh_in`); it wins over a strategy's own time.
    #[serde(with = "millis::option")]
    pub refresh_in: Option<Duration>,
}

impl Lifetime {
    /// A pair whose access token is good for `access`.
    #[must_use]
    pub fn new(access: Validity) -> Self {
        Self {
            access,
            ..Self::default()
        }
    }

    /// What is left of each after so long.
    pub(crate) fn aged(self, age: Duration) -> Self {
        Self {
            access: self.access.aged(age),
            refresh: self.refresh.aged(age),
            refresh_in: self.refresh_in.map(|it| it.saturating_sub(age)),
            refresh_expiry: self.refresh_expiry,
        }
    }

    /// When the access token expires; `None` if that is unknown or never.
    #[must_use]
    pub fn expiry(&self) -> Option<Duration> {
        self.access.total()
    }

    /// `fraction` (0 to 1) of the access token's lifetime, or the server's `refresh_in`.
    ///
    /// `None` if the lifetime is unknown or never ends: then there is nothing to be early for.
    #[must_use]
    pub fn at_fraction(&self, fraction: f64) -> Option<Duration> {
        let fraction = if fraction.is_nan() {
            1.0
        } else {
            fraction.clamp(0.0, 1.0)
        };
        self.early(|total| share(total, fraction))
    }

    /// `window` before the access token's expiry, but not before half its lifetime, or the
    /// server's `refresh_in`. `None` as in [`at_fraction`](Self::at_fraction).
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

    /// Whether the session ends no later than the access token does, so that rotating is useless.
    #[must_use]
    pub fn is_last_of_fixed_session(&self) -> bool {
        match (self.refresh_expiry, self.access, self.refresh) {
            (
                RefreshExpiry::Absolute,
                Validity::Known { total: access },
                Validity::Known { total: refresh },
            ) => access >= refresh,
            _ => false,
        }
    }
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(whole(*span))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }

    fn whole(span: Duration) -> u64 {
        u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) mod option {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            span: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            span.map(super::whole).serialize(serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
        }
    }
}

/// A share (0 to 1) of a span, however long that is: the product of floats may be a little more than the span.
fn share(span: Duration, share: f64) -> Duration {
    let part = Duration::try_from_secs_f64(span.as_secs_f64() * share);
    part.map_or(span, |part| part.min(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_whole_of_the_longest_lifetime_is_that_lifetime() {
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
    fn refresh_in_from_the_server_wins() {
        let mut life = Lifetime::new(MINUTE.into());
        life.refresh_in = Some(Duration::from_secs(7));
        assert_eq!(life.at_fraction(0.8), Some(Duration::from_secs(7)));
        assert_eq!(life.before_expiry(MINUTE), Some(Duration::from_secs(7)));
        life.refresh_in = Some(2 * MINUTE);
        assert_eq!(life.at_fraction(0.8), Some(MINUTE));
    }
}
