//! The command line of `data_import`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use evertoken::testing::Gateway;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::command::{self, Strategy, positive};
use crate::configuration::{Configuration, External};
use crate::faults::Faults;

/// Each import outlives a few tokens, and all imports take half a minute.
const GENERATED: u64 = 20_000;

/// An import outlives all outages: between two outages it works for the lifetime of a token.
const GENERATED_WITH_FAULTS: u64 = 80_000;

/// The lifetimes of the embedded server's tokens.
const ACCESS_TTL: Duration = Duration::from_secs(2);
const REFRESH_TTL: Duration = Duration::from_secs(60);

/// Imports MARC21 records into an API that checks the access token on every call: first with one token, which expires
/// during the import, then with the strategies of evertoken. The authorization server and the API are embedded unless a
/// configuration names others.
#[derive(Debug, Parser)]
#[command(name = "data_import")]
pub(crate) struct Arguments {
    /// Imports this MARC21 file (ISO 2709) instead of generated records
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Number of records to generate [default: 20000, or 80000 with --faults], or the most to read of the file
    #[arg(long, value_name = "N")]
    records: Option<u64>,

    /// Records in a batch; a batch is one call of the API
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub(crate) batch: usize,

    /// Batches sent at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..=512))]
    pub(crate) workers: usize,

    /// What the API does with the records
    #[arg(long, value_enum, default_value_t = Action::Create)]
    pub(crate) action: Action,

    /// Writes the records that failed for good to this file, as they were read. The first failure creates the file. A
    /// file that already holds records is refused
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,

    /// Records the progress of the import in this file, and resumes the import from there. For one strategy
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Draws the imports into this file (SVG) [default: beside the program, unless --json]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Strategies, separated by commas [default: all; all but fixed with --faults; optimistic-early with --rejects or
    /// --resume]
    #[arg(long, value_name = "STRATEGY", value_enum, value_delimiter = ',')]
    strategy: Vec<Choice>,

    /// Imports once, by this configuration (TOML). With an `[endpoint]` and an `api_url` in its table `[import]`, no server
    /// is embedded
    #[arg(long, value_name = "FILE", value_parser = configuration, conflicts_with = "strategy")]
    pub(crate) config: Option<Configuration>,

    /// Lifetime of an access token of the embedded server [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = positive)]
    access_ttl: Option<Duration>,

    /// Lifetime of a refresh token of the embedded server [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = positive)]
    refresh_ttl: Option<Duration>,

    /// Puts the embedded token endpoint out of order after a rotation: once with each outage, or with this one: refused,
    /// 503, 502, 504, 500, 404, 403, 413, 400, 401, 301, 200, 408, reset or invalid_client. For the managed strategies
    #[arg(long, value_name = "OUTAGE", value_parser = Faults::parse, num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub(crate) faults: Option<Faults>,

    /// How long a batch waits for an API that is not available before the import stops
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10m")]
    pub(crate) api_wait: Duration,

    /// When the embedded API checks access tokens [default: eureka]
    #[arg(long, value_enum)]
    gateway: Option<GatewayChoice>,

    /// Writes only JSON to standard output: one object per strategy and line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The strategies to run, in the order of the command line.
    pub(crate) fn strategies(&self) -> Vec<Strategy> {
        if let Some(configuration) = &self.config {
            return vec![configuration.strategy];
        }
        if self.strategy.is_empty() {
            return match self.is_one_import() {
                true => vec![Strategy::OptimisticEarly],
                false if self.faults.is_some() => Strategy::MANAGED.to_vec(),
                false => Choice::All.strategies().to_vec(),
            };
        }
        let mut strategies = Vec::new();
        for choice in &self.strategy {
            strategies.extend_from_slice(choice.strategies());
        }
        strategies
    }

    /// Checks what the parser cannot check.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.is_one_import() || self.strategies().len() == 1,
            "`--rejects` and `--resume` serve one import: choose one `--strategy`"
        );
        if self.external().is_none() {
            return Ok(());
        }
        for (flag, is_given) in [
            ("--access-ttl", self.access_ttl.is_some()),
            ("--refresh-ttl", self.refresh_ttl.is_some()),
            ("--gateway", self.gateway.is_some()),
            ("--picture", self.picture.is_some()),
            ("--faults", self.faults.is_some()),
        ] {
            ensure!(
                !is_given,
                "`{flag}` is for the embedded servers, but the configuration has an `[endpoint]`: remove one of them"
            );
        }
        Ok(())
    }

    /// The servers that the configuration names instead of embedded ones.
    pub(crate) fn external(&self) -> Option<&External> {
        self.config.as_ref()?.external.as_ref()
    }

    pub(crate) fn access_ttl(&self) -> Duration {
        self.access_ttl.unwrap_or(ACCESS_TTL)
    }

    pub(crate) fn refresh_ttl(&self) -> Duration {
        self.refresh_ttl.unwrap_or(REFRESH_TTL)
    }

    fn is_one_import(&self) -> bool {
        self.rejects.is_some() || self.resume.is_some()
    }

    /// The path of the picture. A picture shows lifetimes, which only the embedded server reports.
    pub(crate) fn picture(&self) -> Option<PathBuf> {
        let is_off = self.json || self.external().is_some();
        command::picture(self.picture.as_ref(), is_off)
    }

    /// The number of records, where it is known.
    pub(crate) fn count(&self) -> Option<u64> {
        let generated = match &self.faults {
            Some(faults) if faults.is_long() => GENERATED_WITH_FAULTS,
            _ => GENERATED,
        };
        let generated = self.input.is_none().then_some(generated);
        self.records.or(generated)
    }

    pub(crate) fn gateway(&self) -> Gateway {
        match self.gateway {
            Some(GatewayChoice::Okapi) => Gateway::Okapi,
            Some(GatewayChoice::Eureka) | None => Gateway::Eureka,
        }
    }
}

/// What the API does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// POST
    Create,
    /// PUT
    Update,
}

impl Action {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Create => Method::POST,
            Self::Update => Method::PUT,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GatewayChoice {
    /// At every call: the API refuses an expired token
    Eureka,
    /// At the first call of a token: the API accepts that token from then on
    Okapi,
}

fn configuration(path: &str) -> Result<Configuration, String> {
    Configuration::read(path).map_err(|error| format!("{error:#}"))
}

/// A strategy on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// One access token for the whole import, without evertoken: the import fails after the token expires
    Fixed,
    /// Rotates when a request finds the token expired
    OnRequest,
    /// Rotates by a timer, at 80 % of the lifetime
    BackgroundTimer,
    /// Rotates beside the first request in a window before expiry: no request waits
    OptimisticEarly,
    /// All strategies, one after the other
    All,
}

impl Choice {
    fn strategies(self) -> &'static [Strategy] {
        use Strategy::{BackgroundTimer, Fixed, OnRequest, OptimisticEarly};
        match self {
            Self::Fixed => &[Fixed],
            Self::OnRequest => &[OnRequest],
            Self::BackgroundTimer => &[BackgroundTimer],
            Self::OptimisticEarly => &[OptimisticEarly],
            Self::All => &[Fixed, OnRequest, BackgroundTimer, OptimisticEarly],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["data_import"], arguments].concat())
    }

    #[test]
    fn without_arguments_each_strategy_imports_all_generated_records() -> Result<(), clap::Error> {
        let arguments = parsed(&[])?;
        let names: Vec<_> = arguments.strategies().iter().map(|s| s.name()).collect();
        let managed = Strategy::MANAGED.map(Strategy::name);
        assert_eq!(names, [&["fixed"], &managed[..]].concat());
        assert_eq!(arguments.count(), Some(GENERATED));
        assert_eq!(arguments.gateway(), Gateway::Eureka);
        assert_eq!(arguments.access_ttl(), Duration::from_secs(2));
        Ok(())
    }

    #[test]
    fn a_checkpoint_and_a_file_for_rejects_serve_one_import() -> Result<(), clap::Error> {
        for flag in ["--resume", "--rejects"] {
            let one = parsed(&[flag, "file"])?;
            assert_eq!(one.strategies(), [Strategy::OptimisticEarly]);
            assert!(one.check().is_ok());
            let several = parsed(&[flag, "file", "--strategy", "all"])?;
            assert!(several.check().is_err());
        }
        Ok(())
    }

    #[test]
    fn a_picture_is_drawn_unless_the_output_is_json_or_where_a_path_is_given()
    -> Result<(), clap::Error> {
        assert!(parsed(&[])?.picture().is_some());
        assert_eq!(parsed(&["--json"])?.picture(), None);
        let asked = parsed(&["--json", "--picture", "a.svg"])?;
        assert_eq!(asked.picture(), Some("a.svg".into()));
        Ok(())
    }

    #[test]
    fn a_file_is_read_to_its_end_unless_a_limit_is_given() -> Result<(), clap::Error> {
        assert_eq!(parsed(&["--input", "a.mrc"])?.count(), None);
        let limited = parsed(&["--input", "a.mrc", "--records", "7"])?;
        assert_eq!(limited.count(), Some(7));
        Ok(())
    }

    #[test]
    fn faults_select_all_outages_or_one_and_the_managed_strategies() -> Result<(), clap::Error> {
        let all = parsed(&["--faults"])?;
        assert_eq!(all.strategies(), Strategy::MANAGED);
        assert_eq!(all.count(), Some(GENERATED_WITH_FAULTS));
        assert_eq!(all.faults, parsed(&["--faults=all"])?.faults);
        let one = parsed(&["--faults=invalid_client", "--strategy", "all"])?;
        assert_eq!(one.strategies().len(), 4);
        assert_eq!(one.count(), Some(GENERATED));
        let given = parsed(&["--faults", "--records", "7"])?;
        assert_eq!(given.count(), Some(7));
        Ok(())
    }

    #[test]
    fn the_parser_refuses_values_out_of_range() {
        for (flag, value) in [
            ("--access-ttl", "0s"),
            ("--access-ttl", "2"),
            ("--refresh-ttl", "soon"),
            ("--batch", "0"),
            ("--workers", "0"),
            ("--strategy", "none"),
            ("--api-wait", "long"),
            ("--faults=rain", "--json"),
        ] {
            assert!(parsed(&[flag, value]).is_err(), "{flag} {value}");
        }
    }
}
