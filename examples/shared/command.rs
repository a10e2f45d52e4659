//! What the commands of the examples have in common: values of options, the exit, and the form of the output.

use std::fmt;
use std::future::pending;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, LineStyle, Table};
use evertoken::{BackgroundTimer, OnRequest, OptimisticEarly, RefreshStrategy};
use indicatif::HumanCount;
use serde::Serialize;

/// The exit status of an interrupted command, as a shell reports it: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Where an import gets its access tokens from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// One access token for the whole import: the baseline without evertoken.
    Fixed,
    OnRequest,
    BackgroundTimer,
    OptimisticEarly,
}

impl Strategy {
    /// The strategies of evertoken.
    pub(crate) const MANAGED: [Self; 3] = [
        Self::OnRequest,
        Self::BackgroundTimer,
        Self::OptimisticEarly,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::OnRequest => "on-request",
            Self::BackgroundTimer => "background-timer",
            Self::OptimisticEarly => "optimistic-early",
        }
    }

    /// The strategy of evertoken with its defaults; `None` for the baseline.
    pub(crate) fn managed(self) -> Option<Arc<dyn RefreshStrategy>> {
        match self {
            Self::Fixed => None,
            Self::OnRequest => Some(Arc::new(OnRequest::default())),
            Self::BackgroundTimer => Some(Arc::new(BackgroundTimer::default())),
            Self::OptimisticEarly => Some(Arc::new(OptimisticEarly::default())),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses a time such as `300ms`, `2s` or `1h 2m`, but not zero.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match span.is_zero() {
        true => Err("must not be zero".to_owned()),
        false => Ok(span),
    }
}

/// Parses a time that has a lower limit.
pub(crate) fn at_least(least: Duration, text: &str) -> Result<Duration, String> {
    let span = positive(text)?;
    match span < least {
        true => Err(format!(
            "must be at least {}",
            humantime::format_duration(least)
        )),
        false => Ok(span),
    }
}

/// The path of the picture: the given one, or one beside the program unless the output is for programs. With cargo,
/// the program is in the target directory.
pub(crate) fn picture(given: Option<&PathBuf>, for_programs: bool) -> Option<PathBuf> {
    if given.is_some() || for_programs {
        return given.cloned();
    }
    let program = std::env::current_exe().ok()?;
    Some(program.with_extension("svg"))
}

/// The given seed, or another one for each run, short enough to be typed.
pub(crate) fn seed(given: Option<u64>) -> u64 {
    given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32)
}

/// SplitMix64: the same seed draws the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, or 0 if `limit` is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }
}

/// Resolves at Ctrl-C or, on Unix, at SIGTERM, by which service managers stop a process. Never resolves where the
/// program cannot listen for signals.
pub(crate) async fn interrupted() {
    match listen_for_signals() {
        Ok(signal) => signal.await,
        Err(_) => pending().await,
    }
}

/// Listens from this call on.
#[cfg(unix)]
pub(crate) fn listen_for_signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
pub(crate) fn listen_for_signals() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending().await
        }
    })
}

/// Writes an error to standard error; returns the exit status, which is `failed` after an error.
pub(crate) fn exit(result: anyhow::Result<u8>, failed: u8) -> ExitCode {
    let status = result.unwrap_or_else(|error| {
        // Without a standard error, the status alone reports the failure.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        failed
    });
    status.into()
}

/// Writes a JSON object as one line.
pub(crate) fn json_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(line)?)?;
    out.flush()
}

/// A table with a line above, below the header and at the end; ` | ` separates the columns of the header. Numbers are
/// right-aligned in the columns after the first `names` and before the last `ends`.
pub(crate) fn table(header: &str, names: usize, ends: usize) -> Table {
    let header: Vec<_> = header.split(" | ").collect();
    let numbers = header.len() - names - ends;
    let mut table = plain_table();
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(names).take(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A table with lines, but without lines between its rows.
pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table
}

/// The name of a value on the command line.
pub(crate) fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A number with separators between thousands.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let drawn = || {
            let mut random = Random(7);
            [(); 8].map(|()| random.below(1_000))
        };
        assert_eq!(drawn(), drawn());
        assert_eq!(Random(7).below(0), 0);
    }
}
