//! What an import counts while it runs, and when. Workers add; the progress bar, the report and the picture read. The memory
//! that this takes does not grow with the length of an import.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{Event, Events};
use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Waits are shorter: a manager has a deadline.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(crate) struct Tally {
    started: Instant,
    counts: Mutex<Counts>,
    /// The waits of workers for a token, in nanoseconds.
    waits: Mutex<Histogram<u64>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Records that were imported.
    pub(crate) ok: u64,
    /// Records that failed.
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<Failure>,
    /// Rotations that [`Tally::follow`] counted: a slow follower misses some.
    pub(crate) rotations: u64,
    /// Calls that the API answered with 401.
    pub(crate) unauthorized: u64,
    pub(crate) timeline: Timeline,
}

/// The first failure of an import.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The time since the start.
    pub(crate) after: Duration,
    pub(crate) why: String,
}

impl Tally {
    /// Starts the clock.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self {
            started: Instant::now(),
            counts: Mutex::default(),
            waits: Mutex::new(Histogram::new_with_max(nanos(LONGEST_WAIT), 3)?),
        })
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    pub(crate) fn imported(&self, records: u64) {
        let mut counts = self.counts();
        counts.ok += records;
        counts.timeline.imported.add(self.elapsed(), records);
    }

    pub(crate) fn lost(&self, records: u64, error: &anyhow::Error) {
        let mut counts = self.counts();
        counts.failed += records;
        counts.first_failure.get_or_insert_with(|| Failure {
            after: self.elapsed(),
            why: format!("{error:#}"),
        });
    }

    /// Counts the manager's rotations until the manager is gone.
    pub(crate) async fn follow(self: Arc<Self>, mut events: Events) {
        while let Some(event) = events.recv().await {
            if let Event::Rotated { .. } = event {
                let mut counts = self.counts();
                counts.rotations += 1;
                counts.timeline.rotated(self.elapsed());
            }
        }
    }

    /// An outage of the token endpoint begins.
    pub(crate) fn outage_begins(&self, name: &'static str) {
        let at = self.elapsed();
        self.counts().timeline.outage_begins(name, at);
    }

    pub(crate) fn outage_ends(&self) {
        let at = self.elapsed();
        self.counts().timeline.outage_ends(at);
    }

    /// The API has answered so many calls with 401 so far.
    pub(crate) fn unauthorized(&self, count: u64) {
        let mut counts = self.counts();
        if let Some(more @ 1..) = count.checked_sub(counts.unauthorized) {
            counts.unauthorized = count;
            counts.timeline.unauthorized.add(self.elapsed(), more);
        }
    }

    /// A worker has waited for a token.
    pub(crate) fn waited(&self, span: Duration) {
        self.waits.lock().saturating_record(nanos(span));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The wait that this share of all waits does not exceed; zero if no worker waited for a token.
    pub(crate) fn wait(&self, share: f64) -> Duration {
        Duration::from_nanos(self.waits.lock().value_at_quantile(share))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// More bins than a picture has columns.
const BINS: usize = 1_024;

/// Narrower than the details of a picture.
const FIRST_WIDTH: Duration = Duration::from_millis(25);

/// Rotations that are remembered one by one: a picture cannot show so many.
const ROTATIONS: usize = 4_096;

/// Counts over time, in bins of the same width. When all bins are used, each two are merged into one.
#[derive(Debug, Clone)]
pub(crate) struct Bins {
    width: Duration,
    counts: Vec<u64>,
}

impl Bins {
    pub(crate) fn add(&mut self, at: Duration, count: u64) {
        let mut bin = self.bin(at);
        while bin >= BINS {
            let pairs = self.counts.chunks(2);
            self.counts = pairs.map(|pair| pair.iter().sum()).collect();
            self.width *= 2;
            bin = self.bin(at);
        }
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += count;
    }

    /// The count from `start` to `end`, as if the count of a bin were spread evenly.
    pub(crate) fn between(&self, start: Duration, end: Duration) -> f64 {
        let width = self.width.as_secs_f64();
        let (start, end) = (start.as_secs_f64() / width, end.as_secs_f64() / width);
        let share = |bin: usize| {
            let bin = bin as f64;
            (end.min(bin + 1.0) - start.max(bin)).max(0.0)
        };
        let counts = self.counts.iter().enumerate();
        counts.map(|(bin, count)| *count as f64 * share(bin)).sum()
    }

    /// The middles of the bins with a count above zero.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Duration> {
        let bins = self.counts.iter().enumerate();
        let counted = bins.filter(|(_, count)| **count > 0);
        counted.map(|(bin, _)| self.width.mul_f64(bin as f64 + 0.5))
    }

    fn bin(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX)
    }
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            width: FIRST_WIDTH,
            counts: Vec::new(),
        }
    }
}

/// When each thing happened, since the start of the import.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    pub(crate) imported: Bins,
    pub(crate) unauthorized: Bins,
    pub(crate) rotations: Vec<Duration>,
    pub(crate) outages: Vec<Outage>,
}

/// An outage of the token endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    pub(crate) name: &'static str,
    pub(crate) start: Duration,
    /// `None` if the outage lasted beyond the end of the import.
    pub(crate) end: Option<Duration>,
}

impl Timeline {
    pub(crate) fn outage_begins(&mut self, name: &'static str, start: Duration) {
        let end = None;
        self.outages.push(Outage { name, start, end });
    }

    pub(crate) fn outage_ends(&mut self, at: Duration) {
        if let Some(outage) = self.outages.last_mut() {
            outage.end.get_or_insert(at);
        }
    }

    pub(crate) fn rotated(&mut self, at: Duration) {
        if self.rotations.len() < ROTATIONS {
            self.rotations.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_from_nanoseconds_to_half_a_minute_are_distinguished() -> anyhow::Result<()> {
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

    #[test]
    fn merged_bins_keep_the_counts_and_stay_below_the_limit() {
        let mut bins = Bins::default();
        for second in 0..100_000 {
            bins.add(Duration::from_secs(second), 3);
        }
        assert!(bins.counts.len() <= BINS);
        assert_eq!(bins.counts.iter().sum::<u64>(), 300_000);
        let hour = bins.between(Duration::from_secs(3_600), Duration::from_secs(7_200));
        assert!((hour - 10_800.0).abs() < 1.0, "{hour}");
    }

    #[test]
    fn a_span_gets_its_share_of_the_bins_that_it_cuts() {
        let mut bins = Bins::default();
        bins.add(FIRST_WIDTH * 2, 10);
        assert_eq!(bins.between(FIRST_WIDTH, FIRST_WIDTH * 2), 0.0);
        assert_eq!(bins.between(FIRST_WIDTH, FIRST_WIDTH * 5 / 2), 5.0);
        assert_eq!(bins.between(Duration::ZERO, FIRST_WIDTH * 9), 10.0);
        assert_eq!(bins.moments().collect::<Vec<_>>(), [FIRST_WIDTH * 5 / 2]);
    }
}
