//! What each of the workers does: it takes a batch, and sends it with a token until its fate is known.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use evertoken::TokenClient;
use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::batches::Batch;
use crate::stop::Stop;
use crate::tally::Tally;

/// How often a batch is tried that is known not to have been taken.
const TRIES: u32 = 3;

/// Before the next try, where the error does not say how long to wait.
const PAUSE: Duration = Duration::from_secs(1);

/// What the workers of one import share.
pub(crate) struct Worker {
    pub(crate) batches: Arc<Mutex<mpsc::Receiver<Batch>>>,
    pub(crate) access: Access,
    pub(crate) url: String,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stop: Arc<Stop<evertoken::Error>>,
}

/// What requests are sent with.
pub(crate) enum Access {
    /// The token that the import was started with, in each of them.
    Fixed(Client),
    Managed(TokenClient),
}

/// What the API answers.
#[derive(Debug, Deserialize)]
struct Imported {
    records: u64,
}

impl Worker {
    /// Works until there are no more batches, or the session ends.
    pub(crate) async fn work(&self) {
        while let Some(batch) = self.next().await {
            match self.fate(&batch).await {
                Ok(()) => self.tally.imported(batch.records),
                Err(error) if self.stop.why().is_none() => self.tally.lost(batch.records, &error),
                // One that was not sent is neither imported nor lost: it is for the next run.
                Err(_) => return,
            }
        }
    }

    /// Whatever the reader's thread takes for it, no simulated time passes: something blocks.
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
            self.tally
                .unauthorized(self.tally.unauthorized_so_far() + 1);
        }
        if !status.is_success() {
            return Err(anyhow!("the API answered {status}"));
        }
        let imported: Imported = response.json().await?;
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
