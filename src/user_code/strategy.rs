use std::sync::{Arc, LazyLock};

use super::caught;
use crate::strategy::{OnRequest, Plan, RefreshStrategy};
use crate::token::Lifetime;

/// A user's strategy, as the crate calls it.
#[derive(Debug, Clone)]
pub(crate) struct UserStrategy(Arc<dyn RefreshStrategy>);

impl UserStrategy {
    pub(crate) fn new(code: Arc<dyn RefreshStrategy>) -> Self {
        Self(code)
    }

    /// The default, which all managers share.
    pub(crate) fn on_request() -> Self {
        static ON_REQUEST: LazyLock<Arc<dyn RefreshStrategy>> =
            LazyLock::new(|| Arc::new(OnRequest::default()));
        Self(Arc::clone(&ON_REQUEST))
    }

    /// Its plan; after a panic, to rotate on request.
    pub(crate) fn plan(&self, life: &Lifetime) -> Plan {
        caught("RefreshStrategy::plan", || self.0.plan(life))
            .unwrap_or_else(|| Plan::on_request(life))
    }
}
