//! An import that outlives its access tokens, with and without evertoken.
//!
//! ```text
//! cargo run --release --example data_import
//! ```
//!
//! The import is the client of two servers that it starts on the loopback: an authorization server that
//! revokes the session if a refresh token comes twice, and an API that checks the access token on every
//! call. `import` has all that an application needs of evertoken, and `worker` the one call that sends.

mod arguments;
mod batches;
mod generate;
mod import;
mod marc_file;
mod progress;
mod report;
mod tally;
mod worker;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _, Write};
use std::pin::pin;
use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Strategy};
use self::import::Outcome;
use self::progress::Progress;

/// A strategy of evertoken's lost records.
const RECORDS_LOST: u8 = 1;

/// The input cannot be read, or not to its end. Wrong arguments have this status too.
const BAD_INPUT: u8 = 2;

/// As a shell reports it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shows_progress = !arguments.json && io::stderr().is_terminal();
    let progress = Progress::new(&arguments, shows_progress);
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let status = match run(&arguments, &progress, &mut out, &mut err, interrupt()).await {
        Ok(status) => status,
        Err(error) => {
            // There is nobody to tell that this fails.
            let _ = writeln!(err, "error: {error:#}");
            BAD_INPUT
        }
    };
    status.into()
}

/// Imports with one strategy after the other; returns the exit status.
async fn run(
    arguments: &Arguments,
    progress: &Progress,
    out: &mut impl Write,
    err: &mut impl Write,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<u8> {
    if !arguments.json {
        report::introduction(out, arguments)?;
    }
    let mut interrupt = pin!(interrupt);
    let mut outcomes = Vec::new();
    for strategy in arguments.strategies() {
        let outcome = import::run(strategy, arguments, progress, interrupt.as_mut()).await?;
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
    }
    report::broken_input(err, &outcomes)?;
    Ok(status(&outcomes))
}

/// Ctrl-C; for ever pending where that cannot be listened for.
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

fn status(outcomes: &[Outcome]) -> u8 {
    let any = |test: fn(&Outcome) -> bool| outcomes.iter().any(test);
    if any(|outcome| outcome.interrupted) {
        INTERRUPTED
    } else if any(|outcome| outcome.strategy != Strategy::Fixed && outcome.failed > 0) {
        RECORDS_LOST
    } else if any(|outcome| outcome.broken_input.is_some()) {
        BAD_INPUT
    } else {
        0
    }
}
