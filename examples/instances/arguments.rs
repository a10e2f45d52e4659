//! The command line of `instances`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use evertoken::{OldPair, ResendAfterSilence, ServerProfile};

use crate::command::positive;
use crate::site::ReuseChoice;
use crate::store::Location;

/// Starts processes that share one session of an authorization server, kills or stops some of them, and counts what
/// happens to the session.
#[derive(Debug, Parser)]
#[command(name = "instances")]
pub(crate) struct Arguments {
    /// Store of the shared session: `file:DIRECTORY`, `redis://..` or `postgres://..`
    /// [default: a directory that is deleted after the run]
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<Location>,

    /// Number of processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub(crate) instances: usize,

    /// Tasks in each process that send requests
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub(crate) tasks: usize,

    /// Requests a second of all processes together
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,

    /// Lifetime of an access token
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = positive)]
    pub(crate) access_ttl: Duration,

    /// How long the token endpoint takes
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = humantime::parse_duration)]
    pub(crate) latency: Duration,

    /// What the server does with a refresh token that was used before; a lenient server is lenient for a minute
    #[arg(long, value_enum, default_value = "strict")]
    pub(crate) server: ReuseChoice,

    /// Length of the run in seconds, at least 120 with kills or pauses
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,

    /// Mean time between two kills; each killed process is replaced by another
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(crate) kill_every: Option<Duration>,

    /// Mean time between two pauses of a process; a pause takes up to 20 s
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(crate) pause_every: Option<Duration>,

    /// Aims one kill or pause in three at the process that has just leased a token
    #[arg(long)]
    pub(crate) aim: bool,

    /// Seed of the kills and pauses [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Writes a trace of all that happens to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Writes only JSON to standard output: one object
    #[arg(long)]
    pub(crate) json: bool,

    /// Least value of `--seconds` with kills or pauses
    #[arg(long, value_name = "N", default_value_t = 120, hide = true)]
    least_seconds: u64,

    /// Runs one of the instances
    #[arg(long, hide = true)]
    pub(crate) instance: bool,
}

impl Arguments {
    /// Checks what the parser cannot check. Returns a notice for the user, if there is one.
    pub(crate) fn check(&self) -> anyhow::Result<Option<String>> {
        ensure!(
            cfg!(unix) || self.pause_every.is_none(),
            "`--pause-every` needs Unix signals: use `--kill-every`"
        );
        ensure!(
            !self.aim || self.strikes(),
            "`--aim` needs `--kill-every` or `--pause-every`: add one of them"
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

    /// The time between two requests of one task.
    pub(crate) fn interval(&self) -> Duration {
        let tasks = u32::try_from(self.instances * self.tasks).unwrap_or(u32::MAX);
        Duration::from_secs(1) * tasks / self.rate
    }
}

/// How long a lenient server answers a refresh token that was used before.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// The profile of the server that a client needs.
pub(crate) fn profile(server: ReuseChoice) -> ServerProfile {
    let strict = ServerProfile::strict();
    match server {
        ReuseChoice::LastWins => strict
            .resend_after_silence(ResendAfterSilence::LeaseDuration)
            .old_pair(OldPair::DiesAtFirstUse),
        _ => strict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["instances"], arguments].concat())
    }

    #[test]
    fn a_run_with_kills_or_pauses_takes_at_least_two_minutes_and_a_notice_says_so()
    -> anyhow::Result<()> {
        let quiet = parsed(&["--seconds", "5"])?;
        assert_eq!((quiet.run_time().as_secs(), quiet.check()?), (5, None));
        for flag in ["--kill-every", "--pause-every"] {
            let raised = parsed(&["--seconds", "5", flag, "2s"])?;
            assert_eq!(raised.run_time().as_secs(), 120);
            let notice = raised.check()?;
            assert!(notice.is_some_and(|notice| notice.contains("120 s")));
            let long = parsed(&["--seconds", "300", flag, "2s"])?;
            assert_eq!((long.run_time().as_secs(), long.check()?), (300, None));
        }
        Ok(())
    }

    #[test]
    fn all_instances_together_send_at_the_rate() -> Result<(), clap::Error> {
        let arguments = parsed(&["--instances", "8", "--tasks", "100", "--rate", "1000"])?;
        assert_eq!(arguments.interval(), Duration::from_millis(800));
        Ok(())
    }

    #[test]
    fn the_parser_refuses_values_out_of_range() {
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
