//! An import into FOLIO that takes longer than its tokens live, while the user who started it works in a browser and logs out
//! in the middle.
//!
//! ```text
//! cargo run --release --features folio --example folio_import
//! ```
//!
//! The program runs one import for each kind of FOLIO and each kind of session, side by side, each at its own FOLIO on the
//! loopback. `site` and `job` hold all that an application needs of evertoken; `ui` is the browser. An hour takes half a
//! minute: see [`pace`].

mod arguments;
mod job;
mod picture;
mod report;
mod site;
mod ui;

// `data_import` reads and counts records by the same modules; only `data_import` can be resumed.
#[allow(dead_code)]
#[path = "../shared/batches.rs"]
mod batches;
#[allow(dead_code)]
#[path = "../shared/command.rs"]
mod command;
#[path = "../shared/records.rs"]
mod records;
#[allow(dead_code)]
#[path = "../shared/tally.rs"]
mod tally;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use clap::Parser as _;
use evertoken::clock::{Clock as _, SystemClock};
use futures_util::future::try_join_all;
use tokio::runtime::Builder;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::sleep;

use self::arguments::{Arguments, Session};
use self::job::Outcome;

/// Records failed in an import that must not lose any.
const RECORDS_LOST: u8 = 1;

/// The input cannot be read, or the imports cannot run. `clap` exits with this status too when the arguments are wrong.
const BAD_INPUT: u8 = 2;

/// A user must sign in before the import can be resumed.
const SESSION_ENDED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Tokio can pause time only in a runtime with one thread.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let status = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&arguments, &mut io::stdout())));
    command::exit(status, BAD_INPUT)
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
        stopped = pace(arguments.time_scale) => {
            return Err(stopped.err().unwrap_or_else(|| anyhow!("the simulated time has stopped")));
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

/// The exit status of the imports with their own session. Imports with another session count only if no import has its own
/// session, because they may fail.
fn status(outcomes: &[Outcome]) -> u8 {
    let has_own = outcomes.iter().any(|it| it.session == Session::Own);
    let counts = |outcome: &&Outcome| !has_own || outcome.session == Session::Own;
    let any = |test: fn(&Outcome) -> bool| outcomes.iter().filter(counts).any(test);
    if any(|outcome| outcome.session_ended.is_some()) {
        SESSION_ENDED
    } else if any(|outcome| outcome.counts.failed > 0) {
        RECORDS_LOST
    } else {
        0
    }
}

/// Timers within one step fire in their order. A message through a socket may take one step longer.
const STEP: Duration = Duration::from_millis(250);

/// The least number of times that the runtime polls its sockets before each step: a request and its answer pass several tasks.
const LOOKS: usize = 16;

/// Advances tokio's paused time `scale` times as fast as real time, or as fast as the machine can.
///
/// Paused time jumps to the next timer when no task can run, so an hour would be over at once, before an answer arrives
/// through a socket. So time advances in short steps, and stands still between two steps.
pub(crate) async fn pace(scale: f64) -> anyhow::Result<Infallible> {
    let start = SystemClock.now();
    let mut simulated = Duration::ZERO;
    loop {
        let due = simulated.div_f64(scale);
        let early = due.saturating_sub(SystemClock.now().since(start));
        // Paused time stands still while a blocking task runs.
        spawn_blocking(move || thread::sleep(early)).await?;
        for _ in 0..LOOKS {
            yield_now().await;
        }
        sleep(STEP).await;
        simulated += STEP;
    }
}
