//! What an import counts while it runs. Workers add, the progress bar and the report read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::timeline::Timeline;

/// No wait is as long: a manager has its deadline.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(crate) struct Tally {
    started: Instant,
    ok: AtomicU64,
    failed: AtomicU64,
    rotations: AtomicU64,
    unauthorized: AtomicU64,
    first_failure: OnceLock<Failure>,
    /// How long workers waited for a token, in nanoseconds.
    waits: Mutex<Histogram<u64>>,
    timeline: Mutex<Timeline>,
}

/// The first thing that went wrong.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Since the start.
    pub(crate) after: Duration,
    pub(crate) why: String,
}

impl Tally {
    /// Starts the time.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self {
            started: Instant::now(),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rotations: AtomicU64::new(0),
            unauthorized: AtomicU64::new(0),
            first_failure: OnceLock::new(),
            waits: Mutex::new(Histogram::new_with_max(nanos(LONGEST_WAIT), 3)?),
            timeline: Mutex::default(),
        })
    }

    pub(crate) fn imported(&self, records: u64) {
        self.ok.fetch_add(records, Ordering::Relaxed);
        let at = self.elapsed();
        self.timeline.lock().imported.add(at, records);
    }

    pub(crate) fn lost(&self, records: u64, error: &anyhow::Error) {
        self.failed.fetch_add(records, Ordering::Relaxed);
        self.first_failure.get_or_init(|| Failure {
            after: self.elapsed(),
            why: format!("{error:#}"),
        });
    }

    /// The manager has rotated.
    pub(crate) fn rotated(&self) {
        self.rotations.fetch_add(1, Ordering::Relaxed);
        let at = self.elapsed();
        self.timeline.lock().rotated(at);
    }

    /// The token endpoint is out of order from now on.
    pub(crate) fn outage_begins(&self, name: &'static str) {
        let at = self.elapsed();
        self.timeline.lock().outage_begins(name, at);
    }

    pub(crate) fn outage_ends(&self) {
        let at = self.elapsed();
        self.timeline.lock().outage_ends(at);
    }

    /// The API has answered 401 so many times by now.
    pub(crate) fn unauthorized(&self, count: u64) {
        let before = self.unauthorized.fetch_max(count, Ordering::Relaxed);
        if let Some(more @ 1..) = count.checked_sub(before) {
            let at = self.elapsed();
            self.timeline.lock().unauthorized.add(at, more);
        }
    }

    /// A worker waited so long for a token.
    pub(crate) fn waited(&self, span: Duration) {
        self.waits.lock().saturating_record(nanos(span));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn ok(&self) -> u64 {
        self.ok.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Those that were noted: a slow follower misses some.
    pub(crate) fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    pub(crate) fn unauthorized_so_far(&self) -> u64 {
        self.unauthorized.load(Ordering::Relaxed)
    }

    pub(crate) fn timeline(&self) -> Timeline {
        self.timeline.lock().clone()
    }

    pub(crate) fn first_failure(&self) -> Option<&Failure> {
        self.first_failure.get()
    }

    /// The wait that this share of all waits does not exceed; zero if nobody asked for a token.
    pub(crate) fn wait(&self, share: f64) -> Duration {
        Duration::from_nanos(self.waits.lock().value_at_quantile(share))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_of_every_length_are_told_apart() -> anyhow::Result<()> {
        let tally = Tally::start()?;
        assert_eq!(tally.wait(0.99), Duration::ZERO);
        for _ in 0..98 {
            tally.waited(Duration::from_nanos(40));
        }
        tally.waited(Duration::from_millis(25));
        tally.waited(Duration::from_secs(35));
        assert_eq!(tally.wait(0.5), Duration::from_nanos(40));
        assert_eq!(tally.wait(0.99).as_millis(), 25);
        assert_eq!(tally.wait(1.0).as_secs(), 35);
        Ok(())
    }
}
