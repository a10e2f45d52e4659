//! A soak test: managers with each strategy live for minutes or hours, in real time and in bad faults, and must
//! neither fail a call nor grow.
//!
//! ```text
//! cargo run --release --example soak -- --for 1h
//! ```
//!
//! Each strategy has a session of its own, and callers that call an API all the time. A front before the token
//! endpoint answers in its place now and then, as gateways and firewalls do; the store fails now and then; and each
//! manager is shut down and built anew now and then. `session` and `callers` have what an application needs of
//! evertoken, `faults` and `shaky` what stands in its way, and `process` and `judgement` what is measured.
//!
//! The servers and the front are a process of their own, this program once more: the embedded authorization server
//! remembers every token that it issued, and that memory is not the client's.

mod arguments;
mod callers;
mod judgement;
mod process;
mod report;
mod run;
mod servers;
mod session;
mod shaky;
mod site;
// `instances` names its store in the same words.
mod faults;
#[path = "../instances/store.rs"]
mod store;
mod tally;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::Arguments;

/// A call failed, or something grew.
const FAILED: u8 = 1;

/// The run could not take place. Wrong arguments have this status too.
const NO_RUN: u8 = 2;

/// As a shell reports it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.serve {
        true => servers::main().await.map(|()| 0),
        false => run::run(&arguments, &mut io::stdout()).await,
    };
    let status = done.unwrap_or_else(|error| {
        // Without a standard error the status alone reports it.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        NO_RUN
    });
    status.into()
}
