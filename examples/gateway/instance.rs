//! One instance of a load: a process that serves the application until its standard input is closed.

use std::collections::HashSet;
use std::future::IntoFuture as _;
use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use evertoken::{PairId, Presentation};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::application;

/// What an instance reads from its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) address: String,
    pub(crate) configuration: String,
}

/// The line of an instance that is ready. The other lines are the names of the pairs whose token it gave out.
pub(crate) const READY: &str = "ready";

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let setup: Setup = serde_json::from_str(&line)
        .context("standard input has no setup: only a load starts an instance")?;
    let seen = Arc::<Mutex<HashSet<PairId>>>::default();
    let served = move |session: &Presentation| {
        let pair = session.token().pair_id();
        if seen.lock().insert(pair) {
            // Without its parent the process ends soon.
            let _ = writeln!(io::stdout(), "{pair}");
        }
    };
    let application = application::build(&setup.configuration, served).await?;
    let listener = TcpListener::bind(&setup.address).await?;
    writeln!(io::stdout(), "{READY}")?;
    let closed = tokio::task::spawn_blocking(|| {
        let mut rest = String::new();
        while io::stdin().read_line(&mut rest).is_ok_and(|read| read > 0) {}
    });
    tokio::select! {
        served = axum::serve(listener, application.router).into_future() => served?,
        _ = closed => {}
    }
    application.sessions.shutdown().await?;
    Ok(())
}
