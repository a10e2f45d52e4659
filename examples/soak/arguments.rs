//! What the command line says.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::store::Location;

/// A quarter of a shorter run may pass in one outage.
const SHORTEST_RUN: Duration = Duration::from_secs(120);

/// Keeps sessions alive for a long time, in real time and in bad faults. The exit status is 0 if no call failed and
/// neither memory nor tasks nor descriptors grew.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Arguments {
    /// How long it runs; at least 2m
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = run_time)]
    pub(crate) run_time: Duration,

    /// How often a line is printed
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = every)]
    pub(crate) every: Duration,

    /// Where the sessions live: `file:DIRECTORY`, `redis://..` or `postgres://..`
    /// [default: a directory that goes with the run]
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<Location>,

    /// Callers of each session
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000))]
    pub(crate) callers: u32,

    /// Calls that a caller makes in a second
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100))]
    pub(crate) rate: u32,

    /// Lifetime of an access token
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = ttl)]
    pub(crate) access_ttl: Duration,

    /// What the faults and the restarts are drawn from [default: something else each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Writes each line as a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Is the process of the servers
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
}

impl Arguments {
    pub(crate) fn seed(&self) -> u64 {
        // Short enough to be typed.
        self.seed
            .unwrap_or_else(|| RandomState::new().hash_one(0) >> 32)
    }

    /// Between two calls of one caller.
    pub(crate) fn period(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }
}

fn run_time(text: &str) -> Result<Duration, String> {
    at_least(SHORTEST_RUN, text)
}

fn every(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_secs(1), text)
}

/// A shorter lifetime leaves a caller on a busy machine with a token that expires on its way.
fn ttl(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_secs(1), text)
}

/// Times as `90s`, `10m` or `1h`.
fn at_least(least: Duration, text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match span < least {
        true => Err(format!(
            "must be at least {}",
            humantime::format_duration(least)
        )),
        false => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["soak"], arguments].concat())
    }

    #[test]
    fn without_arguments_it_runs_for_ten_minutes_and_prints_a_line_a_minute()
    -> Result<(), clap::Error> {
        let arguments = parsed(&[])?;
        assert_eq!(arguments.run_time, Duration::from_secs(600));
        assert_eq!(arguments.every, Duration::from_secs(60));
        assert_eq!(arguments.period(), Duration::from_millis(200));
        assert_eq!(arguments.store, None);
        Ok(())
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (flag, value) in [
            ("--for", "119s"),
            ("--for", "long"),
            ("--every", "10ms"),
            ("--access-ttl", "0s"),
            ("--callers", "0"),
            ("--rate", "0"),
            ("--store", "session"),
        ] {
            assert!(parsed(&[flag, value]).is_err(), "{flag} {value}");
        }
    }

    #[test]
    fn a_seed_that_is_given_is_the_seed() -> Result<(), clap::Error> {
        assert_eq!(parsed(&["--seed", "7"])?.seed(), 7);
        Ok(())
    }
}
