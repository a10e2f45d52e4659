use super::{Plan, RefreshStrategy, WhileRotating};
use crate::token::Lifetime;

/// Rotates by a timer, at a fraction of the access token's lifetime, whether requests come or not.
///
/// For services that are idle for long and must stay signed in. A request waits only for a rotation
/// that is under way. A *fixed* session whose access token lives as long as its refresh token is not
/// rotated: nothing would be gained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackgroundTimer {
    at_fraction: f64,
}

impl BackgroundTimer {
    /// The fraction (0 to 1) of the lifetime at which to rotate. Default: 0.8.
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
            // Nor does a request shortly before the end: it would be given what is left of the session.
            return plan.mandatory_from(None);
        }
        plan.wake_at(life.at_fraction(self.at_fraction))
    }
}
