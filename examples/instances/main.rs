//! Many processes that share one session, and what becomes of it when some of them are killed or stopped.
//!
//! ```text
//! cargo run --release --example instances -- --store file:session --instances 8 --kill-every 2s
//! ```
//!
//! An authorization server and an API are served by this process; each instance is a process of its own,
//! this program once more. It is told by its standard input whom to ask, and ends when that is closed.
//! `instance` and `setup` have what an application needs of evertoken; the rest starts instances,
//! strikes them, and watches the record they share.

mod adoptions;
mod arguments;
mod fleet;
mod history;
mod instance;
mod message;
mod report;
mod run;
mod sendings;
mod setup;
mod site;
mod store;
mod strikes;
mod telling;
mod trace;
mod watcher;

use std::io::{self, Write as _};

use clap::Parser as _;

use self::arguments::Arguments;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.instance {
        true => instance::main(),
        false => start(&arguments),
    }
}

#[tokio::main]
async fn start(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(told) = arguments.check()? {
        writeln!(io::stderr(), "{told}")?;
    }
    let outcome = run::run(arguments).await?;
    report::write(&mut io::stdout(), &outcome, arguments.json)
}
