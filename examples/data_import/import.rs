//! One import with one strategy, on an authorization server, an API and a session of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use evertoken::testing::{AuthorizationServer, HttpServer, ImportApi};
use evertoken::{
    BackgroundTimer, Builder, Event, Events, OAuth2, OnRequest, OptimisticEarly, RefreshStrategy,
    TokenManager,
};
use reqwest::Client;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::arguments::{Arguments, Strategy};
use crate::batches::{self, Batches};
use crate::progress::Progress;
use crate::tally::{Failure, Tally};
use crate::worker::{Access, Job};

const CLIENT_ID: &str = "data-import";
const CLIENT_SECRET: &str = "of the embedded server";

/// A batch of 50 takes 150 ms, as a chunk of an import into FOLIO does.
const TIME_PER_RECORD: Duration = Duration::from_millis(3);

/// What a token endpoint takes that is not on this machine.
const TOKEN_ENDPOINT_LATENCY: Duration = Duration::from_millis(20);

const TOKEN_ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than any batch takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The version of the pair that a session starts with.
const FIRST_VERSION: u64 = 1;

/// What became of an import.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) strategy: Strategy,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<Failure>,
    /// Pairs that the manager landed.
    pub(crate) rotations: u64,
    /// Refresh grants that reached the server.
    pub(crate) exchanges: u64,
    pub(crate) replays: u64,
    pub(crate) families_revoked: u64,
    /// Calls that the API answered 401.
    pub(crate) unauthorized: u64,
    pub(crate) elapsed: Duration,
    pub(crate) wait_p50: Duration,
    pub(crate) wait_p99: Duration,
    /// Why the input was not read to its end.
    pub(crate) broken_input: Option<anyhow::Error>,
    pub(crate) interrupted: bool,
}

impl Outcome {
    /// Records that were tried.
    pub(crate) fn records(&self) -> u64 {
        self.ok + self.failed
    }
}

/// Imports everything, or what is done when `interrupt` resolves.
pub(crate) async fn run(
    strategy: Strategy,
    arguments: &Arguments,
    progress: &Progress,
    interrupt: Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Outcome> {
    let Batches { receiver, reader } = batches::read(arguments)?;
    let site = Site::open(arguments).await?;
    let http = Client::builder().timeout(REQUEST_TIMEOUT).build()?;
    let builder = site.builder(strategy)?;
    // As if somebody had signed in and pressed the button: the last thing before the start.
    let first = site.server.issue();
    let tokens = builder.map(|builder| builder.seed(first.clone()).build());
    let tokens = tokens.transpose()?;
    let access = match (&tokens, first.access) {
        (Some(tokens), _) => Access::Managed(tokens.clone()),
        (None, Some(token)) => Access::Fixed(token),
        (None, None) => bail!("the server issued no access token"),
    };
    let tally = Arc::new(Tally::start()?);
    let follower = tokens
        .as_ref()
        .map(|tokens| tokio::spawn(follow(tokens.subscribe(), Arc::clone(&tally))));
    let job = Arc::new(Job {
        batches: Mutex::new(receiver),
        http,
        url: site.records.url().to_owned(),
        access,
        tally: Arc::clone(&tally),
        bar: progress.bar(strategy),
        api: site.api.clone(),
    });

    let mut workers = JoinSet::new();
    for _ in 0..arguments.workers {
        let job = Arc::clone(&job);
        workers.spawn(async move { job.work().await });
    }
    let interrupted = tokio::select! {
        finished = all(&mut workers) => finished.map(|()| false)?,
        () = interrupt => true,
    };
    workers.shutdown().await;
    let elapsed = tally.elapsed();

    if let Some(tokens) = tokens {
        // A rotation may be under way: its pair is neither lost nor left out of the count.
        tokens.shutdown().await?;
    }
    drop(job);
    if let Some(follower) = follower {
        follower.await?;
    }
    // If interrupted, it may wait for a file that does not come.
    let broken_input = match interrupted {
        true => None,
        false => reader
            .join()
            .map_err(|_| anyhow!("the reader panicked"))?
            .err(),
    };
    Ok(Outcome {
        strategy,
        ok: tally.ok(),
        failed: tally.failed(),
        first_failure: tally.first_failure().cloned(),
        rotations: tally.rotations(),
        exchanges: site.server.exchanges(),
        replays: site.server.replays(),
        families_revoked: site.server.families_revoked(),
        unauthorized: site.api.unauthorized(),
        elapsed,
        wait_p50: tally.wait(0.5),
        wait_p99: tally.wait(0.99),
        broken_input,
        interrupted,
    })
}

/// What an import finds in place.
struct Site {
    server: AuthorizationServer,
    api: ImportApi,
    token_endpoint: HttpServer,
    records: HttpServer,
}

impl Site {
    async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let server = AuthorizationServer::builder()
            .client(CLIENT_ID, CLIENT_SECRET)
            .access_ttl(arguments.access_ttl)
            .refresh_ttl(arguments.refresh_ttl)
            .latency(TOKEN_ENDPOINT_LATENCY)
            .build();
        let api = ImportApi::builder(&server)
            .gateway(arguments.gateway())
            .time_per_record(TIME_PER_RECORD)
            .build();
        Ok(Self {
            token_endpoint: server.listen().await.context("cannot listen")?,
            records: api.listen().await.context("cannot listen")?,
            server,
            api,
        })
    }

    /// What is to become a manager, but for the pair to start with.
    fn builder(&self, strategy: Strategy) -> anyhow::Result<Option<Builder>> {
        let strategy: Arc<dyn RefreshStrategy> = match strategy {
            Strategy::Fixed => return Ok(None),
            Strategy::OnRequest => Arc::new(OnRequest::default()),
            Strategy::BackgroundTimer => Arc::new(BackgroundTimer::default()),
            Strategy::OptimisticEarly => Arc::new(OptimisticEarly::default()),
        };
        let endpoint = OAuth2::new(self.token_endpoint.url(), CLIENT_ID)?
            .client_secret(CLIENT_SECRET)
            .timeout(TOKEN_ENDPOINT_TIMEOUT);
        let builder = TokenManager::builder(endpoint)
            .strategy(strategy)
            .origin(self.records.origin());
        Ok(Some(builder))
    }
}

/// Counts rotations until the manager is gone. Versions do not miss any, even if events were missed.
async fn follow(mut events: Events, tally: Arc<Tally>) {
    while let Some(event) = events.recv().await {
        if let Event::Rotated { identity, .. } = event {
            tally.rotated(identity.version - FIRST_VERSION);
        }
    }
}

async fn all(workers: &mut JoinSet<()>) -> anyhow::Result<()> {
    while let Some(worker) = workers.join_next().await {
        worker.context("a worker panicked")?;
    }
    Ok(())
}
