//! Sends one request over one connection and reads what comes back. It judges nothing: an answer that
//! broke off is an answer, with what arrived of it.

use std::io;
use std::mem;
use std::pin::pin;
use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode, Version};
use reqwest::{Body, ClientBuilder, Request, Response, redirect, retry};
use url::Url;
use zeroize::Zeroizing;

use super::coding;
use super::quote::Quote;
use super::redact::Secrets;
use super::send_once::{SendOnce, TooLate};
use crate::clock::{Clock, Patience, SystemClock};
use crate::endpoint::{EndpointError, SendWindow, retry_after, server_time};
use crate::error::BuildError;

/// What is read of a body: room for a few tokens as long as the headers of a server may be.
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// The whole room is taken beforehand.
pub(super) const BODY_LIMIT_MOST: usize = 16 * 1024 * 1024;

/// How many bytes of a content type an error holds.
const CONTENT_TYPE_LIMIT: usize = 100;

/// Which client it is (RFC 9110 section 10.1.5).
const AGENT: &str = concat!("evertoken/", env!("CARGO_PKG_VERSION"));

/// In place of a timeout that the client was built with: the time is measured here.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// An answer, as far as it was read.
#[cfg_attr(
    not(feature = "folio"),
    allow(dead_code, reason = "OAuth2 tells no points in time")
)]
pub(crate) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The server's clock, since the Unix epoch.
    pub(super) date: Option<Duration>,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// Our wall clock when it was read.
    pub(super) read_at: Duration,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Why the body is not all that the server meant to send.
    pub(super) broken: Option<Broken>,
    /// Whether the answer says where its body ends. Else it ends where the connection does, and a connection that broke
    /// looks the same.
    pub(super) is_delimited: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the body is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the answer broke off")]
    Cut(#[source] reqwest::Error),
    #[error("the answer did not come to its end")]
    Late(#[source] TimedOut),
    #[error("the answer came compressed, and cannot be decompressed")]
    Garbled(#[source] io::Error),
}

#[derive(Debug, thiserror::Error)]
#[error("it took longer than {} s", .0.as_secs_f64())]
pub(crate) struct TimedOut(pub(super) Duration);

impl Reply {
    /// An answer that was read at `wall`.
    pub(super) fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
        broken: Option<Broken>,
        wall: Duration,
    ) -> Self {
        Self {
            status,
            date: server_time(&headers),
            retry_after: retry_after(&headers, wall),
            headers,
            read_at: wall,
            body,
            broken,
            is_delimited: true,
        }
    }

    /// Whether a limit of requests is reached, or the server would not act upon a request that may be a replay (RFC 8470
    /// section 5.2): it did nothing, whatever else it says.
    pub(super) fn asks_for_later(&self) -> bool {
        matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY
        )
    }

    /// Whether it is what a gateway answers that does not get at the server, or a server that is not up. A 408 is that of
    /// a gateway that did not get the whole request, or waited for the server in vain.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(
            self.status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        )
    }

    /// Whether the body is known to be all that the server meant to send, wherever it ends.
    pub(super) fn is_whole(&self) -> bool {
        self.broken.is_none() && self.is_delimited
    }

    /// What can be quoted of an answer in which no error code was found.
    pub(super) fn quote(&self, secrets: &Secrets) -> Quote {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|it| {
            let text = it.to_str().ok()?;
            secrets.redact_to(text, CONTENT_TYPE_LIMIT)
        });
        let location = self.headers.get(LOCATION).and_then(|it| {
            let text = it.to_str().ok()?;
            secrets.target(text)
        });
        // A success may hold a token that is not known to be one; a page does not.
        let is_page = self.body.trim_ascii_start().starts_with(b"<");
        let start = secrets.first_words(&self.body);
        Quote {
            content_type,
            start: start.filter(|_| is_page || !self.status.is_success()),
            location: location.filter(|_| self.status.is_redirection()),
            retry_after: self.retry_after,
            ..Quote::status(self.status.as_u16())
        }
    }
}

/// What a client is built from, unless the user brings a builder.
pub(crate) fn builder() -> ClientBuilder {
    reqwest::Client::builder().user_agent(AGENT)
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
        // Another crate may have switched these on. A body that is compressed all the same is decompressed here.
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

/// Sends `content` in `request`, once, unless `window` is closed by then, and reads what comes back within `timeout`.
///
/// Over HTTP/1 the head of a request is written together with the first bytes of its content, so that all of this holds
/// for a token in a header as well, if there is content at all. Without any, only a failed connection is proof.
pub(super) async fn send(
    http: &reqwest::Client,
    mut request: Request,
    content: Zeroizing<Vec<u8>>,
    window: Option<&SendWindow>,
    timeout: Duration,
    limit: usize,
) -> Result<Reply, EndpointError> {
    let is_gated = !content.is_empty();
    if !is_gated && window.is_some_and(|window| !window.is_open()) {
        return Err(EndpointError::not_sent(TooLate));
    }
    let headers = request.headers_mut();
    // A compressed body that breaks off shows little of what arrived.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let (body, receipt) = SendOnce::new(content, window.cloned());
    *request.body_mut() = Some(Body::wrap(body));
    *request.timeout_mut() = Some(NEVER);
    let mut patience = Patience::new(timeout);
    let mut executing = pin!(http.execute(request));
    loop {
        match patience.wait_for(&mut executing).await {
            Some(Ok(response)) => return Ok(read(response, patience, timeout, limit).await),
            Some(Err(error)) if receipt.recall() => return Err(EndpointError::unsent(error)),
            Some(Err(error)) if !is_gated => return Err(EndpointError::from_reqwest(error)),
            Some(Err(error)) => return Err(EndpointError::unknown(error.without_url())),
            None if receipt.recall() => return Err(EndpointError::not_sent(TimedOut(timeout))),
            // The answer may be there.
            None if patience.renew() => {}
            None => return Err(EndpointError::unknown(TimedOut(timeout))),
        }
    }
}

/// Reads an answer, of which the first bytes are there, with what is left of `patience`.
pub(super) async fn read(
    mut response: Response,
    mut patience: Patience,
    timeout: Duration,
    limit: usize,
) -> Reply {
    let (status, headers) = (response.status(), mem::take(response.headers_mut()));
    let mut is_delimited = response.version() > Version::HTTP_11
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING);
    // Whole from the start: a buffer that grows leaves a copy of the tokens behind.
    let mut body = Zeroizing::new(Vec::with_capacity(limit));
    let broken = loop {
        // Nothing of it is lost if this is given up.
        match patience.wait_for(response.chunk()).await {
            Some(Ok(Some(chunk))) => {
                let room = limit - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break Some(Broken::TooLong { limit });
                }
            }
            Some(Ok(None)) => break None,
            Some(Err(error)) => break Some(Broken::Cut(error.without_url())),
            None if patience.renew() => {}
            None => break Some(Broken::Late(TimedOut(timeout))),
        }
    };
    let (body, broken) = match coding::decoded(&headers, &body, limit) {
        None => (body, broken),
        // A compressed body says where it ends.
        Some((decoded, None)) => {
            is_delimited = true;
            (decoded, None)
        }
        Some((decoded, garbled)) => (decoded, broken.or(garbled)),
    };
    Reply {
        is_delimited,
        ..Reply::new(status, headers, body, broken, SystemClock.wall())
    }
}
