//! How long the way to a server takes, and back.

use std::time::Duration;

/// Half of it is for the request, half for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    there: Duration,
    back: Duration,
}

impl Latency {
    pub(super) fn of(whole: Duration) -> Self {
        // Timers go by milliseconds: two halves of an odd number would take one too many.
        let half = (whole / 2).as_millis();
        let there = Duration::from_millis(u64::try_from(half).unwrap_or(u64::MAX));
        Self {
            there,
            back: whole.saturating_sub(there),
        }
    }

    /// The request is on its way.
    pub(super) async fn there(self) {
        pass(self.there).await;
    }

    /// The answer is.
    pub(super) async fn back(self) {
        pass(self.back).await;
    }
}

/// Waits so long; without a look at a timer if that is no time.
pub(super) async fn pass(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}
