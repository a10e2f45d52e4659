//! What the API answers to a batch, and what that means: the batch is imported, the API is not available, or the batch
//! has failed.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::anyhow;
use evertoken::clock::{Clock as _, SystemClock};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
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
            let after = retry_after(response.headers());
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

/// Seconds, or a date (RFC 9110 section 10.2.3) by the server's own clock, where it says what that is.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let after = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(UNIX_EPOCH).ok()
    };
    let now = text(DATE).and_then(date);
    // What has passed is now.
    Some(date(after)?.saturating_sub(now.unwrap_or_else(|| SystemClock.wall())))
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

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn after(text: &'static str, date: Option<&'static str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
        headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
        retry_after(&headers).map(|span| span.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (text, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(after(text, date), seconds, "{text}");
        }
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT", None), Some(0));
    }
}
