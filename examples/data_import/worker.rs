//! A worker takes a batch, sends it with a token until the batch is imported or has failed, and notes the result in the
//! journal. The answers of the API and the notices to the user are here as well.

use std::fmt::Display;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use evertoken::{ApiAnswer as _, TokenManager};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

use crate::batches::{Batch, Stop};
use crate::checkpoint::Checkpoint;
use crate::journal::{Closed, Pen};
use crate::patience::{Next, Patience, Stopped, chain};
use crate::progress::Bar;
use crate::site::Site;
use crate::tally::Tally;

/// After this time without a token, the import reports what it waits for.
const QUIET: Duration = Duration::from_secs(1);

/// What an import waits for.
const TOKEN: &str = "for a token";
const API: &str = "for the API";

/// What the workers of one import share.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batches: Mutex<mpsc::Receiver<Batch>>,
    pub(crate) http: Client,
    pub(crate) site: Arc<Site>,
    pub(crate) method: Method,
    pub(crate) access: Access,
    /// The prefix of the keys of all batches.
    pub(crate) run: String,
    pub(crate) pen: Pen,
    pub(crate) stop: Arc<Stop<Stopped>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) bar: Bar,
    pub(crate) notices: Notices,
    /// How long a batch waits for an API that is not available.
    pub(crate) api_wait: Duration,
}

/// The source of the token in a request.
#[derive(Debug)]
pub(crate) enum Access {
    /// The token that the import started with.
    Fixed(evertoken::AccessToken),
    Managed(TokenManager),
}

#[derive(Debug)]
enum Fate {
    Imported(u64),
    Failed(anyhow::Error),
    /// The import stopped before the batch had a result.
    Open,
}

impl Job {
    /// Works until no batches are left or the import stops.
    pub(crate) async fn work(&self) {
        while let Some(batch) = self.next().await {
            let noted = match self.fate(&batch).await {
                Fate::Imported(records) => self.imported(&batch, records),
                Fate::Failed(error) => self.failed(batch, &error).await,
                Fate::Open => return,
            };
            if noted.is_err() {
                // The journal cannot record results any more.
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
        if let Some(count) = self.site.unauthorized() {
            self.tally.unauthorized(count);
        }
        self.bar.advance(records, bytes as u64, &self.tally);
    }

    /// Sends a batch again also where the first request may have been processed: the API recognizes the second request by
    /// its key.
    async fn fate(&self, batch: &Batch) -> Fate {
        let mut patience = Patience::new(self.api_wait);
        loop {
            let tried = match self.wait_for_token().await {
                None => return Fate::Open,
                Some(Ok(())) => {
                    patience.got_token();
                    self.send(batch).await
                }
                Some(Err(error)) => Err(error.into()),
            };
            let failure = match tried {
                Ok(records) => return Fate::Imported(records),
                Err(failure) => failure,
            };
            let (is_managed, has_rotated) = match &self.access {
                Access::Fixed(_) => (false, false),
                Access::Managed(tokens) => (true, tokens.status().rotations > 0),
            };
            match patience.after(&failure, is_managed, has_rotated) {
                Next::Again(pause) => {
                    self.waits(&failure);
                    tokio::select! {
                        () = self.stop.requested() => return Fate::Open,
                        () = sleep(pause) => {}
                    }
                }
                Next::Stop(stopped) => {
                    self.stop.because(stopped);
                    return Fate::Open;
                }
                Next::Fail => return Fate::Failed(failure.into()),
            }
        }
    }

    /// Returns the number of records that the API has taken.
    async fn send(&self, batch: &Batch) -> Result<u64, Failure> {
        let request = self
            .http
            .request(self.method.clone(), self.site.url())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/marc"))
            .header("idempotency-key", Checkpoint::key(&self.run, batch.number))
            .body(batch.body.clone());
        let response = match &self.access {
            Access::Fixed(token) => request.bearer_auth(token.expose()).send().await?,
            Access::Managed(tokens) => tokens.send(request).await?,
        };
        imported(response, batch).await
    }

    /// Waits for a token; `None` if the import stops meanwhile. `send` would wait as well, but could not measure the wait or
    /// be stopped.
    async fn wait_for_token(&self) -> Option<Result<(), evertoken::Error>> {
        let tokens = match &self.access {
            _ if self.stop.is_requested() => return None,
            Access::Fixed(_) => return Some(Ok(())),
            Access::Managed(tokens) => tokens,
        };
        let asked = Instant::now();
        let mut answer = pin!(tokens.token());
        loop {
            tokio::select! {
                biased;
                token = &mut answer => {
                    self.tally.waited(asked.elapsed());
                    return Some(token.map(drop));
                }
                () = self.stop.requested() => return None,
                () = sleep(QUIET) => {
                    self.bar.waits(TOKEN);
                    if let Some(error) = tokens.status().failure {
                        self.notices.once(TOKEN, chain(&error));
                    }
                }
            }
        }
    }

    fn waits(&self, failure: &Failure) {
        match failure {
            Failure::NoToken(error) => {
                self.bar.waits(TOKEN);
                self.notices.once(TOKEN, chain(error));
            }
            Failure::Unavailable { why, .. } => {
                self.bar.waits(API);
                self.notices.once(API, format_args!("{why:#}"));
            }
            _ => {}
        }
    }
}

/// Why this attempt did not import the batch.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No token was available, so nothing was sent; or the API rejected the first token and no second one was available.
    NoToken(evertoken::Error),
    /// The API takes nothing from this client at present, or does not answer.
    Unavailable {
        why: anyhow::Error,
        /// The pause that the answer asks for.
        after: Option<Duration>,
    },
    /// There was no answer, or an answer that this batch may have caused. The API may have taken the batch.
    Unclear(anyhow::Error),
    /// The API still works on an earlier request with this batch, for example of a killed import.
    Busy,
    /// The API rejected the second token too.
    Unauthorized,
    Refused(anyhow::Error),
}

#[derive(Debug, Deserialize)]
struct Imported {
    records: u64,
}

/// The number of records of the batch that the API has taken; a failure unless it took all.
pub(crate) async fn imported(response: Response, batch: &Batch) -> Result<u64, Failure> {
    let status = response.status();
    let why = || anyhow!("the API answered {status}");
    match status {
        StatusCode::CONFLICT => return Err(Failure::Busy),
        StatusCode::UNAUTHORIZED => return Err(Failure::Unauthorized),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE => {
            let after = response.retry_after();
            return Err(Failure::Unavailable { why: why(), after });
        }
        // A batch that takes too long or breaks the API gets such an answer each time.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT => {
            return Err(Failure::Unclear(why()));
        }
        status if !status.is_success() => return Err(Failure::Refused(why())),
        _ => {}
    }
    let Imported { records } = response.json().await?;
    match records == batch.records {
        true => Ok(records),
        false => Err(Failure::Refused(anyhow!(
            "the API took {records} of {} records",
            batch.records
        ))),
    }
}

impl From<evertoken::Error> for Failure {
    fn from(error: evertoken::Error) -> Self {
        match &error {
            evertoken::Error::Request { source, .. } if source.is_connect() => Self::Unavailable {
                why: error.into(),
                after: None,
            },
            evertoken::Error::Request { source, .. } if source.is_builder() => {
                Self::Refused(error.into())
            }
            evertoken::Error::Request { .. } => Self::Unclear(error.into()),
            _ => Self::NoToken(error),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        evertoken::Error::from(error).into()
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoToken(error) => error.into(),
            Failure::Unavailable { why, .. } | Failure::Unclear(why) | Failure::Refused(why) => why,
            Failure::Busy => anyhow!("the API did not finish the batch in time"),
            Failure::Unauthorized => anyhow!("the API answered {}", StatusCode::UNAUTHORIZED),
        }
    }
}

/// Reports what the import waits for. Each cause has one notice in an import, because a busy API may cause many short waits.
#[derive(Debug)]
pub(crate) struct Notices {
    sender: UnboundedSender<String>,
    reported: parking_lot::Mutex<Vec<&'static str>>,
}

impl Notices {
    pub(crate) fn new() -> (Self, UnboundedReceiver<String>) {
        let (sender, receiver) = unbounded_channel();
        let reported = parking_lot::Mutex::default();
        (Self { sender, reported }, receiver)
    }

    fn once(&self, cause: &'static str, why: impl Display) {
        let mut reported = self.reported.lock();
        if !reported.contains(&cause) {
            reported.push(cause);
            // The receiver is dropped at the end of the import.
            let _ = self.sender.send(format!("waits {cause}: {why}"));
        }
    }
}
