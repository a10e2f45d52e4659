//! Sends one request over one connection and reads what comes back. It judges nothing: an answer that
//! broke off is an answer, with what arrived of it.

use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, ClientBuilder, Request, Response, redirect, retry};
use url::Url;
use zeroize::Zeroizing;

use super::answer::seconds;
use super::parcel::Parcel;
use crate::clock::{Clock, SystemClock};
use crate::endpoint::{EndpointError, SendWindow};
use crate::error::BuildError;

/// What is read of a body at most: room for a few tokens as long as the headers of a server may be.
const LIMIT: usize = 64 * 1024;

/// A server that asks for more patience than this has its clock wrong or its units.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// An answer, as far as it was read.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// The server's clock, since the Unix epoch.
    pub(super) date: Option<Duration>,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Why the body is not all that the server meant to send.
    pub(super) broken: Option<Broken>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the body is longer than {LIMIT} bytes")]
    TooLong,
    #[error("the answer broke off")]
    Cut(#[source] reqwest::Error),
}

/// A client that sends a request exactly once and nowhere but to its URL.
pub(super) fn client(builder: ClientBuilder, url: &Url) -> Result<reqwest::Client, BuildError> {
    let mut builder = builder
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        // A server closes kept connections without a word: the next request's answer would be lost.
        .pool_max_idle_per_host(0)
        // It would log the bytes.
        .connection_verbose(false)
        // A compressed body that breaks off shows little of what arrived. Another crate may have
        // switched these on.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        // An odd header is no reason to lose a token. What these guard against, one answer being
        // taken for two, cannot happen on a connection that is used once.
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true);
    if url.scheme() == "http" {
        // To loopback: by a proxy, the token would cross the network in the clear.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| BuildError::Client {
        source: error.without_url().into(),
    })
}

/// Sends `form` in `request`, once, unless `window` is closed by then.
pub(super) async fn send(
    http: &reqwest::Client,
    mut request: Request,
    form: Zeroizing<Vec<u8>>,
    window: Option<&SendWindow>,
) -> Result<Reply, EndpointError> {
    let (parcel, receipt) = Parcel::new(form, window.cloned());
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let form_encoded = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form_encoded);
    *request.body_mut() = Some(Body::wrap(parcel));
    match http.execute(request).await {
        Ok(response) => Ok(read(response).await),
        Err(error) if receipt.recall() => Err(EndpointError::not_sent(error.without_url())),
        Err(error) => Err(EndpointError::unknown(error.without_url())),
    }
}

async fn read(mut response: Response) -> Reply {
    let headers = response.headers();
    let date = moment(headers, &DATE);
    let retry_after = retry_after(headers, date.unwrap_or_else(|| SystemClock.wall()));
    // Whole from the start: a buffer that grows leaves a copy of the tokens behind.
    let mut body = Zeroizing::new(Vec::with_capacity(LIMIT));
    let broken = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = LIMIT - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break Some(Broken::TooLong);
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(Broken::Cut(error.without_url())),
        }
    };
    Reply {
        status: response.status(),
        date,
        retry_after,
        body,
        broken,
    }
}

/// Seconds, or a date (RFC 9110 section 10.2.3) by a clock that says `now`.
fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let span = seconds(text)
        .or_else(|| moment(headers, &RETRY_AFTER).map(|then| then.saturating_sub(now)))?;
    Some(span.min(LONGEST_RETRY_AFTER))
}

fn moment(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let text = headers.get(name)?.to_str().ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    fn asked(value: &'static str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static(NOON));
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        let now = moment(&headers, &DATE).unwrap();
        assert_eq!(now, Duration::from_secs(784_123_200));
        retry_after(&headers, now).map(|span| span.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock_and_an_hour_at_most() {
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked(" 7 "), Some(7));
        assert_eq!(asked("0"), Some(0));
        assert_eq!(asked("86400"), Some(3600));
        assert_eq!(asked("99999999999999999999999"), Some(3600));
        assert_eq!(asked("Sun, 06 Nov 1994 12:00:30 GMT"), Some(30));
        assert_eq!(asked("Sunday, 06-Nov-94 12:00:30 GMT"), Some(30));
        assert_eq!(asked("Sun, 06 Nov 1994 11:59:59 GMT"), Some(0));
        assert_eq!(asked("Mon, 07 Nov 2044 12:00:00 GMT"), Some(3600));
        for unreadable in ["", "soon", "-1", "NaN", "inf"] {
            assert_eq!(asked(unreadable), None, "{unreadable}");
        }
    }
}
