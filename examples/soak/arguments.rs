//! The command line of `soak`.

use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::command::{self, at_least};
use crate::store::Location;

/// In a shorter run, one outage may take a whole quarter.
const SHORTEST_RUN: Duration = Duration::from_secs(120);

/// Keeps sessions alive for a long time, in real time and with frequent faults. The exit status is 0 if no call failed and
/// neither memory nor tasks nor descriptors grew.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Arguments {
    /// Length of the run, at least 2m
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = run_time)]
    pub(crate) run_time: Duration,

    /// Time between two lines of output
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = a_second)]
    pub(crate) every: Duration,

    /// Store of the sessions: `file:DIRECTORY`, `redis://..` or `postgres://..`
    /// [default: a directory that is deleted after the run]
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<Location>,

    /// Callers of each session
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000))]
    pub(crate) callers: u32,

    /// Calls of a caller in a second
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100))]
    pub(crate) rate: u32,

    /// Lifetime of an access token
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = a_second)]
    pub(crate) access_ttl: Duration,

    /// Seed of the faults and the restarts [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Writes each line as a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Runs the servers
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
}

impl Arguments {
    pub(crate) fn seed(&self) -> u64 {
        command::seed(self.seed)
    }

    /// The time between two calls of one caller.
    pub(crate) fn period(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }
}

fn run_time(text: &str) -> Result<Duration, String> {
    at_least(SHORTEST_RUN, text)
}

/// With a shorter lifetime, a token on a busy machine could expire on its way to the API.
fn a_second(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_secs(1), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["soak"], arguments].concat())
    }

    #[test]
    fn without_arguments_a_run_takes_ten_minutes_and_prints_a_line_a_minute()
    -> Result<(), clap::Error> {
        let arguments = parsed(&[])?;
        assert_eq!(arguments.run_time, Duration::from_secs(600));
        assert_eq!(arguments.every, Duration::from_secs(60));
        assert_eq!(arguments.period(), Duration::from_millis(200));
        assert_eq!(arguments.store, None);
        Ok(())
    }

    #[test]
    fn the_parser_refuses_values_out_of_range() {
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
    fn a_given_seed_is_used() -> Result<(), clap::Error> {
        assert_eq!(parsed(&["--seed", "7"])?.seed(), 7);
        Ok(())
    }
}
