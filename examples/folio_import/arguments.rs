//! What the command line says.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};

use crate::marc_file::MarcFile;

const GENERATED: u64 = 12_000;

/// Imports MARC21 records into a FOLIO whose access tokens live for a minute, for an hour, while the user
/// who started that works on in a browser and logs out in the middle. FOLIO is embedded, in both its kinds;
/// time runs faster than it does, and everything else is as it would be.
#[derive(Debug, Parser)]
#[command(name = "folio_import")]
pub(crate) struct Arguments {
    /// Which FOLIO; both are separated by a comma [default: both]
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["okapi", "eureka"], hide_default_value = true)]
    pub(crate) mode: Vec<Mode>,

    /// Whose session the import has; several are separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["own", "shared", "fixed"], hide_default_value = true)]
    pub(crate) session: Vec<Session>,

    /// How the user's browser rotates its own tokens
    #[arg(long, value_enum, default_value_t = Ui::R)]
    pub(crate) ui: Ui,

    /// When the user logs out there; never, if the import is over by then
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = span)]
    pub(crate) logout_at: Duration,

    /// Lifetime of an access token, in whole seconds
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = whole_seconds)]
    pub(crate) access_ttl: Duration,

    /// Lifetime of a refresh token, and of a whole session in Eureka, in whole seconds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = whole_seconds)]
    pub(crate) refresh_ttl: Duration,

    /// How long an import takes, if nothing fails
    #[arg(long, value_name = "TIME", default_value = "1h 2m", value_parser = span)]
    pub(crate) length: Duration,

    /// How many times as fast time runs; all times above are of that time
    #[arg(long, value_name = "N", default_value_t = 120.0, value_parser = scale)]
    pub(crate) time_scale: f64,

    /// Imports this MARC21 file (ISO 2709) instead of generated records
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// How many records to generate [default: 12000], or to read of the file at most
    #[arg(long, value_name = "N")]
    records: Option<u64>,

    /// Records in a batch, which is one call of the API
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub(crate) batch: usize,

    /// Batches sent at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<u32>::new().range(1..=512))]
    pub(crate) workers: u32,

    /// Draws the imports into this file (SVG) [default: beside the program, unless --json]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Writes one JSON object per import and line, and nothing else, to standard output
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// How many records there are, where that is known.
    pub(crate) fn count(&self) -> Option<u64> {
        let generated = self.input.is_none().then_some(GENERATED);
        self.records.or(generated)
    }

    /// How many there are. A file is read for it, once and to its end, so that one that is broken is told
    /// before anything is sent.
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
        ensure!(total > 0, "there are no records");
        Ok(total)
    }

    /// Where the picture goes, if there is to be one.
    pub(crate) fn picture(&self) -> Option<PathBuf> {
        if self.picture.is_some() || self.json {
            return self.picture.clone();
        }
        // With cargo, that is in its target directory.
        let program = std::env::current_exe().ok()?;
        Some(program.with_extension("svg"))
    }
}

/// Which FOLIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Modules are handed tokens without an expiry
    Okapi,
    /// Each sidecar looks at the expiry
    Eureka,
}

/// Whose session an import has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Session {
    /// One of a sign-in of its own
    Own,
    /// The user's: his pair is taken over and rotated at once, and his browser goes on with its copy
    Shared,
    /// None: it has what a module is handed with the user's access token, and nothing else
    Fixed,
}

/// How the user's browser rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ui {
    /// On request: with a request that finds 0.8 of the lifetime over
    Q,
    /// By a timer, at 0.8 of the lifetime
    R,
    /// It was closed, and nobody logs out
    None,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Okapi => "okapi",
            Self::Eureka => "eureka",
        }
    }
}

impl Session {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Shared => "shared",
            Self::Fixed => "fixed",
        }
    }
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

/// Times as `60s`, `1h` or `1h 2m`.
fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match span.is_zero() {
        true => Err("it has to be some time".to_owned()),
        false => Ok(span),
    }
}

/// FOLIO counts in them.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let span = span(text)?;
    match span.subsec_nanos() {
        0 => Ok(span),
        _ => Err("it has to be whole seconds".to_owned()),
    }
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    match (1.0..=1e6).contains(&scale) {
        true => Ok(scale),
        false => Err("it has to be between 1 and 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["folio_import"], arguments].concat())
    }

    #[test]
    fn without_arguments_it_is_an_hour_of_each_import_in_half_a_minute() -> anyhow::Result<()> {
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
    fn values_that_make_no_sense_are_refused() {
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
    fn a_file_that_is_not_there_or_empty_is_told_before_anything_is_sent() -> anyhow::Result<()> {
        let gone = parsed(&["--input", "no such file.mrc"])?.total();
        assert!(gone.is_err_and(|error| error.to_string().contains("cannot open")));
        let none = parsed(&["--records", "0"])?.total();
        assert!(none.is_err());
        Ok(())
    }
}
