//! An import into FOLIO that takes longer than its tokens live, while the user who started it works on in a
//! browser and logs out in the middle.
//!
//! ```text
//! cargo run --release --features folio --example folio_import
//! ```
//!
//! It runs once for each FOLIO and for each answer to the question whose session the import has, all side by
//! side, each at a FOLIO of its own on the loopback. `site` and `job` have what an application needs of
//! evertoken, and `worker` the one call that sends; `ui` is the browser. An hour takes half a minute: see
//! `pace`.

mod arguments;
mod job;
mod pace;
mod picture;
mod report;
mod site;
mod ui;
mod worker;

// MARC and the books of an import are `data_import`'s, with what it needs besides: it can be interrupted, and goes
// on where it stopped.
#[allow(dead_code)]
#[path = "../data_import/batches.rs"]
mod batches;
#[allow(dead_code)]
#[path = "../data_import/done.rs"]
mod done;
#[path = "../data_import/generate.rs"]
mod generate;
#[path = "../data_import/marc_file.rs"]
mod marc_file;
#[allow(dead_code)]
#[path = "../data_import/stop.rs"]
mod stop;
#[allow(dead_code)]
#[path = "../data_import/tally.rs"]
mod tally;
#[allow(dead_code)]
#[path = "../data_import/timeline.rs"]
mod timeline;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser as _;
use futures_util::future::try_join_all;
use tokio::runtime::Builder;

use self::arguments::{Arguments, Session};
use self::job::Outcome;

/// Records failed where none may.
const RECORDS_LOST: u8 = 1;

/// The input cannot be read, or something else is not as it has to be. Wrong arguments have this status too.
const BAD_INPUT: u8 = 2;

/// Somebody has to sign in before the import can go on.
const SESSION_ENDED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Paused time is of runtimes with one thread, which is enough for it.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let status = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&arguments, &mut io::stdout())));
    let status = status.unwrap_or_else(|error| {
        // There is nobody to tell that this fails.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        BAD_INPUT
    });
    status.into()
}

/// Imports with each session into each FOLIO at the same time; returns the exit status.
async fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<u8> {
    let total = arguments.total()?;
    if !arguments.json {
        report::introduction(out, arguments, total)?;
    }
    let sessions = arguments.session.iter();
    let imports = sessions.flat_map(|session| {
        let modes = arguments.mode.iter();
        modes.map(|mode| job::run(*mode, *session, arguments, total))
    });
    let outcomes = tokio::select! {
        outcomes = try_join_all(imports) => outcomes?,
        stopped = pace::pace(arguments.time_scale) => {
            return Err(stopped.err().unwrap_or_else(|| anyhow!("time stands still")));
        }
    };
    if arguments.json {
        report::json_lines(out, &outcomes, arguments)?;
    } else {
        report::table(out, &outcomes, arguments)?;
    }
    if let Some(path) = arguments.picture() {
        picture::draw(&path, arguments, &outcomes)?;
        if !arguments.json {
            writeln!(out, "A picture of it: {}", path.display())?;
        }
    }
    Ok(status(&outcomes))
}

/// Of the imports with a session of their own; the others are there to fail, unless they are the only ones.
fn status(outcomes: &[Outcome]) -> u8 {
    let has_own = outcomes
        .iter()
        .any(|outcome| outcome.session == Session::Own);
    let counts = |outcome: &&Outcome| !has_own || outcome.session == Session::Own;
    let any = |test: fn(&Outcome) -> bool| outcomes.iter().filter(counts).any(test);
    if any(|outcome| outcome.session_ended.is_some()) {
        SESSION_ENDED
    } else if any(|outcome| outcome.failed > 0) {
        RECORDS_LOST
    } else {
        0
    }
}
