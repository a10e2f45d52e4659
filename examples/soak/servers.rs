//! The process of the servers: a strict authorization server with the front before it, and an API. It obeys orders, one
//! a line of its standard input, answers each with its counters, and ends with its input.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use evertoken::testing::{AuthorizationServer, Front, ImportApi};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use crate::faults::Out;

pub(crate) const CLIENT_ID: &str = "soak";
pub(crate) const CLIENT_SECRET: &str = "of the embedded server";

/// How long the token endpoint takes.
const LATENCY: Duration = Duration::from_millis(20);

/// Longer than any run.
const REFRESH_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The first line of its input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) access_ttl: Duration,
}

/// The first line of its output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) token_url: String,
    pub(crate) api_url: String,
    pub(crate) api_origin: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Order {
    Begin(Out),
    End,
    Count,
}

/// What the servers and the front saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) rotations: u64,
    pub(crate) sessions_revoked: u64,
    pub(crate) unauthorized: u64,
    /// Requests that the front answered in place of the authorization server.
    pub(crate) turned_away: u64,
}

pub(crate) async fn main() -> anyhow::Result<()> {
    // Ctrl-C comes to both processes. The other one decides when this one ends.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let rules: Rules = next(&mut orders).await?.context("there are no rules")?;
    let server = AuthorizationServer::builder()
        .client(CLIENT_ID, CLIENT_SECRET)
        .sign_in(true)
        .access_ttl(rules.access_ttl)
        .refresh_ttl(REFRESH_TTL)
        .latency(LATENCY)
        .build();
    let token_endpoint = server.listen().await?;
    let api = ImportApi::builder(&server).build();
    let records = api.listen().await?;
    let front = Front::before(token_endpoint.addr()).await?;
    say(&Addresses {
        token_url: format!("{}/token", front.origin()),
        api_url: records.url().to_owned(),
        api_origin: records.origin().to_owned(),
    })?;
    while let Some(order) = next(&mut orders).await? {
        match order {
            Order::Begin(out) => out.begin(&front).await?,
            Order::End => front.end()?,
            Order::Count => {}
        }
        say(&Counters {
            rotations: server.rotations(),
            sessions_revoked: server.families_revoked(),
            unauthorized: api.unauthorized(),
            turned_away: front.answered(),
        })?;
    }
    Ok(())
}

async fn next<T: for<'de> Deserialize<'de>>(
    lines: &mut Lines<BufReader<Stdin>>,
) -> anyhow::Result<Option<T>> {
    let line = lines.next_line().await?;
    Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
}

fn say(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}
