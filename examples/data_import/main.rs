//! An import that outlives its access tokens, with and without evertoken.
//!
//! ```text
//! cargo run --release --example data_import
//! ```
//!
//! The import is the client of two servers that it starts on the loopback: an authorization server that
//! revokes the session if a refresh token comes twice, and an API that checks the access token on every
//! call. `import` and `site` have all that an application needs of evertoken, and `worker` the one call
//! that sends. `journal` keeps what is done, so that a stopped or killed import goes on.

mod answer;
mod arguments;
mod batches;
mod checkpoint;
mod configuration;
mod done;
mod faults;
mod generate;
mod import;
mod input;
mod journal;
mod marc_file;
mod notices;
mod obstacle;
mod patience;
mod picture;
mod progress;
mod rejects;
mod report;
mod site;
mod stop;
mod stopped;
mod tally;
mod timeline;
mod worker;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::io::{self, IsTerminal as _, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use self::arguments::{Arguments, Strategy};
use self::import::Outcome;
use self::journal::Books;
use self::progress::Progress;
use self::site::Site;
use self::stopped::Kind;

/// With a strategy of evertoken's, records failed.
const RECORDS_LOST: u8 = 1;

/// The input cannot be read, or not to its end; or another file cannot be read or written. Wrong
/// arguments have this status too.
const BAD_INPUT: u8 = 2;

/// A user has to sign in before the import can go on.
const SESSION_ENDED: u8 = 3;

/// The configuration has to be mended: the client's secret or the URL of the token endpoint, say.
const MISCONFIGURED: u8 = 4;

/// The API was not available for as long as an import waits.
const API_UNAVAILABLE: u8 = 5;

/// As a shell reports it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shows_progress = !arguments.json && io::stderr().is_terminal();
    let progress = Progress::new(&arguments, shows_progress);
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let site = async || Site::open(&arguments).await.map(Arc::new);
    let run = run(&arguments, &progress, &mut out, &mut err, interrupt(), site);
    let status = match run.await {
        Ok(status) => status,
        Err(error) => {
            // There is nobody to tell that this fails.
            let _ = writeln!(err, "error: {error:#}");
            BAD_INPUT
        }
    };
    status.into()
}

/// Imports with one strategy after the other, each at a site of its own; returns the exit status.
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
            return Ok(rejected(books.checkpoint.rejected));
        }
        if !arguments.json && outcomes.is_empty() {
            report::introduction(out, arguments)?;
        }
        let site = site().await?;
        let outcome = import::run(
            strategy,
            arguments,
            books,
            site,
            progress,
            err,
            interrupt.as_mut(),
        )
        .await?;
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
        // Without a picture it was an import all the same.
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

/// Ctrl-C or SIGTERM; for ever pending where those cannot be listened for.
async fn interrupt() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = ctrl_c => {}
        () = terminate() => {}
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => pending().await,
    }
}

#[cfg(not(unix))]
async fn terminate() {
    pending().await
}

fn status(outcomes: &[Outcome]) -> u8 {
    let any = |test: fn(&Outcome) -> bool| outcomes.iter().any(test);
    let mut stopped = outcomes
        .iter()
        .filter_map(|outcome| outcome.stopped.as_ref());
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

fn rejected(records: u64) -> u8 {
    match records {
        0 => 0,
        _ => RECORDS_LOST,
    }
}
