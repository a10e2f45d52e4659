//! An import that outlives its access tokens, with and without evertoken.
//!
//! ```text
//! cargo run --release --example data_import
//! ```
//!
//! The import is the client of two servers that it starts on the loopback: an authorization server that revokes the session
//! if a client sends a refresh token twice, and an API that checks the access token on every call. `import` and `site` hold
//! all that an application needs of evertoken, and `worker` the one call that sends. `journal` records which batches are
//! done, so that a stopped or killed import can be resumed.

mod arguments;
mod checkpoint;
mod configuration;
mod faults;
mod import;
mod journal;
mod patience;
mod picture;
mod progress;
mod report;
mod site;
mod worker;

// `folio_import` reads and counts records by the same modules.
#[path = "../shared/batches.rs"]
mod batches;
#[allow(dead_code)]
#[path = "../shared/command.rs"]
mod command;
#[path = "../shared/records.rs"]
mod records;
#[path = "../shared/tally.rs"]
mod tally;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use self::arguments::Arguments;
use self::command::{INTERRUPTED, Strategy};
use self::import::Outcome;
use self::journal::Books;
use self::patience::Kind;
use self::progress::Progress;
use self::site::Site;

/// Records failed with a strategy of evertoken.
const RECORDS_LOST: u8 = 1;

/// The input cannot be read to its end, or another file cannot be read or written. `clap` exits with this status too
/// when the arguments are wrong.
const BAD_INPUT: u8 = 2;

/// A user must sign in before the import can be resumed.
const SESSION_ENDED: u8 = 3;

/// The configuration is wrong, for example the client secret or the URL of the token endpoint.
const MISCONFIGURED: u8 = 4;

/// The API was not available for as long as `--api-wait` allows.
const API_UNAVAILABLE: u8 = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shows_progress = !arguments.json && io::stderr().is_terminal();
    let progress = Progress::new(&arguments, shows_progress);
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let site = async || Site::open(&arguments).await.map(Arc::new);
    let interrupt = command::interrupted();
    let run = run(&arguments, &progress, &mut out, &mut err, interrupt, site);
    command::exit(run.await, BAD_INPUT)
}

/// Imports with one strategy after the other, each at its own site; returns the exit status.
async fn run(
    arguments: &Arguments,
    progress: &Progress,
    out: &mut impl Write,
    err: &mut impl Write,
    interrupt: impl Future<Output = ()>,
    site: impl AsyncFn() -> anyhow::Result<Arc<Site>>,
) -> anyhow::Result<u8> {
    arguments.check()?;
    journal::check_paths(arguments)?;
    let mut interrupt = pin!(interrupt);
    let mut outcomes = Vec::new();
    for strategy in arguments.strategies() {
        let books = Books::open(arguments)?;
        if books.checkpoint.is_complete {
            report::nothing_left(out, arguments, strategy, &books.checkpoint)?;
            let has_lost = books.checkpoint.rejected > 0;
            return Ok(if has_lost { RECORDS_LOST } else { 0 });
        }
        if !arguments.json && outcomes.is_empty() {
            report::introduction(out, arguments)?;
        }
        let site = site().await?;
        let interrupt = interrupt.as_mut();
        let import = import::run(strategy, arguments, books, site, progress, err, interrupt);
        let outcome = import.await?;
        if arguments.json {
            report::json_line(out, &outcome)?;
        }
        let interrupted = outcome.interrupted;
        outcomes.push(outcome);
        if interrupted {
            break;
        }
    }
    if !arguments.json {
        report::table(out, &outcomes)?;
        report::rejects(out, arguments)?;
    }
    if let Some(path) = arguments.picture() {
        let drawn = picture::draw(&path, arguments, &outcomes);
        // A failure to draw does not change the exit status.
        match drawn {
            Ok(()) if arguments.json => {}
            Ok(()) => writeln!(out, "A picture of it: {}", path.display())?,
            Err(error) => writeln!(err, "warning: no picture: {error:#}")?,
        }
    }
    report::broken_input(err, &outcomes)?;
    report::stopped(err, arguments, &outcomes)?;
    Ok(status(&outcomes))
}

fn status(outcomes: &[Outcome]) -> u8 {
    let any = |test: fn(&Outcome) -> bool| outcomes.iter().any(test);
    let mut stopped = outcomes.iter().filter_map(|it| it.stopped.as_ref());
    if any(|outcome| outcome.interrupted) {
        INTERRUPTED
    } else if let Some(stopped) = stopped.next() {
        match stopped.kind {
            Kind::SessionEnded => SESSION_ENDED,
            Kind::Configuration => MISCONFIGURED,
            Kind::ApiUnavailable => API_UNAVAILABLE,
        }
    } else if any(|outcome| outcome.strategy != Strategy::Fixed && outcome.lost() > 0) {
        RECORDS_LOST
    } else if any(|outcome| outcome.broken_input.is_some()) {
        BAD_INPUT
    } else {
        0
    }
}
