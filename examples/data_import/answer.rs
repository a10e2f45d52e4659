//! What the API answers to a batch, and what that means: the batch is imported, the API is not available, or the batch
//! has failed.

use std::time::Duration;

use anyhow::anyhow;
use evertoken::ApiAnswer as _;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::batches::Batch;

/// Why a batch was not imported by this try.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no token, so that nothing was sent; or no second one after the API had rejected the first.
    NoToken(evertoken::Error),
    /// The API takes nothing from this client now, or is not there.
    Unavailable {
        why: anyhow::Error,
        /// When to ask again, where the answer said so.
        after: Option<Duration>,
    },
    /// There was no answer, or one that may be this batch's fault. The API may have taken it.
    Unclear(anyhow::Error),
    /// An earlier request with this batch, maybe of a killed import, is still being worked on.
    Busy,
    /// Not even the second token was accepted.
    Unauthorized,
    Refused(anyhow::Error),
}

#[derive(Debug, Deserialize)]
struct Imported {
    records: u64,
}

/// How many records of the batch the API has taken: all of them, or it is a failure.
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
        // A batch that takes too long, or that breaks the API, has such an answer every time.
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
            Failure::Busy => anyhow!("the API works on it for too long"),
            Failure::Unauthorized => anyhow!("the API answered {}", StatusCode::UNAUTHORIZED),
        }
    }
}
