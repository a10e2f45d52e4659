//! The process of the servers: a strict authorization server with a front before it, and an API. The process reads orders from
//! its standard input, one a line, answers each with its counters, and ends with its input. [`Site`] is the other side.

#[allow(dead_code)]
#[path = "../shared/site.rs"]
mod shared;

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::testing::{AuthorizationServer, Front, ImportApi};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, Stdin};
use tokio::process::{Child, ChildStdin};
use tokio::sync::Mutex;

pub(crate) use self::shared::CLIENT_SECRET;
use self::shared::{Answers, LATENCY, Servers, WEEK, start_child};
use crate::command::json_line;
use crate::faults::Out;

pub(crate) const CLIENT_ID: &str = "soak";

/// The first line of the input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) access_ttl: Duration,
}

/// The first line of the output.
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

/// What the servers and the front counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) rotations: u64,
    pub(crate) sessions_revoked: u64,
    pub(crate) unauthorized: u64,
    /// Requests that the front answered in place of the authorization server.
    pub(crate) turned_away: u64,
}

pub(crate) async fn main() -> anyhow::Result<()> {
    // Ctrl-C reaches both processes, but the other process decides when this one ends.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let rules: Rules = next(&mut orders)
        .await?
        .context("standard input has no rules: only `soak` itself starts the servers")?;
    let server = AuthorizationServer::builder()
        .client(CLIENT_ID, CLIENT_SECRET)
        .sign_in(true)
        .access_ttl(rules.access_ttl)
        .refresh_ttl(WEEK)
        .latency(LATENCY)
        .build();
    let api = ImportApi::builder(&server).build();
    let servers = Servers::open(server, api).await?;
    let (server, records) = (&servers.server, &servers.records);
    let front = Front::before(servers.token_endpoint.addr()).await?;
    let out = &mut io::stdout();
    let addresses = Addresses {
        token_url: format!("{}/token", front.origin()),
        api_url: records.url().to_owned(),
        api_origin: records.origin().to_owned(),
    };
    json_line(out, &addresses)?;
    while let Some(order) = next(&mut orders).await? {
        match order {
            Order::Begin(out) => out.begin(&front).await?,
            Order::End => front.end()?,
            Order::Count => {}
        }
        let counters = Counters {
            rotations: server.rotations(),
            sessions_revoked: server.families_revoked(),
            unauthorized: servers.api.unauthorized(),
            turned_away: front.answered(),
        };
        json_line(out, &counters)?;
    }
    Ok(())
}

async fn next<T: for<'de> Deserialize<'de>>(
    lines: &mut Lines<BufReader<Stdin>>,
) -> anyhow::Result<Option<T>> {
    let line = lines.next_line().await?;
    Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
}

/// The connection to the process of the servers. Dropping it ends that process.
pub(crate) struct Site {
    pub(crate) addresses: Addresses,
    pipes: Mutex<Pipes>,
    _child: Child,
}

struct Pipes {
    orders: ChildStdin,
    answers: Answers,
}

impl Site {
    pub(crate) async fn open(access_ttl: Duration) -> anyhow::Result<Self> {
        let (child, orders, answers) = start_child("--serve")?;
        let mut pipes = Pipes { orders, answers };
        Ok(Self {
            addresses: pipes.ask(&Rules { access_ttl }).await?,
            pipes: Mutex::new(pipes),
            _child: child,
        })
    }

    /// Sends an order and returns the counters after it.
    pub(crate) async fn order(&self, order: Order) -> anyhow::Result<Counters> {
        self.pipes.lock().await.ask(&order).await
    }
}

impl Pipes {
    async fn ask<T: for<'de> Deserialize<'de>>(
        &mut self,
        question: &impl Serialize,
    ) -> anyhow::Result<T> {
        let mut line = serde_json::to_string(question)?;
        line.push('\n');
        let gone = "the process of the servers has ended";
        self.orders.write_all(line.as_bytes()).await.context(gone)?;
        let answer = self.answers.next_line().await?.context(gone)?;
        Ok(serde_json::from_str(&answer)?)
    }
}
