//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use evertoken::testing::{GraceAnswer, Reuse};
use evertoken::{OldPair, ResendAfterSilence, ServerProfile};
use serde::{Deserialize, Serialize};

use crate::store::Location;

/// Starts processes that share one session of an authorization server, and counts what becomes of it.
#[derive(Debug, Parser)]
#[command(name = "instances")]
pub(crate) struct Arguments {
    /// Where the instances share their session: `file:DIRECTORY`, `redis://..` or `postgres://..`
    /// [default: a directory that goes with the run]
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<Location>,

    /// Processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub(crate) instances: usize,

    /// Tasks in each of them, which send requests
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub(crate) tasks: usize,

    /// Requests a second, of all instances together
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,

    /// Lifetime of an access token
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub(crate) access_ttl: Duration,

    /// How long the token endpoint takes
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = humantime::parse_duration)]
    pub(crate) latency: Duration,

    /// What the server does with a refresh token that comes again
    #[arg(long, value_enum, default_value = "strict")]
    pub(crate) server: ServerChoice,

    /// How long it runs; at least 120 with kills or pauses
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,

    /// Kills an instance so often, on average, and starts another in its place
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) kill_every: Option<Duration>,

    /// Stops an instance so often, on average, for up to 20 s
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) pause_every: Option<Duration>,

    /// Strikes one time in three whoever has just leased a token, and not just anybody
    #[arg(long)]
    pub(crate) aim: bool,

    /// What kills and pauses are drawn from [default: something else each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Writes down here what happened and when, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Writes one JSON object, and nothing else, to standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// What `--seconds` is raised to with kills or pauses
    #[arg(long, value_name = "N", default_value_t = 120, hide = true)]
    least_seconds: u64,

    /// Is one of the instances
    #[arg(long, hide = true)]
    pub(crate) instance: bool,
}

impl Arguments {
    /// What the parser cannot see; and what there is to tell before it starts.
    pub(crate) fn check(&self) -> anyhow::Result<Option<String>> {
        ensure!(
            cfg!(unix) || self.pause_every.is_none(),
            "`--pause-every` needs the signals of a Unix"
        );
        ensure!(
            !self.aim || self.strikes(),
            "`--aim` goes with `--kill-every` or `--pause-every`"
        );
        let seconds = self.run_time().as_secs();
        Ok((seconds != self.seconds).then(|| {
            format!("runs for {seconds} s: kills and pauses need time to show what they do")
        }))
    }

    fn strikes(&self) -> bool {
        self.kill_every.is_some() || self.pause_every.is_some()
    }

    pub(crate) fn run_time(&self) -> Duration {
        Duration::from_secs(match self.strikes() {
            true => self.seconds.max(self.least_seconds),
            false => self.seconds,
        })
    }

    /// Between two requests of one task.
    pub(crate) fn interval(&self) -> Duration {
        let tasks = u32::try_from(self.instances * self.tasks).unwrap_or(u32::MAX);
        Duration::from_secs(1) * tasks / self.rate
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerChoice {
    /// The session is revoked
    Strict,
    /// It is answered with the same pair for a minute
    Grace,
    /// It is answered with another pair for a minute
    Fork,
    /// The same, and the pair before that dies
    LastWins,
}

/// For how long a lenient server answers a refresh token that comes again.
const WINDOW: Duration = Duration::from_secs(60);

impl ServerChoice {
    pub(crate) fn reuse(self) -> Reuse {
        let grace = |answer| Reuse::Grace {
            window: WINDOW,
            answer,
        };
        match self {
            Self::Strict => Reuse::RevokeFamily,
            Self::Grace => grace(GraceAnswer::SamePair),
            Self::Fork => grace(GraceAnswer::Fork),
            Self::LastWins => grace(GraceAnswer::LastWins),
        }
    }

    /// What a client knows of it.
    pub(crate) fn profile(self) -> ServerProfile {
        let strict = ServerProfile::strict();
        match self {
            Self::Strict | Self::Grace | Self::Fork => strict,
            Self::LastWins => strict
                .resend_after_silence(ResendAfterSilence::LeaseDuration)
                .old_pair(OldPair::DiesAtFirstUse),
        }
    }
}

/// Times as `300ms`, `2s` or `10m`.
fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match span.is_zero() {
        true => Err("must not be zero".to_owned()),
        false => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["instances"], arguments].concat())
    }

    #[test]
    fn a_run_with_kills_or_pauses_lasts_two_minutes_at_least_and_says_so() -> anyhow::Result<()> {
        let quiet = parsed(&["--seconds", "5"])?;
        assert_eq!((quiet.run_time().as_secs(), quiet.check()?), (5, None));
        for flag in ["--kill-every", "--pause-every"] {
            let raised = parsed(&["--seconds", "5", flag, "2s"])?;
            assert_eq!(raised.run_time().as_secs(), 120);
            assert!(raised.check()?.is_some_and(|told| told.contains("120 s")));
            let long = parsed(&["--seconds", "300", flag, "2s"])?;
            assert_eq!((long.run_time().as_secs(), long.check()?), (300, None));
        }
        Ok(())
    }

    #[test]
    fn all_instances_together_keep_to_the_rate() -> Result<(), clap::Error> {
        let arguments = parsed(&["--instances", "8", "--tasks", "100", "--rate", "1000"])?;
        assert_eq!(arguments.interval(), Duration::from_millis(800));
        Ok(())
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (flag, value) in [
            ("--instances", "0"),
            ("--tasks", "0"),
            ("--rate", "0"),
            ("--access-ttl", "0s"),
            ("--kill-every", "0s"),
            ("--server", "kind"),
            ("--store", "session"),
        ] {
            assert!(parsed(&[flag, value]).is_err(), "{flag} {value}");
        }
        assert!(parsed(&["--aim"]).is_ok_and(|arguments| arguments.check().is_err()));
    }
}
