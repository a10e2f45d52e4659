use std::time::Duration;

use super::{OnExpiry, Plan, RefreshStrategy};
use crate::token::Lifetime;

/// Rotates at the first request inside a window before expiry; that request and all others go on
/// with the token that is still valid, so nobody waits.
///
/// For gateways and busy imports: where another client was faster, the refusal harms nobody and the
/// newer pair is found at the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptimisticEarly {
    window: Duration,
    on_expiry: OnExpiry,
}

impl OptimisticEarly {
    /// How long before expiry a request starts a rotation; half the lifetime at most. Default: 60 s.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// [`OnExpiry::End`] makes the token's lifetime an inactivity limit: a session without a request
    /// in the window ends. Default: [`OnExpiry::Rotate`].
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
