//! When things happened in an import, for the picture. However long it runs, this takes the same memory.

use std::time::Duration;

/// Some more than a picture has columns.
const BINS: usize = 1_024;

/// Narrower than anything that is seen in a picture.
const FIRST_WIDTH: Duration = Duration::from_millis(25);

/// Rotations that are remembered by themselves: far more than can be told apart in a picture.
const ROTATIONS: usize = 4_096;

/// Counts over time, in bins of one width. When they are full, two become one.
#[derive(Debug, Clone)]
pub(crate) struct Bins {
    width: Duration,
    counts: Vec<u64>,
}

impl Bins {
    pub(crate) fn add(&mut self, at: Duration, count: u64) {
        let mut bin = self.bin(at);
        while bin >= BINS {
            self.counts = self
                .counts
                .chunks(2)
                .map(|pair| pair.iter().sum())
                .collect();
            self.width *= 2;
            bin = self.bin(at);
        }
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += count;
    }

    /// How many were counted from `start` on and before `end`, as if they were spread evenly in a bin.
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

    /// The middles of the bins in which something was counted.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Duration> {
        let counted = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
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

/// All times count from the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    pub(crate) imported: Bins,
    pub(crate) unauthorized: Bins,
    pub(crate) rotations: Vec<Duration>,
    pub(crate) outages: Vec<Outage>,
}

/// Of the token endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    pub(crate) name: &'static str,
    pub(crate) start: Duration,
    /// `None` if it was not over when the import was.
    pub(crate) end: Option<Duration>,
}

impl Timeline {
    pub(crate) fn outage_begins(&mut self, name: &'static str, at: Duration) {
        self.outages.push(Outage {
            name,
            start: at,
            end: None,
        });
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
    fn nothing_is_lost_when_bins_are_merged_and_they_stay_few() {
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
    fn a_span_takes_its_share_of_the_bins_it_cuts() {
        let mut bins = Bins::default();
        bins.add(FIRST_WIDTH * 2, 10);
        assert_eq!(bins.between(FIRST_WIDTH, FIRST_WIDTH * 2), 0.0);
        assert_eq!(bins.between(FIRST_WIDTH, FIRST_WIDTH * 5 / 2), 5.0);
        assert_eq!(bins.between(Duration::ZERO, FIRST_WIDTH * 9), 10.0);
        assert_eq!(bins.moments().collect::<Vec<_>>(), [FIRST_WIDTH * 5 / 2]);
    }
}
