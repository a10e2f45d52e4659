//! Whether something grew.
//!
//! A run has four quarters. The first is warm-up: connections are made, the allocator takes what it needs, and each
//! record comes to remember as many past tokens as it may (256, which takes seven minutes). The least value of the last
//! quarter is compared with the least value of the second: a leak raises the least value, and an outage, in which tasks
//! wait, does not.

use std::time::Duration;

use serde::Serialize;

use crate::process::Sample;

/// Memory may grow by a tenth..
const SHARE: u64 = 10;

/// .. and by this: an allocator gives little back, and the records of a short run still grow.
const ALLOWANCE: u64 = 2 * 1024 * 1024;

/// The least values of each quarter of a run.
#[derive(Debug)]
pub(crate) struct Quarters {
    length: Duration,
    /// So many more tasks, and so many more descriptors, are not growth.
    spare: u64,
    least: [Option<Sample>; 4],
}

/// One thing that must not grow. Without a limit, it could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) second_quarter: Option<u64>,
    pub(crate) last_quarter: Option<u64>,
    pub(crate) at_most: Option<u64>,
    pub(crate) flat: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Judgement {
    pub(crate) memory: Verdict,
    pub(crate) tasks: Verdict,
    pub(crate) descriptors: Verdict,
}

impl Quarters {
    pub(crate) fn of(run_time: Duration, spare: u64) -> Self {
        Self {
            length: run_time / 4,
            spare,
            least: [None; 4],
        }
    }

    /// What was measured so long after the start; nothing after the end counts.
    pub(crate) fn note(&mut self, elapsed: Duration, sample: Sample) {
        let quarter = elapsed.as_nanos() / self.length.as_nanos().max(1);
        let quarter = usize::try_from(quarter).unwrap_or(usize::MAX);
        if let Some(least) = self.least.get_mut(quarter) {
            *least = Some(least.map_or(sample, |least| least.least(sample)));
        }
    }

    /// `None` if the run was not long enough to say.
    pub(crate) fn judged(&self) -> Option<Judgement> {
        let [_, Some(second), _, Some(last)] = self.least else {
            return None;
        };
        let memory = |bytes: u64| bytes + bytes / SHARE + ALLOWANCE;
        let count = |count: u64| count + self.spare;
        Some(Judgement {
            memory: Verdict::of(second.memory, last.memory, memory),
            tasks: Verdict::of(Some(second.tasks), Some(last.tasks), count),
            descriptors: Verdict::of(second.descriptors, last.descriptors, count),
        })
    }
}

impl Sample {
    fn least(self, other: Self) -> Self {
        Self {
            memory: self.memory.min(other.memory),
            tasks: self.tasks.min(other.tasks),
            descriptors: self.descriptors.min(other.descriptors),
        }
    }
}

impl Verdict {
    fn of(second: Option<u64>, last: Option<u64>, allowed: impl Fn(u64) -> u64) -> Self {
        let at_most = second.map(allowed);
        Self {
            second_quarter: second,
            last_quarter: last,
            at_most,
            // What is not known is not held against the run.
            flat: last.zip(at_most).is_none_or(|(last, most)| last <= most),
        }
    }
}

impl Judgement {
    pub(crate) fn is_flat(&self) -> bool {
        self.memory.flat && self.tasks.flat && self.descriptors.flat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn sample(memory: u64, tasks: u64, descriptors: u64) -> Sample {
        Sample {
            memory: Some(memory),
            tasks,
            descriptors: Some(descriptors),
        }
    }

    /// Of a run of 40 s with two samples in each quarter.
    fn judged(samples: [Sample; 8]) -> Option<Judgement> {
        let mut quarters = Quarters::of(Duration::from_secs(40), 0);
        for (number, sample) in (0..).zip(samples) {
            quarters.note(Duration::from_secs(5 * number), sample);
        }
        quarters.judged()
    }

    #[test]
    fn a_run_whose_low_points_stay_is_flat_whatever_its_peaks() {
        let (low, peak) = (sample(20 * MIB, 50, 40), sample(90 * MIB, 400, 300));
        let judgement = judged([low, peak, low, peak, peak, low, peak, low]).unwrap();
        assert!(judgement.is_flat(), "{judgement:?}");
    }

    #[test]
    fn warm_up_and_the_third_quarter_are_not_compared() {
        let (small, large) = (sample(MIB, 1, 1), sample(20 * MIB, 50, 40));
        let judgement = judged([small, small, large, large, small, small, large, large]);
        assert!(judgement.is_some_and(|judgement| judgement.is_flat()));
    }

    #[test]
    fn memory_may_grow_by_a_tenth_and_two_mebibytes() {
        let before = sample(20 * MIB, 50, 40);
        for (memory, flat) in [(24 * MIB, true), (24 * MIB + 1, false)] {
            let after = sample(memory, 50, 40);
            let [a, b] = [before, after];
            let judgement = judged([a, a, a, a, a, a, b, b]).unwrap();
            assert_eq!(judgement.memory.at_most, Some(24 * MIB));
            assert_eq!(judgement.memory.flat, flat);
            assert_eq!(judgement.is_flat(), flat);
        }
    }

    #[test]
    fn one_task_or_one_descriptor_more_is_growth_and_one_less_is_not() {
        let a = sample(20 * MIB, 50, 40);
        for (b, flat) in [
            (sample(20 * MIB, 51, 40), false),
            (sample(20 * MIB, 50, 41), false),
            (sample(20 * MIB, 49, 39), true),
        ] {
            let judgement = judged([a, a, a, a, a, a, b, b]).unwrap();
            assert_eq!(judgement.is_flat(), flat, "{judgement:?}");
        }
    }

    #[test]
    fn spare_tasks_and_descriptors_are_not_growth() {
        let mut quarters = Quarters::of(Duration::from_secs(40), 2);
        quarters.note(Duration::from_secs(15), sample(MIB, 50, 40));
        quarters.note(Duration::from_secs(35), sample(MIB, 52, 43));
        let judgement = quarters.judged().unwrap();
        assert!(
            judgement.tasks.flat && !judgement.descriptors.flat,
            "{judgement:?}"
        );
    }

    #[test]
    fn what_cannot_be_measured_is_not_held_against_a_run() {
        let a = Sample {
            memory: None,
            tasks: 50,
            descriptors: None,
        };
        let judgement = judged([a; 8]).unwrap();
        assert_eq!(judgement.memory.at_most, None);
        assert!(judgement.is_flat());
    }

    #[test]
    fn a_run_that_was_interrupted_is_not_judged() {
        let mut quarters = Quarters::of(Duration::from_secs(40), 0);
        for second in 0..30 {
            quarters.note(Duration::from_secs(second), sample(MIB, 1, 1));
        }
        assert_eq!(quarters.judged(), None);
        // It ends with its last moment.
        quarters.note(Duration::from_secs(40), sample(MIB, 1, 1));
        assert_eq!(quarters.judged(), None);
        quarters.note(Duration::from_secs(39), sample(MIB, 1, 1));
        assert!(quarters.judged().is_some());
    }
}
