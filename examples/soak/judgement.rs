//! The measurement of this process, and the judgement whether something grew.
//!
//! A run has four quarters. The first quarter is warm-up: connections are opened, the allocator takes the memory that it
//! needs, and each record fills its list of past tokens (256, which takes seven minutes). The judgement compares the least
//! value of the last quarter with the least value of the second: a leak raises the least value, and an outage, in which tasks
//! wait, does not.

use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;

/// Memory may grow by a tenth and by [`ALLOWANCE`].
const SHARE: u64 = 10;

/// An allocator returns little memory, and the records of a short run still grow.
const ALLOWANCE: u64 = 2 * 1024 * 1024;

/// The least values of each quarter of a run.
#[derive(Debug)]
pub(crate) struct Quarters {
    length: Duration,
    /// The number of additional tasks, and of additional descriptors, that does not count as growth.
    spare: u64,
    least: [Option<Sample>; 4],
}

/// The verdict on one quantity. Without a limit, the quantity could not be measured.
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

    /// Notes a sample by its time since the start; samples after the end do not count.
    pub(crate) fn note(&mut self, elapsed: Duration, sample: Sample) {
        let quarter = elapsed.as_nanos() / self.length.as_nanos().max(1);
        let quarter = usize::try_from(quarter).unwrap_or(usize::MAX);
        if let Some(least) = self.least.get_mut(quarter) {
            *least = Some(least.map_or(sample, |least| least.least(sample)));
        }
    }

    /// `None` if a quarter has no sample.
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
            // A quantity that could not be measured counts as flat.
            flat: last.zip(at_most).is_none_or(|(last, most)| last <= most),
        }
    }
}

impl Judgement {
    pub(crate) fn is_flat(&self) -> bool {
        self.memory.flat && self.tasks.flat && self.descriptors.flat
    }
}

/// The memory, tasks and descriptors of this process. Memory and descriptors are known on Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Resident memory, in bytes.
    pub(crate) memory: Option<u64>,
    /// Live tasks of the runtime.
    pub(crate) tasks: u64,
    /// Open descriptors: files, sockets and pipes.
    pub(crate) descriptors: Option<u64>,
}

impl Sample {
    pub(crate) fn take() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").ok();
        Self {
            memory: status.as_deref().and_then(resident),
            tasks: Handle::current().metrics().num_alive_tasks() as u64,
            descriptors: descriptors(),
        }
    }
}

/// The resident memory in a `/proc/<pid>/status`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let resident = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes = resident.trim().strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn descriptors() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One descriptor is of the directory itself.
    open.checked_sub(1)
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

    /// The judgement of a run of 40 s with two samples in each quarter.
    fn judged(samples: [Sample; 8]) -> Option<Judgement> {
        let mut quarters = Quarters::of(Duration::from_secs(40), 0);
        for (number, sample) in (0..).zip(samples) {
            quarters.note(Duration::from_secs(5 * number), sample);
        }
        quarters.judged()
    }

    #[test]
    fn a_run_with_constant_low_points_is_flat_whatever_its_peaks() {
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
    fn one_more_task_or_descriptor_is_growth_and_one_less_is_not() {
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
        assert!(judgement.tasks.flat, "{judgement:?}");
        assert!(!judgement.descriptors.flat, "{judgement:?}");
    }

    #[test]
    fn a_quantity_that_cannot_be_measured_counts_as_flat() {
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
        // A sample at the end of the run does not count.
        quarters.note(Duration::from_secs(40), sample(MIB, 1, 1));
        assert_eq!(quarters.judged(), None);
        quarters.note(Duration::from_secs(39), sample(MIB, 1, 1));
        assert!(quarters.judged().is_some());
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tsoak\nVmHWM:\t   14000 kB\nVmRSS:\t   13312 kB\nThreads:\t3\n";
        assert_eq!(resident(status), Some(13_312 * 1024));
    }

    #[test]
    fn a_status_without_resident_memory_is_unknown() {
        for status in [
            "",
            "Name:\tsoak\n",
            "VmRSS:\n",
            "VmRSS:\t12 MB\n",
            "VmRSS:\tmany kB\n",
            "VmRSS:\t18446744073709551615 kB\n",
        ] {
            assert_eq!(resident(status), None, "{status:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_open_file_and_a_started_task_are_counted() {
        let before = Sample::take();
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let task = tokio::spawn(std::future::pending::<()>());
        let after = Sample::take();
        assert_eq!(after.tasks, before.tasks + 1);
        // Other tests of this program open files too.
        assert!(after.descriptors.is_some_and(|open| open > 3));
        assert!(after.memory.is_some_and(|bytes| bytes > 1024 * 1024));
        task.abort();
        drop(file);
    }
}
