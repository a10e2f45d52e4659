//! One import: all that an application needs of evertoken, from the session to the shutdown. The workers, which send the
//! batches, are here as well.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use evertoken::testing::FolioCounters;
use evertoken::{BackgroundTimer, TokenClient, TokenManager, TokenPair};
use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::arguments::{Arguments, Mode, Session};
use crate::batches::{self, Batch, Batches, Done, Stop};
use crate::site::Site;
use crate::tally::{Counts, Tally};
use crate::ui::{self, Life};

/// The result of an import. Times are simulated, and count from the start of the import.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) mode: Mode,
    pub(crate) session: Session,
    pub(crate) total: u64,
    pub(crate) counts: Counts,
    /// Why the import stopped before its end.
    pub(crate) session_ended: Option<evertoken::Error>,
    /// What FOLIO counted, for the import and the browser.
    pub(crate) counters: FolioCounters,
    pub(crate) elapsed: Duration,
    pub(crate) user: Life,
}

impl Outcome {
    pub(crate) fn is_complete(&self) -> bool {
        self.counts.ok == self.total
    }
}

/// Imports all records, or those that can be imported until the session ends.
pub(crate) async fn run(
    mode: Mode,
    session: Session,
    arguments: &Arguments,
    total: u64,
) -> anyhow::Result<Outcome> {
    let site = Arc::new(Site::open(mode, arguments, total).await?);
    // The user signs in and starts the import.
    let pair = site.user_signs_in()?;
    let (over, is_over) = watch::channel(false);
    let job = async {
        let imported = import(session, arguments, Arc::clone(&site), pair.clone()).await;
        over.send_replace(true);
        imported
    };
    let user = ui::run(&site, arguments, pair.clone(), is_over);
    let ((counts, session_ended, elapsed), user) = tokio::try_join!(job, user)?;
    Ok(Outcome {
        mode,
        session,
        total,
        counts,
        session_ended,
        counters: site.folio.counters(),
        elapsed,
        user,
    })
}

/// What the import counted, why its session ended, and how long the import took.
type Imported = (Counts, Option<evertoken::Error>, Duration);

async fn import(
    session: Session,
    arguments: &Arguments,
    site: Arc<Site>,
    pair: TokenPair,
) -> anyhow::Result<Imported> {
    let Batches { receiver, reader } = batches::read(arguments, Done::default())?;
    let batches = Arc::new(Mutex::new(receiver));
    let tally = Arc::new(Tally::start()?);
    let stop = Arc::new(Stop::default());
    let tokens = tokens(session, &site, &pair)?;
    let access = match &tokens {
        Some(tokens) => Access::Managed(site.client(tokens)?),
        None => {
            let access = pair.access.context("the user has no access token")?;
            let handed = site.folio.handed_on(access.expose());
            Access::Fixed(site.client_with(&handed.context("the user was not let in")?)?)
        }
    };
    let follower = tokens
        .as_ref()
        .map(|tokens| tokio::spawn(Arc::clone(&tally).follow(tokens.subscribe())));
    if session == Session::Shared
        && let Some(tokens) = &tokens
    {
        // From now on the import holds the pair, and the copy of the browser is consumed.
        tokens.rotate().await?;
    }
    let worker = Worker {
        batches,
        access,
        url: site.url("/source-storage/records"),
        tally: Arc::clone(&tally),
        stop: Arc::clone(&stop),
    };
    let worker = Arc::new(worker);
    let mut workers = JoinSet::new();
    for _ in 0..arguments.workers {
        let worker = Arc::clone(&worker);
        workers.spawn(async move { worker.work().await });
    }
    // The receiver is dropped with the last worker, and then the reader ends as well.
    drop(worker);
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker panicked")?;
    }
    let elapsed = tally.elapsed();
    if let Some(tokens) = tokens {
        tokens.shutdown().await?;
    }
    if let Some(follower) = follower {
        follower.await?;
    }
    reader
        .join()
        .map_err(|_| anyhow!("the reader panicked"))??;
    let counts = tally.counts().clone();
    Ok((counts, stop.why().cloned(), elapsed))
}

/// The manager of the session; `None` for a fixed token.
fn tokens(session: Session, site: &Site, pair: &TokenPair) -> anyhow::Result<Option<TokenManager>> {
    let timer = BackgroundTimer::default();
    let builder = match session {
        Session::Own => site.builder(site.endpoint_with_sign_in()?, timer),
        Session::Shared => site.builder(site.endpoint()?, timer).seed(pair.clone()),
        Session::Fixed => return Ok(None),
    };
    Ok(Some(builder.build()?))
}

/// Attempts with a batch that FOLIO has not taken.
const TRIES: u32 = 3;

/// The pause before the next attempt, where the error has no pause.
const PAUSE: Duration = Duration::from_secs(1);

/// What the workers of one import share.
pub(crate) struct Worker {
    pub(crate) batches: Arc<Mutex<mpsc::Receiver<Batch>>>,
    pub(crate) access: Access,
    pub(crate) url: String,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stop: Arc<Stop<evertoken::Error>>,
}

/// The client that sends the requests.
pub(crate) enum Access {
    /// A client with the token that the import started with.
    Fixed(Client),
    Managed(TokenClient),
}

/// The answer of the API.
#[derive(Debug, Deserialize)]
struct Answer {
    records: u64,
}

impl Worker {
    /// Works until no batches are left or the session ends.
    pub(crate) async fn work(&self) {
        while let Some(batch) = self.next().await {
            match self.fate(&batch).await {
                Ok(()) => self.tally.imported(batch.records),
                Err(error) if self.stop.why().is_none() => self.tally.lost(batch.records, &error),
                // A batch that was not sent is neither imported nor lost.
                Err(_) => return,
            }
        }
    }

    /// Waits for a batch in a blocking task, so that no simulated time passes meanwhile.
    async fn next(&self) -> Option<Batch> {
        if self.stop.is_requested() {
            return None;
        }
        let batches = Arc::clone(&self.batches);
        let next = spawn_blocking(move || batches.lock().blocking_recv());
        next.await.ok().flatten()
    }

    async fn fate(&self, batch: &Batch) -> anyhow::Result<()> {
        let mut tries = 1;
        loop {
            let error = match self.send(batch).await {
                Ok(response) => return self.judge(batch, response).await,
                Err(error) => error,
            };
            if error.needs_sign_in() {
                self.stop.because(error.clone());
            }
            if tries == TRIES || !error.is_retryable() {
                return Err(error.into());
            }
            tries += 1;
            sleep(error.retry_after().unwrap_or(PAUSE)).await;
        }
    }

    async fn send(&self, batch: &Batch) -> Result<Response, evertoken::Error> {
        match &self.access {
            Access::Fixed(client) => Ok(self.request(client, batch).send().await?),
            Access::Managed(client) => client.send(self.request(client.http(), batch)).await,
        }
    }

    fn request(&self, client: &Client, batch: &Batch) -> RequestBuilder {
        client
            .post(&self.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/marc"))
            .body(batch.body.clone())
    }

    async fn judge(&self, batch: &Batch, response: Response) -> anyhow::Result<()> {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            let count = self.tally.counts().unauthorized + 1;
            self.tally.unauthorized(count);
        }
        if !status.is_success() {
            return Err(anyhow!("the API answered {status}"));
        }
        let imported: Answer = response.json().await?;
        match imported.records == batch.records {
            true => Ok(()),
            false => Err(anyhow!(
                "the API took {} of {} records",
                imported.records,
                batch.records
            )),
        }
    }
}
