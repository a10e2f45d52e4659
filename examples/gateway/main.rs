//! A backend for a browser: a page whose user signs in, and an API that the page calls without a token of its own.
//!
//! ```text
//! cargo run --example gateway --features gateway
//! cargo run --release --example gateway --features gateway -- --instances 3 --browsers 200 --reload-storms
//! ```
//!
//! The first command serves the page, beside an authorization server and an API of its own. The second one runs browsers with
//! several tabs against three processes, and counts what they meet. `application` and `login` hold all that a program needs; the
//! other modules are the servers around it, and the load.

mod application;
mod arguments;
mod instance;
mod load;
mod login;
mod site;

#[allow(dead_code)]
#[path = "../shared/command.rs"]
mod command;
// `soak` names its store by the same module.
#[allow(dead_code)]
#[path = "../shared/store.rs"]
mod store;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::net::TcpListener;

use self::arguments::Arguments;
use self::site::Site;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.instance {
        true => instance::main().map(|()| 0),
        false => start(&arguments),
    };
    command::exit(result, 1)
}

#[tokio::main]
async fn start(arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.check()?;
    if arguments.instances.is_some() {
        let report = load::run(arguments).await?;
        report.write(&mut io::stdout(), arguments.json)?;
        return Ok(u8::from(report.is_broken()));
    }
    serve(arguments).await?;
    Ok(0)
}

/// Serves the page until the program is interrupted.
async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", arguments.listen))?;
    let address = listener.local_addr()?.to_string();
    let (document, site) = match &arguments.config {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            (
                text.with_context(|| format!("cannot read {}", path.display()))?,
                None,
            )
        }
        None => {
            let site = Site::open(arguments.mode, arguments.access_ttl()).await?;
            (site.configuration(None, &address), Some(site))
        }
    };
    let served = application::build(&document, |_| {}).await?;
    writeln!(
        io::stderr(),
        "open http://{address}/ in several tabs; Ctrl-C ends the program"
    )?;
    let serving = axum::serve(listener, served.router);
    serving
        .with_graceful_shutdown(command::interrupted())
        .await?;
    served.sessions.shutdown().await?;
    drop(site);
    Ok(())
}
