//! The command line of `folio_import`.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};

use crate::command::{self, positive};
use crate::records::MarcFile;

const GENERATED: u64 = 12_000;

/// Imports MARC21 records for an hour into a FOLIO whose access tokens live for a minute. Meanwhile the user who started
/// the import works in a browser, and logs out in the middle. Both kinds of FOLIO are embedded; only time runs faster
/// than in reality.
#[derive(Debug, Parser)]
#[command(name = "folio_import")]
pub(crate) struct Arguments {
    /// The kinds of FOLIO, separated by a comma [default: both]
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["okapi", "eureka"], hide_default_value = true)]
    pub(crate) mode: Vec<Mode>,

    /// The sessions to import with, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["own", "shared", "fixed"], hide_default_value = true)]
    pub(crate) session: Vec<Session>,

    /// How the user's browser rotates its tokens
    #[arg(long, value_enum, default_value_t = Ui::R)]
    pub(crate) ui: Ui,

    /// When the user logs out in the browser, unless the import ends before
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = positive)]
    pub(crate) logout_at: Duration,

    /// Lifetime of an access token, in whole seconds
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = whole_seconds)]
    pub(crate) access_ttl: Duration,

    /// Lifetime of a refresh token and, in Eureka, of a whole session, in whole seconds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = whole_seconds)]
    pub(crate) refresh_ttl: Duration,

    /// How long an import without failures takes
    #[arg(long, value_name = "TIME", default_value = "1h 2m", value_parser = positive)]
    pub(crate) length: Duration,

    /// How many times faster time runs; all times above are simulated times
    #[arg(long, value_name = "N", default_value_t = 120.0, value_parser = scale)]
    pub(crate) time_scale: f64,

    /// Imports this MARC21 file (ISO 2709) instead of generated records
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Number of records to generate [default: 12000], or the most to read of the file
    #[arg(long, value_name = "N")]
    records: Option<u64>,

    /// Records in a batch; a batch is one call of the API
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub(crate) batch: usize,

    /// Batches sent at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<u32>::new().range(1..=512))]
    pub(crate) workers: u32,

    /// Draws the imports into this file (SVG) [default: beside the program, unless --json]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Writes only JSON to standard output: one object per import and line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The number of records, where it is known.
    pub(crate) fn count(&self) -> Option<u64> {
        let generated = self.input.is_none().then_some(GENERATED);
        self.records.or(generated)
    }

    /// The number of records. A file is read once to its end, so that a broken record is reported before anything is sent.
    pub(crate) fn total(&self) -> anyhow::Result<u64> {
        let limit = self.count().unwrap_or(u64::MAX);
        let total = match &self.input {
            None => limit,
            Some(path) => {
                let name = path.display();
                let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
                let mut records = MarcFile::new(BufReader::new(file));
                let mut total = 0;
                while total < limit
                    && let Some(record) = records.next()
                {
                    record.with_context(|| format!("cannot read {name}"))?;
                    total += 1;
                }
                total
            }
        };
        ensure!(total > 0, "the input has no records: import at least one");
        Ok(total)
    }

    pub(crate) fn picture(&self) -> Option<PathBuf> {
        command::picture(self.picture.as_ref(), self.json)
    }
}

/// A kind of FOLIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The gateway hands modules tokens without an expiry
    Okapi,
    /// Each sidecar checks the expiry of a token
    Eureka,
}

/// The session of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Session {
    /// A session of its own, by a sign-in of the import
    Own,
    /// The session of the user: the import takes the pair over and rotates it at once, and the browser keeps its copy
    Shared,
    /// No session: the import has only the token that the gateway hands to a module
    Fixed,
}

/// How the user's browser rotates its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ui {
    /// With a request after 0.8 of the lifetime
    Q,
    /// By a timer, at 0.8 of the lifetime
    R,
    /// Not at all: the browser is closed, and the user does not log out
    None,
}

impl fmt::Display for Ui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Q => "Q",
            Self::R => "R",
            Self::None => "none",
        })
    }
}

/// Parses a time as FOLIO configures it.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let span = positive(text)?;
    match span.subsec_nanos() {
        0 => Ok(span),
        _ => Err("must be whole seconds".to_owned()),
    }
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    match (1.0..=1e6).contains(&scale) {
        true => Ok(scale),
        false => Err("must be between 1 and 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["folio_import"], arguments].concat())
    }

    #[test]
    fn without_arguments_each_import_takes_an_hour_in_half_a_minute() -> anyhow::Result<()> {
        let arguments = parsed(&[])?;
        assert_eq!(arguments.mode, [Mode::Okapi, Mode::Eureka]);
        let sessions = [Session::Own, Session::Shared, Session::Fixed];
        assert_eq!(arguments.session, sessions);
        assert_eq!(arguments.total()?, GENERATED);
        let takes = arguments.length.div_f64(arguments.time_scale);
        assert_eq!(takes, Duration::from_secs(31));
        assert!(arguments.length > arguments.refresh_ttl);
        Ok(())
    }

    #[test]
    fn the_parser_refuses_values_out_of_range() {
        for (flag, value) in [
            ("--access-ttl", "500ms"),
            ("--access-ttl", "0s"),
            ("--refresh-ttl", "soon"),
            ("--length", "0s"),
            ("--time-scale", "0"),
            ("--time-scale", "NaN"),
            ("--mode", "stripes"),
            ("--workers", "0"),
        ] {
            assert!(parsed(&[flag, value]).is_err(), "{flag} {value}");
        }
    }

    #[test]
    fn a_missing_or_empty_input_is_reported_before_anything_is_sent() -> anyhow::Result<()> {
        let gone = parsed(&["--input", "no such file.mrc"])?.total();
        assert!(gone.is_err_and(|error| error.to_string().contains("cannot open")));
        let none = parsed(&["--records", "0"])?.total();
        assert!(none.is_err());
        Ok(())
    }
}
