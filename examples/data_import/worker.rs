//! What each of the workers does: it takes a batch, posts it with a token, and counts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use evertoken::TokenManager;
use evertoken::testing::ImportApi;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};

use crate::batches::Batch;
use crate::progress::Bar;
use crate::tally::Tally;

/// How often a batch is tried if no token can be had for it.
const TRIES: u32 = 3;

/// Before the next try, where the error does not say how long to wait.
const PAUSE: Duration = Duration::from_millis(500);

/// What the workers of one import share.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batches: Mutex<mpsc::Receiver<Batch>>,
    pub(crate) http: Client,
    pub(crate) url: String,
    pub(crate) access: Access,
    pub(crate) tally: Arc<Tally>,
    pub(crate) bar: Bar,
    pub(crate) api: ImportApi,
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

impl Job {
    /// Works until there are no more batches.
    pub(crate) async fn work(&self) {
        while let Some(batch) = self.next().await {
            match self.post(&batch).await {
                Ok(records) => self.tally.imported(records),
                Err(error) => self.tally.lost(batch.records, &error),
            }
            self.bar
                .advance(&batch, &self.tally, self.api.unauthorized());
        }
    }

    async fn next(&self) -> Option<Batch> {
        self.batches.lock().await.recv().await
    }

    /// Returns how many records the API has taken.
    async fn post(&self, batch: &Batch) -> anyhow::Result<u64> {
        let request = || {
            self.http
                .post(&self.url)
                .header(CONTENT_TYPE, "application/marc")
                .body(batch.body.clone())
        };
        let response = match &self.access {
            Access::Fixed(token) => request().bearer_auth(token.expose()).send().await?,
            Access::Managed(tokens) => self.send(tokens, request).await?,
        };
        let status = response.status();
        ensure!(status.is_success(), "the API answered {status}");
        let imported: Imported = response.json().await?;
        ensure!(
            imported.records == batch.records,
            "the API took {} of {} records",
            imported.records,
            batch.records
        );
        Ok(imported.records)
    }

    /// Tries again only where evertoken says that the same may succeed later: such a request was not
    /// acted upon. Every other answer and error is the batch's.
    async fn send(
        &self,
        tokens: &TokenManager,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, evertoken::Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            let answer = match self.wait_for_token(tokens).await {
                Ok(()) => tokens.send(request()).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_retryable() && tried < TRIES => {
                    sleep(error.retry_after().unwrap_or(PAUSE)).await;
                }
                answer => return answer,
            }
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
