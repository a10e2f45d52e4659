//! The command line of `gateway`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::command::positive;
use crate::site::Mode;
use crate::store::Location;

/// Serves a page whose user signs in, and an API that it calls. With `--instances`, runs browsers against instances of it.
#[derive(Debug, Parser)]
#[command(name = "gateway")]
pub(crate) struct Arguments {
    /// Address of the page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Configuration for a real authorization server and API, in place of those of the example
    #[arg(long, value_name = "FILE", conflicts_with = "instances")]
    pub(crate) config: Option<PathBuf>,

    /// Where pairs are, and how instances share a rotation
    #[arg(long, value_enum, default_value = "synchronised")]
    pub(crate) mode: Mode,

    /// Lifetime of an access token
    #[arg(long, value_name = "TIME", value_parser = positive)]
    access_ttl: Option<Duration>,

    /// Number of instances for a load, each of which is a process
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=16))]
    pub(crate) instances: Option<usize>,

    /// Store of the instances: `file:DIRECTORY`, `redis://..` or `postgres://..`
    /// [default: a directory that is deleted after the run]
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<Location>,

    /// Number of browsers
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..=2_000))]
    pub(crate) browsers: usize,

    /// Number of tabs of a browser
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=32))]
    pub(crate) tabs: usize,

    /// Mean time between two requests of a tab
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = positive)]
    pub(crate) pace: Duration,

    /// Length of the load in seconds
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) seconds: u64,

    /// Reloads in quick succession, and requests that are given up
    #[arg(long)]
    pub(crate) reload_storms: bool,

    /// Time between two kills; a killed instance is started again
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(crate) kill_every: Option<Duration>,

    /// The authorization server fails now and then, and loses answers
    #[arg(long)]
    pub(crate) weather: bool,

    /// Writes only JSON to standard output: one object
    #[arg(long)]
    pub(crate) json: bool,

    /// Runs one of the instances
    #[arg(long, hide = true)]
    pub(crate) instance: bool,
}

impl Arguments {
    /// Checks what the parser cannot check.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.store.is_none() || self.mode.shares_store(),
            "the instances of this mode share no store: leave `--store` out"
        );
        let is_load = self.kill_every.is_some() || self.weather || self.reload_storms;
        ensure!(
            self.instances.is_some() || !is_load,
            "this is for a load: add `--instances 3`"
        );
        Ok(())
    }

    pub(crate) fn access_ttl(&self) -> Duration {
        let seconds = match (self.mode, self.instances) {
            (Mode::Stateless, _) => 6,
            (_, Some(_)) => 2,
            (_, None) => 20,
        };
        self.access_ttl.unwrap_or(Duration::from_secs(seconds))
    }
}
