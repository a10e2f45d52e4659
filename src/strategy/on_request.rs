use super::{Plan, RefreshStrategy};
use crate::token::Lifetime;

/// Rotates at the next request after the access token has expired, and does nothing while idle.
///
/// For tools that run and end: no task, no call that nobody asked for. The request that finds the
/// token expired waits for one exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OnRequest {
    at_fraction: Option<f64>,
}

impl OnRequest {
    /// Already a request past this fraction (0 to 1) of the lifetime starts a rotation, in the
    /// background. Default: none, only expiry does.
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
