//! Decides *when* a pair is rotated. It does no I/O, keeps no state and reads no clock.
//!
//! A strategy is a pure function from a pair's times to a [`Plan`]: it is asked once per token, and
//! jitter, clamps, back-off and pauses are the manager's. So the same rotation core serves every
//! strategy, a strategy of one's own cannot break the rotation, and all of them pass one test suite.
//!
//! A strategy of your own:
//!
//! ```
//! use evertoken::{Lifetime, Plan, RefreshStrategy};
//!
//! /// Renews a token at half its life, in the background of the request that finds it there.
//! #[derive(Debug)]
//! struct HalfLife;
//!
//! impl RefreshStrategy for HalfLife {
//!     fn plan(&self, life: &Lifetime) -> Plan {
//!         Plan::on_request(life).background_from(life.at_fraction(0.5))
//!     }
//! }
//! ```

mod background_timer;
mod on_request;
mod optimistic_early;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

pub use self::background_timer::BackgroundTimer;
pub use self::on_request::OnRequest;
pub use self::optimistic_early::OptimisticEarly;
use crate::token::Lifetime;

/// Decides when a pair is rotated; asked once per token.
pub trait RefreshStrategy: Debug + Send + Sync + 'static {
    /// The plan for a pair with these times.
    fn plan(&self, life: &Lifetime) -> Plan;
}

impl<S: RefreshStrategy + ?Sized> RefreshStrategy for Arc<S> {
    fn plan(&self, life: &Lifetime) -> Plan {
        (**self).plan(life)
    }
}

/// What a request does while a rotation is under way and the current token is still valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhileRotating {
    /// It goes on with the current token.
    #[default]
    Serve,
    /// It waits for the new token, and goes on with the current one if that does not come.
    Join,
}

/// What a request does that finds the access token expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// It waits for a rotation.
    #[default]
    Rotate,
    /// The session has ended for inactivity.
    End,
}

/// When to rotate one pair. Every time counts from the moment the request that brought the pair was
/// sent, and `None` means never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Past it, a request starts a rotation and is served the current token.
    pub advisory_from: Option<Duration>,
    /// Past it, a request waits for a rotation. The manager moves it before the leeway.
    pub mandatory_from: Option<Duration>,
    /// Then the manager rotates by itself.
    pub wake_at: Option<Duration>,
    /// What requests do while a rotation is under way.
    pub while_rotating: WhileRotating,
    /// What a request does that finds the access token expired.
    pub on_expiry: OnExpiry,
}

impl Plan {
    /// Rotates at the first request past expiry: what every other plan is built from.
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

    /// Past `age`, a request starts a rotation and is served the current token.
    #[must_use]
    pub fn advisory_from(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.advisory_from = age.into();
        self
    }

    /// Past `age`, a request waits for a rotation.
    #[must_use]
    pub fn mandatory_from(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.mandatory_from = age.into();
        self
    }

    /// At `age`, the manager rotates by itself.
    #[must_use]
    pub fn wake_at(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.wake_at = age.into();
        self
    }

    /// What requests do while a rotation is under way.
    #[must_use]
    pub fn while_rotating(mut self, choice: WhileRotating) -> Self {
        self.while_rotating = choice;
        self
    }

    /// What a request does that finds the access token expired.
    #[must_use]
    pub fn on_expiry(mut self, choice: OnExpiry) -> Self {
        self.on_expiry = choice;
        self
    }
}
