//! What each of the workers does: it takes a batch, sends it with a token until its fate is known, and
//! notes that.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evertoken::TokenManager;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};

use crate::answer::{Failure, imported};
use crate::batches::Batch;
use crate::checkpoint::Checkpoint;
use crate::journal::{Closed, Pen};
use crate::notices::Notices;
use crate::obstacle::chain;
use crate::patience::{Next, Patience};
use crate::progress::Bar;
use crate::site::Site;
use crate::stop::Stop;
use crate::stopped::Stopped;
use crate::tally::Tally;

/// After so long without a token, the import says what it waits for.
const QUIET: Duration = Duration::from_secs(1);

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
    pub(crate) stop: Arc<Stop<Stopped>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) bar: Bar,
    pub(crate) notices: Notices,
    /// For how long a batch waits for an API that is not available.
    pub(crate) api_wait: Duration,
}

/// What a request is authorized with.
#[derive(Debug)]
pub(crate) enum Access {
    /// The token that the import was started with.
    Fixed(evertoken::AccessToken),
    Managed(TokenManager),
}

#[derive(Debug)]
enum Fate {
    Imported(u64),
    Failed(anyhow::Error),
    /// The import stopped first.
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
        if let Some(count) = self.site.unauthorized() {
            self.tally.unauthorized(count);
        }
        self.bar.advance(records, bytes as u64, &self.tally);
    }

    /// Sends a batch again where nothing is known of it, and not only where it is known not to have been
    /// acted upon: by its key, the API tells the second request from another batch.
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
            Access::Managed(tokens) => tokens.send(request).await?,
        };
        imported(response, batch).await
    }

    /// `send` would do it too, but then there would be nothing to measure, and no stop in between. `None` if the
    /// import stops meanwhile.
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
                    self.bar.waits("for a token");
                    if let Some(error) = tokens.status().failure {
                        self.notices.waits_for_token(chain(&error));
                    }
                }
            }
        }
    }

    fn waits(&self, failure: &Failure) {
        match failure {
            Failure::NoToken(error) => {
                self.bar.waits("for a token");
                self.notices.waits_for_token(chain(error));
            }
            Failure::Unavailable { why, .. } => {
                self.bar.waits("for the API");
                self.notices.waits_for_api(format_args!("{why:#}"));
            }
            _ => {}
        }
    }
}
