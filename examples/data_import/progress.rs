//! The progress bars on standard error, one for each strategy.

use std::io::{self, Write};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::arguments::Arguments;
use crate::checkpoint::Checkpoint;
use crate::command::Strategy;
use crate::tally::Tally;

const TEMPLATE: &str = "{prefix:16} {bar:28} {percent:>3}%  {msg}";

pub(crate) struct Progress {
    bars: MultiProgress,
    style: ProgressStyle,
    unit: Unit,
    total: u64,
}

/// The unit of a bar's length.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Records,
    /// For a file: its number of records is unknown until it is read.
    Bytes,
}

impl Progress {
    pub(crate) fn new(arguments: &Arguments, is_shown: bool) -> Self {
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style =
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let (unit, total) = match (arguments.count(), &arguments.input) {
            (None, Some(path)) => (Unit::Bytes, path.metadata().map_or(0, |file| file.len())),
            (count, _) => (Unit::Records, count.unwrap_or_default()),
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            style: style.progress_chars("=> "),
            unit,
            total,
        }
    }

    /// Writes a line without breaking bars on the same terminal.
    pub(crate) fn note(&self, err: &mut impl Write, line: &str) -> io::Result<()> {
        self.bars.suspend(|| writeln!(err, "{line}"))
    }

    /// A bar that starts at the progress of the checkpoint.
    pub(crate) fn bar(&self, strategy: Strategy, checkpoint: &Checkpoint) -> Bar {
        let bar = ProgressBar::new(self.total)
            .with_style(self.style.clone())
            .with_prefix(strategy.name())
            .with_position(match self.unit {
                Unit::Records => checkpoint.records(),
                Unit::Bytes => checkpoint.bytes,
            });
        Bar {
            bar: self.bars.add(bar),
            unit: self.unit,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    unit: Unit,
}

impl Bar {
    /// Shows what the import waits for, until the next batch is done.
    pub(crate) fn waits(&self, what: &str) {
        self.bar.set_message(format!("waits {what}"));
    }

    /// Counts a batch that was imported or has failed.
    pub(crate) fn advance(&self, records: u64, bytes: u64, tally: &Tally) {
        let counts = tally.counts();
        self.bar.set_message(format!(
            "ok {}  failed {}  rotations {}  401s {}",
            HumanCount(counts.ok),
            HumanCount(counts.failed),
            counts.rotations,
            counts.unauthorized,
        ));
        drop(counts);
        self.bar.inc(match self.unit {
            Unit::Records => records,
            Unit::Bytes => bytes,
        });
    }
}

/// The bar stays on the terminal as it is.
impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}
