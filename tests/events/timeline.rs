//! Events with the times at which they arrive.

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::TestClock;
use evertoken::{EndReason, Event, TokenManager};
use parking_lot::Mutex;

/// The part of an event that a test compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    Rotated,
    Adopted,
    Expiring(Duration),
    Ended(EndReason),
    Other(&'static str),
}

#[derive(Clone)]
pub(crate) struct Timeline(Arc<Mutex<Vec<(Duration, News)>>>);

impl Timeline {
    /// Collects every event of the manager, with the time since this call.
    pub(crate) fn of(tokens: &TokenManager, clock: &TestClock) -> Self {
        let (mut events, clock) = (tokens.subscribe(), clock.clone());
        let start = clock.now();
        let notes = Self(Arc::default());
        let seen = notes.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                seen.0.lock().push((clock.now().since(start), news(&event)));
            }
        });
        notes
    }

    pub(crate) fn all(&self) -> Vec<(Duration, News)> {
        self.0.lock().clone()
    }
}

fn news(event: &Event) -> News {
    match event {
        Event::Rotated { .. } => News::Rotated,
        Event::Adopted { .. } => News::Adopted,
        Event::Expiring { left, .. } => News::Expiring(*left),
        Event::Ended { reason, .. } => News::Ended(reason.clone()),
        Event::Replaced { .. } => News::Other("replaced"),
        Event::Unpersisted { .. } => News::Other("unpersisted"),
        Event::Failed { .. } => News::Other("failed"),
        Event::Lagged { .. } => News::Other("lagged"),
        _ => News::Other("unknown"),
    }
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The time 200 ms before this number of seconds.
pub(crate) fn just_before(n: u64) -> Duration {
    seconds(n) - Duration::from_millis(200)
}
