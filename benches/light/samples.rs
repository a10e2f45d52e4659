//! Samples of which those are dropped in which other processes had the processor.

use std::time::Duration;

/// As many as a median is taken of.
pub(crate) const WANTED: usize = 15;

/// When no more are tried.
const MOST: usize = 45;

/// Fewer undisturbed ones say too little.
const LEAST: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Samples {
    quiet: Vec<f64>,
    disturbed: Vec<f64>,
}

impl Samples {
    pub(crate) fn add(&mut self, value: f64, is_quiet: bool) {
        match is_quiet {
            true => self.quiet.push(value),
            false => self.disturbed.push(value),
        }
    }

    pub(crate) fn are_enough(&self) -> bool {
        self.quiet.len() >= WANTED || self.quiet.len() + self.disturbed.len() >= MOST
    }

    pub(crate) fn median(&self) -> f64 {
        let mut values = self.quiet.clone();
        if values.len() < LEAST {
            values.extend(&self.disturbed);
        }
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// How many the median is of, and of how many.
    pub(crate) fn count(&self) -> String {
        let all = self.quiet.len() + self.disturbed.len();
        match self.quiet.len() {
            quiet if quiet < LEAST => format!("{all}, disturbed"),
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
