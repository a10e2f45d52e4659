//! Many processes that share one session, and what happens to the session when some of them are killed or stopped.
//!
//! ```text
//! cargo run --release --example instances -- --store file:session --instances 8 --kill-every 2s
//! ```
//!
//! This process serves an authorization server and an API. Each instance is another process, which is this program once more:
//! it reads its setup from its standard input, and ends when that is closed. `instance` holds all that an application needs
//! of evertoken; the other modules start instances, strike them, and watch the record that the instances share.

mod arguments;
mod counts;
mod fleet;
mod history;
mod instance;
mod messages;
mod report;
mod run;
mod strikes;
mod watcher;

#[allow(dead_code)]
#[path = "../shared/command.rs"]
mod command;
#[allow(dead_code)]
#[path = "../shared/site.rs"]
mod site;
// `soak` names its store by the same module.
#[path = "../shared/store.rs"]
mod store;

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
    if let Some(notice) = arguments.check()? {
        writeln!(io::stderr(), "{notice}")?;
    }
    let outcome = run::run(arguments).await?;
    Ok(report::write(&mut io::stdout(), &outcome, arguments.json)?)
}
