//! What each of the workers does: it takes a batch, sends it with a token until its fate is known, and
//! notes that.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use evertoken::TokenManager;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};

use crate::batches::Batch;
use crate::checkpoint::Checkpoint;
use crate::journal::{Closed, Pen};
use crate::progress::Bar;
use crate::site::Site;
use crate::stop::Stop;
use crate::tally::Tally;

/// How often a batch is tried if no token can be had for it, or no answer.
const TRIES: u32 = 3;

/// Before the next try, where the error does not say how long to wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Before the API is asked again whether it is done with a batch that it works on.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long it may work on one.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// What the workers of one import share.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batches: Mutex<mpsc::Receiver<Batch>>,
    pub(crate) http: Client,
    pub(crate) site: Arc<Site>,
    pub(crate) method: Method,
    pub(crate) access: Access,
    /// What the keys of the batches start with.
    pub(crate) run: String,
    pub(crate) pen: Pen,
    pub(crate) stop: Arc<Stop>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) bar: Bar,
}

/// What a request is authorized with.
#[derive(Debug)]
pub(crate) enum Access {
    /// The token that the import was started with.
    Fixed(evertoken::AccessToken),
    Managed(TokenManager),
}

/// What the API answers.
#[derive(Debug, Deserialize)]
struct Imported {
    records: u64,
}

/// Why a batch was not imported by this try.
#[derive(Debug)]
enum Failure {
    /// There was no token, or no answer.
    NoAnswer(evertoken::Error),
    /// An earlier request with this batch, maybe of a killed import, is still being worked on.
    Busy,
    /// Not even the second token was accepted.
    Unauthorized,
    Refused(anyhow::Error),
}

#[derive(Debug)]
enum Fate {
    Imported(u64),
    Failed(anyhow::Error),
    /// It was told to stop first.
    Open,
}

impl Job {
    /// Works until there are no more batches, or the import stops.
    pub(crate) async fn work(&self) {
        while let Some(batch) = self.next().await {
            let noted = match self.fate(&batch).await {
                Fate::Imported(records) => self.imported(&batch, records),
                Fate::Failed(error) => self.failed(batch, &error).await,
                Fate::Open => return,
            };
            if noted.is_err() {
                // What is done cannot be kept any more.
                return self.stop.request();
            }
        }
    }

    async fn next(&self) -> Option<Batch> {
        let received = async { self.batches.lock().await.recv().await };
        tokio::select! {
            biased;
            () = self.stop.requested() => None,
            batch = received => batch,
        }
    }

    fn imported(&self, batch: &Batch, records: u64) -> Result<(), Closed> {
        self.pen.imported(batch)?;
        self.tally.imported(records);
        self.advance(batch.records, batch.body.len());
        Ok(())
    }

    async fn failed(&self, batch: Batch, error: &anyhow::Error) -> Result<(), Closed> {
        let (records, bytes) = (batch.records, batch.body.len());
        self.pen.rejected(batch).await?;
        self.tally.lost(records, error);
        self.advance(records, bytes);
        Ok(())
    }

    fn advance(&self, records: u64, bytes: usize) {
        self.tally.unauthorized(self.site.unauthorized());
        self.bar.advance(records, bytes as u64, &self.tally);
    }

    /// Sends a batch again where nothing is known of it, and not only where it is known not to have been
    /// acted upon: by its key, the API tells the second request from another batch.
    async fn fate(&self, batch: &Batch) -> Fate {
        let started = Instant::now();
        let mut tries = 0;
        loop {
            if self.stop.is_requested() {
                return Fate::Open;
            }
            let failure = match self.send(batch).await {
                Ok(records) => return Fate::Imported(records),
                Err(failure) => failure,
            };
            let pause = match &failure {
                Failure::NoAnswer(error) if error.needs_sign_in() => {
                    self.stop.session_ended(error.clone());
                    return Fate::Open;
                }
                Failure::NoAnswer(error) if may_succeed(error) => {
                    tries += 1;
                    (tries < TRIES).then(|| error.retry_after().unwrap_or(PAUSE))
                }
                Failure::Busy => (started.elapsed() < BUSY_LIMIT).then_some(BUSY_PAUSE),
                // A token that was rejected as soon as it was issued is not rotated at once.
                Failure::Unauthorized if matches!(self.access, Access::Managed(_)) => {
                    tries += 1;
                    (tries < TRIES).then_some(PAUSE)
                }
                _ => None,
            };
            match pause {
                Some(pause) => tokio::select! {
                    () = self.stop.requested() => return Fate::Open,
                    () = sleep(pause) => {}
                },
                None => return Fate::Failed(failure.into()),
            }
        }
    }

    /// Returns how many records the API has taken.
    async fn send(&self, batch: &Batch) -> Result<u64, Failure> {
        let request = self
            .http
            .request(self.method.clone(), self.site.url())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/marc"))
            .header("idempotency-key", Checkpoint::key(&self.run, batch.number))
            .body(batch.body.clone());
        let response = match &self.access {
            Access::Fixed(token) => request.bearer_auth(token.expose()).send().await?,
            Access::Managed(tokens) => {
                self.wait_for_token(tokens).await?;
                tokens.send(request).await?
            }
        };
        let imported = imported(response).await?;
        match imported.records == batch.records {
            true => Ok(imported.records),
            false => Err(Failure::Refused(anyhow!(
                "the API took {} of {} records",
                imported.records,
                batch.records
            ))),
        }
    }

    /// `send` would do it too, but then there would be nothing to measure.
    async fn wait_for_token(&self, tokens: &TokenManager) -> Result<(), evertoken::Error> {
        let asked = Instant::now();
        let token = tokens.token().await;
        self.tally.waited(asked.elapsed());
        token.map(drop)
    }
}

async fn imported(response: Response) -> Result<Imported, Failure> {
    match response.status() {
        StatusCode::CONFLICT => Err(Failure::Busy),
        StatusCode::UNAUTHORIZED => Err(Failure::Unauthorized),
        status if status.is_success() => Ok(response.json().await?),
        status => Err(Failure::Refused(anyhow!("the API answered {status}"))),
    }
}

fn may_succeed(error: &evertoken::Error) -> bool {
    match error {
        evertoken::Error::Request { source, .. } => !source.is_builder(),
        error => error.is_retryable(),
    }
}

impl From<evertoken::Error> for Failure {
    fn from(error: evertoken::Error) -> Self {
        Self::NoAnswer(error)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::NoAnswer(error.into())
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoAnswer(error) => error.into(),
            Failure::Busy => anyhow!("the API works on it for more than {BUSY_LIMIT:?}"),
            Failure::Unauthorized => anyhow!("the API answered {}", StatusCode::UNAUTHORIZED),
            Failure::Refused(error) => error,
        }
    }
}
