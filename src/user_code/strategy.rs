use std::sync::Arc;

use super::caught;
use crate::strategy::{Plan, RefreshStrategy};
use crate::token::Lifetime;

/// A user's strategy, as the crate calls it.
#[derive(Debug)]
pub(crate) struct UserStrategy(Arc<dyn RefreshStrategy>);

impl UserStrategy {
    pub(crate) fn new(code: Arc<dyn RefreshStrategy>) -> Self {
        Self(code)
    }

    /// Its plan; after a panic, to rotate on request.
    pub(crate) fn plan(&self, life: &Lifetime) -> Plan {
        caught("RefreshStrategy::plan", || self.0.plan(life))
            .unwrap_or_else(|| Plan::on_request(life))
    }
}
