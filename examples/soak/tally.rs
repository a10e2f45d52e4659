//! The counts of a run.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::command::Strategy;
use crate::report::span;

pub(crate) struct Tally {
    started: Instant,
    /// The current outage.
    outage: Mutex<Option<&'static str>>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) outages: u64,
    pub(crate) restarts: u64,
    /// Restarts with an unclean shutdown.
    pub(crate) bad_restarts: u64,
    /// The time of the slowest call that succeeded.
    pub(crate) slowest: Duration,
    /// The first failure of a call or a restart.
    pub(crate) first_failure: Option<String>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            outage: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    pub(crate) fn called(&self, strategy: Strategy, took: Duration, answer: anyhow::Result<()>) {
        let mut counts = self.counts.lock();
        match answer {
            Ok(()) => {
                counts.ok += 1;
                counts.slowest = counts.slowest.max(took);
            }
            Err(error) => {
                counts.failed += 1;
                self.note(&mut counts, strategy, &error);
            }
        }
    }

    pub(crate) fn restarted(&self, strategy: Strategy, restarted: anyhow::Result<()>) {
        let mut counts = self.counts.lock();
        counts.restarts += 1;
        if let Err(error) = restarted {
            counts.bad_restarts += 1;
            self.note(&mut counts, strategy, &error);
        }
    }

    pub(crate) fn outage_begins(&self, what: &'static str) {
        *self.outage.lock() = Some(what);
        self.counts.lock().outages += 1;
    }

    pub(crate) fn outage_ends(&self) {
        *self.outage.lock() = None;
    }

    fn note(&self, counts: &mut Counts, strategy: Strategy, error: &anyhow::Error) {
        let outage = *self.outage.lock();
        counts.first_failure.get_or_insert_with(|| {
            let at = span(self.elapsed());
            let outage = outage.unwrap_or("no outage");
            format!("{strategy}, at {at}, {outage}: {error:#}")
        });
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_is_kept_with_its_time_and_outage() {
        let tally = Tally::new();
        tally.called(Strategy::OnRequest, Duration::from_secs(1), Ok(()));
        tokio::time::advance(Duration::from_secs(65)).await;
        tally.outage_begins("503");
        let slow = Duration::from_secs(36);
        tally.called(Strategy::OnRequest, slow, Err(anyhow!("no token")));
        tally.outage_ends();
        tally.restarted(Strategy::BackgroundTimer, Err(anyhow!("later")));
        let counts = tally.counts();
        assert_eq!((counts.ok, counts.failed, counts.outages), (1, 1, 1));
        assert_eq!((counts.restarts, counts.bad_restarts), (1, 1));
        assert_eq!(counts.slowest, Duration::from_secs(1));
        let first = counts.first_failure.as_deref();
        assert_eq!(first, Some("on-request, at 1m 5s, 503: no token"));
    }
}
