use std::sync::Arc;

use crate::clock::{Clock, Timestamp};

/// Until when a leased token may be sent.
///
/// The lease that protects a token goes stale after its duration, and others may then act on it. A
/// request that sat in a connection attempt, or on a machine that slept, must not leave after that.
#[derive(Debug, Clone)]
pub struct SendWindow {
    clock: Arc<dyn Clock>,
    ends_at: Timestamp,
}

impl SendWindow {
    /// Until `ends_at`, by `clock`. The manager makes those that matter; one of your own is for a test
    /// of an endpoint of your own.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, ends_at: Timestamp) -> Self {
        Self { clock, ends_at }
    }

    /// Whether the grant may still be sent. If not, the endpoint answers
    /// [`EndpointError::NotSent`](crate::EndpointError::NotSent).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.clock.now() < self.ends_at
    }
}
