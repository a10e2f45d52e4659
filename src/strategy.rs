//! Strategies decide *when* a pair is rotated. A strategy does no I/O, keeps no state and reads no clock.
//!
//! A strategy is a pure function from a pair's times to a [`Plan`]. The manager asks the strategy once per token,
//! and adds jitter, clamps, back-off and pauses itself. For that reason one rotation core serves every strategy,
//! a user's strategy cannot break the rotation, and every strategy passes the same test suite.
//!
//! A strategy of your own:
//!
//! ```
//! use evertoken::{Lifetime, Plan, RefreshStrategy};
//!
//! /// A request past half the token's lifetime starts a rotation in the background.
//! #[derive(Debug)]
//! struct HalfLife;
//!
//! impl RefreshStrategy for HalfLife {
//!     fn plan(&self, life: &Lifetime) -> Plan {
//!         Plan::on_request(life).advisory_from(life.at_fraction(0.5))
//!     }
//! }
//! ```

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
#[cfg(feature = "config")]
use serde::de::DeserializeOwned;
use serde::de::{Deserializer, Error as _};

use crate::clock::span::positive;
use crate::token::Lifetime;

/// Decides when a pair is rotated. The manager asks a strategy once per token.
pub trait RefreshStrategy: Debug + Send + Sync + 'static {
    /// Returns the plan for a pair with these times.
    fn plan(&self, life: &Lifetime) -> Plan;
}

impl<S: RefreshStrategy + ?Sized> RefreshStrategy for Arc<S> {
    fn plan(&self, life: &Lifetime) -> Plan {
        (**self).plan(life)
    }
}

/// The strategies of the crate, each by its name in a configuration. Such a strategy reads its own parameters, and has a
/// default for each.
#[cfg(feature = "config")]
pub(crate) fn builtin<R: Strategies>(registry: R) -> R {
    registry
        .strategy_type::<OnRequest>("on-request")
        .strategy_type::<BackgroundTimer>("background-timer")
        .strategy_type::<OptimisticEarly>("optimistic-early")
}

/// A registry, which gets the strategies of the crate.
#[cfg(feature = "config")]
pub(crate) trait Strategies {
    fn strategy_type<S: RefreshStrategy + DeserializeOwned>(self, name: &str) -> Self;
}

/// Reads a share of a lifetime. At a share of 0, a manager would rotate without end.
fn fraction<'de, D, F>(deserializer: D) -> Result<F, D::Error>
where
    D: Deserializer<'de>,
    F: Deserialize<'de> + Into<Option<f64>> + Copy,
{
    let fraction = F::deserialize(deserializer)?;
    match fraction.into() {
        Some(share) if !(f64::MIN_POSITIVE..=1.0).contains(&share) => {
            Err(D::Error::custom("must be more than 0 and at most 1"))
        }
        _ => Ok(fraction),
    }
}

/// What a request does while a rotation is under way and the current token is still valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhileRotating {
    /// The request uses the current token.
    #[default]
    Serve,
    /// The request waits for the new token, and uses the current one if the rotation fails.
    Join,
}

/// What a request does when the access token has expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// The request waits for a rotation.
    #[default]
    Rotate,
    /// The request gets an error: the session has ended for inactivity.
    End,
}

/// When to rotate one pair. Every time counts from the moment when the request for the pair was sent, and `None`
/// means never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// After this time, a request starts a rotation and gets the current token.
    pub advisory_from: Option<Duration>,
    /// After this time, a request waits for a rotation. The manager moves the time before the leeway.
    pub mandatory_from: Option<Duration>,
    /// At this time, the manager rotates without a request.
    pub wake_at: Option<Duration>,
    /// What requests do while a rotation is under way.
    pub while_rotating: WhileRotating,
    /// What a request does when the access token has expired.
    pub on_expiry: OnExpiry,
}

impl Plan {
    /// Makes a plan that rotates at the first request after expiry. Every other plan is built from this one.
    #[must_use]
    pub fn on_request(life: &Lifetime) -> Self {
        Self {
            advisory_from: None,
            mandatory_from: life.expiry(),
            wake_at: None,
            while_rotating: WhileRotating::default(),
            on_expiry: OnExpiry::default(),
        }
    }

    /// Sets the age after which a request starts a rotation and gets the current token.
    #[must_use]
    pub fn advisory_from(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.advisory_from = age.into();
        self
    }

    /// Sets the age after which a request waits for a rotation.
    #[must_use]
    pub fn mandatory_from(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.mandatory_from = age.into();
        self
    }

    /// Sets the age at which the manager rotates without a request.
    #[must_use]
    pub fn wake_at(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.wake_at = age.into();
        self
    }

    /// Sets what requests do while a rotation is under way.
    #[must_use]
    pub fn while_rotating(mut self, choice: WhileRotating) -> Self {
        self.while_rotating = choice;
        self
    }

    /// Sets what a request does when the access token has expired.
    #[must_use]
    pub fn on_expiry(mut self, choice: OnExpiry) -> Self {
        self.on_expiry = choice;
        self
    }
}

/// Rotates at the next request after the access token has expired, and does nothing while idle.
///
/// For tools that run and end: no background task, and no exchange without a request. A request that finds the
/// token expired waits for one exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnRequest {
    #[serde(deserialize_with = "fraction")]
    at_fraction: Option<f64>,
}

impl OnRequest {
    /// Sets the fraction (0 to 1) of the lifetime after which a request starts a rotation in the background. Default:
    /// none, so that only expiry starts a rotation.
    #[must_use]
    pub fn at_fraction(mut self, fraction: f64) -> Self {
        self.at_fraction = Some(fraction);
        self
    }
}

impl RefreshStrategy for OnRequest {
    fn plan(&self, life: &Lifetime) -> Plan {
        let early = self
            .at_fraction
            .and_then(|fraction| life.at_fraction(fraction));
        Plan::on_request(life).advisory_from(early.or(life.refresh_in))
    }
}

/// Rotates by a timer, at a fraction of the access token's lifetime, with or without requests.
///
/// For services that are idle for long and must stay signed in. A request waits only for a rotation that is under
/// way. A session with an [absolute](crate::RefreshExpiry::Absolute) end is not rotated any more once the access
/// token lives as long as the refresh token, because a rotation would not prolong the session.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackgroundTimer {
    #[serde(deserialize_with = "fraction")]
    at_fraction: f64,
}

impl BackgroundTimer {
    /// Sets the fraction (0 to 1) of the lifetime at which to rotate. Default: 0.8.
    #[must_use]
    pub fn at_fraction(mut self, fraction: f64) -> Self {
        self.at_fraction = fraction;
        self
    }
}

impl Default for BackgroundTimer {
    fn default() -> Self {
        Self { at_fraction: 0.8 }
    }
}

impl RefreshStrategy for BackgroundTimer {
    fn plan(&self, life: &Lifetime) -> Plan {
        let plan = Plan::on_request(life).while_rotating(WhileRotating::Join);
        if life.is_last_of_fixed_session() {
            // A request shortly before the end does not rotate either: the new token would end with the session.
            return plan.mandatory_from(None);
        }
        plan.wake_at(life.at_fraction(self.at_fraction))
    }
}

/// Rotates at the first request inside a window before expiry. That request and all others use the token that is
/// still valid, so a request does not wait.
///
/// For gateways and busy imports. Where another client was faster, the server's refusal does no harm, and the next
/// request finds the newer pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimisticEarly {
    #[serde(deserialize_with = "positive")]
    window: Duration,
    on_expiry: OnExpiry,
}

impl OptimisticEarly {
    /// Sets how long before expiry a request starts a rotation; half the lifetime at most. Default: 60 s.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets what a request does when the access token has expired. [`OnExpiry::End`] makes the token's lifetime an
    /// inactivity limit: a session without a request in the window ends. Default: [`OnExpiry::Rotate`].
    #[must_use]
    pub fn on_expiry(mut self, choice: OnExpiry) -> Self {
        self.on_expiry = choice;
        self
    }
}

impl Default for OptimisticEarly {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            on_expiry: OnExpiry::default(),
        }
    }
}

impl RefreshStrategy for OptimisticEarly {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life)
            .advisory_from(life.before_expiry(self.window))
            .on_expiry(self.on_expiry)
    }
}
