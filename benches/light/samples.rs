//! Samples, and how much other processes had of the processor meanwhile.

use std::time::Duration;

/// As many as a median is taken of.
const WANTED: usize = 15;

/// When no more are tried.
const MOST: usize = 30;

/// Fewer undisturbed ones say too little.
const LEAST: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Sample>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// By which those are chosen that count.
    pub(crate) disturbance: f64,
    /// Whether it is so little that the sample counts in any case.
    pub(crate) is_quiet: bool,
}

impl Samples {
    pub(crate) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(crate) fn are_enough(&self) -> bool {
        self.quiet() >= WANTED || self.0.len() >= MOST
    }

    fn quiet(&self) -> usize {
        self.0.iter().filter(|sample| sample.is_quiet).count()
    }

    /// Of the undisturbed ones, or of the least disturbed third where there are too few of these.
    pub(crate) fn median(&self) -> f64 {
        let mut samples = self.0.clone();
        samples.sort_by(|a, b| a.disturbance.total_cmp(&b.disturbance));
        match self.quiet() {
            ..LEAST => samples.truncate(samples.len().div_ceil(3)),
            _ => samples.retain(|sample| sample.is_quiet),
        }
        samples.sort_by(|a, b| a.value.total_cmp(&b.value));
        let middle = samples.get(samples.len() / 2);
        middle.map_or(f64::NAN, |sample| sample.value)
    }

    /// How many the median is of, and of how many.
    pub(crate) fn count(&self) -> String {
        let all = self.0.len();
        match self.quiet() {
            ..LEAST => format!("{} of {all}, disturbed", all.div_ceil(3)),
            quiet => format!("{quiet} of {all}"),
        }
    }
}

/// Of all threads of this process.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

/// How long the threads of this process that there are now have waited for a processor; zero where the system does not
/// say.
pub(crate) fn waited_for_processor() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let waited = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}
