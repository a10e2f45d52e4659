//! Sends a request exactly once, over one connection. [`HttpSettings`] hold what a builder of an endpoint configures for
//! that; [`SendOnce`] is the body that makes the promise.
//!
//! After a failure everything depends on one question: can any part of the request have left? A body is *waiting* until
//! the connection takes it. Only then the send window is checked, after all the time that name resolution, connecting and
//! TLS may have cost. A waiting body can be recalled; no connection takes a recalled body, not even a connection that
//! outlives its request. A recalled body is proof that the token in it is unspent; the kind of an error is not.
//!
//! This module never judges an answer: an answer that broke off is an answer, with the bytes that arrived.

pub(crate) mod tls;

use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderValue, USER_AGENT};
use http_body::{Body, Frame, SizeHint};
use reqwest::{Client, ClientBuilder, Request, redirect, retry};
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::reply::{Reply, TimedOut};
use super::{EndpointError, SendWindow};
use crate::build_error::BuildError;
use crate::clock::Deadline;

/// The limits of the number of bytes that are read of a body: from room for a few tokens as long as the headers of a
/// server may be, to 16 MiB, which are allocated beforehand.
pub(crate) const BODY_LIMITS: (usize, usize) = (64 * 1024, 16 * 1024 * 1024);

/// The `User-Agent` of this crate (RFC 9110 section 10.1.5).
const AGENT: &str = concat!("evertoken/", env!("CARGO_PKG_VERSION"));

/// Replaces a timeout of the client's builder: this module measures the time.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// A builder with this crate's `User-Agent`, for a user without a builder.
pub(crate) fn http_builder() -> ClientBuilder {
    Client::builder().user_agent(AGENT)
}

/// The settings of HTTP that every endpoint has.
pub(super) struct HttpSettings {
    pub(super) way: Way,
    /// The longest an exchange may take.
    pub(super) timeout: Duration,
    pub(super) body_limit: usize,
    /// Overrides the `User-Agent` of the client.
    pub(super) user_agent: Option<HeaderValue>,
    /// Configured headers that every request carries besides its own.
    pub(super) headers: HeaderMap,
}

/// A request, and its content.
pub(super) type Outgoing = (Request, Zeroizing<Vec<u8>>);

/// The way of a request to the server.
pub(super) enum Way {
    Http(Client),
    #[cfg(all(feature = "folio", feature = "testing"))]
    InProcess(Arc<dyn InProcess>),
}

impl HttpSettings {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            timeout: Duration::from_secs(30),
            body_limit: BODY_LIMITS.0,
            user_agent: None,
            headers: HeaderMap::new(),
        }
    }

    /// The deadline of an exchange that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::new(self.timeout)
    }

    /// Sets how many bytes are read of a body, within [`BODY_LIMITS`].
    pub(super) fn limit_body(&mut self, bytes: usize) {
        self.body_limit = bytes.clamp(BODY_LIMITS.0, BODY_LIMITS.1);
    }

    /// Sends a request once, unless `window` is closed by then, and reads the answer until `deadline`.
    ///
    /// Over HTTP/1 the head of a request is written together with the first bytes of its content. So the promise of
    /// [`SendOnce`] also holds for a token in a header, if there is content at all. Without content, only a failed
    /// connection attempt proves that nothing was sent.
    pub(super) async fn send(
        &self,
        (mut request, content): Outgoing,
        window: Option<&SendWindow>,
        mut deadline: Deadline,
    ) -> Result<Reply, EndpointError> {
        if window.is_some_and(|window| !window.is_open()) {
            return Err(EndpointError::not_sent(TooLate));
        }
        #[cfg_attr(
            not(all(feature = "folio", feature = "testing")),
            expect(
                clippy::infallible_destructuring_match,
                reason = "there is one way only"
            )
        )]
        let client = match &self.way {
            Way::Http(client) => client,
            #[cfg(all(feature = "folio", feature = "testing"))]
            Way::InProcess(server) => {
                let carrying = carried(server.as_ref(), request, content);
                let late = || Err(EndpointError::unknown(TimedOut(self.timeout)));
                return deadline.wait_for(carrying).await.unwrap_or_else(late);
            }
        };
        let is_gated = !content.is_empty();
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if let Some(agent) = &self.user_agent {
            headers.insert(USER_AGENT, agent.clone());
        }
        // A compressed body that breaks off shows little of what arrived.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (body, receipt) = SendOnce::new(content, window.cloned());
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        *request.timeout_mut() = Some(NEVER);
        let timeout = self.timeout;
        let mut executing = pin!(client.execute(request));
        loop {
            match deadline.wait_for(&mut executing).await {
                Some(Ok(response)) => {
                    return Ok(Reply::read(response, deadline, timeout, self.body_limit).await);
                }
                Some(Err(error)) if receipt.recall() => return Err(EndpointError::unsent(error)),
                Some(Err(error)) if !is_gated => return Err(EndpointError::from_reqwest(error)),
                Some(Err(error)) => return Err(EndpointError::unknown(error.without_url())),
                None if receipt.recall() => return Err(EndpointError::not_sent(TimedOut(timeout))),
                // The answer may have arrived while the process was suspended.
                None if deadline.renew() => {}
                None => return Err(EndpointError::unknown(TimedOut(timeout))),
            }
        }
    }
}

impl Way {
    /// A client from `builder` that sends a request to `url` exactly once, and to no other URL.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoTls`] for an `https` URL without TLS, and [`BuildError::Client`] if the client cannot be built.
    pub(super) fn http(builder: ClientBuilder, url: &Url) -> Result<Self, BuildError> {
        if url.scheme() == "https" && !tls::is_there() {
            return Err(BuildError::NoTls);
        }
        let mut builder = builder
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            // A server closes a kept connection without notice: the answer to the next request would be lost.
            .pool_max_idle_per_host(0)
            // A verbose connection logs the bytes.
            .connection_verbose(false)
            // Another crate may have enabled decompression. `Reply::read` decompresses a body that comes compressed.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            // An odd header must not cost a token. These checks guard against one answer being taken for two, which cannot
            // happen on a connection that is used once.
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true);
        if url.scheme() == "http" {
            // The URL is on loopback. A proxy would carry the token over the network in the clear.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| BuildError::Client {
            source: error.without_url().into(),
        })?;
        Ok(Self::Http(client))
    }
}

/// Brings requests to a server in this process, without sockets: paused time advances while a task waits for a socket.
#[cfg(all(feature = "folio", feature = "testing"))]
#[async_trait::async_trait]
pub(crate) trait InProcess: std::fmt::Debug + Send + Sync {
    /// Brings one request to the server once, and returns the answer. A loss on the way is an error: `NotSent` or
    /// `Unknown`. The server handles a request that has arrived, even if the caller no longer waits.
    async fn carry(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, EndpointError>;

    /// The wall clock of the client, since the Unix epoch.
    fn wall(&self) -> Duration;
}

#[cfg(all(feature = "folio", feature = "testing"))]
async fn carried(
    server: &dyn InProcess,
    request: Request,
    content: Zeroizing<Vec<u8>>,
) -> Result<Reply, EndpointError> {
    let request = http::Request::<reqwest::Body>::try_from(request);
    let request = request.map_err(EndpointError::from_reqwest)?;
    let carrying = server.carry(request.map(|_| Bytes::from_owner(content)));
    let (head, body) = carrying.await?.into_parts();
    let body = Zeroizing::new(body.to_vec());
    let (status, headers) = (head.status, head.headers);
    Ok(Reply::new(status, headers, body, None, server.wall()))
}

/// The value of a `User-Agent`.
pub(crate) fn user_agent(agent: &str) -> Result<HeaderValue, BuildError> {
    let agent = HeaderValue::from_str(agent).ok();
    let agent = agent.filter(|agent| !agent.is_empty());
    let problem = "must be visible ASCII, and not empty";
    agent.ok_or_else(|| BuildError::invalid("user_agent", problem))
}

/// The value of a header that holds a secret: the parts joined, marked sensitive. `None` if a header cannot hold them.
///
/// The buffer has its final size from the start: a buffer that grows leaves a copy of the secret behind.
pub(crate) fn sensitive_header(parts: &[&[u8]]) -> Option<HeaderValue> {
    let mut text = Zeroizing::new(Vec::with_capacity(
        parts.iter().map(|part| part.len()).sum(),
    ));
    parts.iter().for_each(|part| text.extend_from_slice(part));
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One value, form-encoded (RFC 6749 appendix B), in a buffer that does not grow.
pub(super) fn form_encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(form_room("", text)));
    encoded.extend(byte_serialize(text.as_bytes()));
    encoded
}

/// The room for `&name=value` with every byte escaped.
pub(super) fn form_room(name: &str, value: &str) -> usize {
    3 * (name.len() + value.len()) + 2
}

/// A body that is sent at most once, and only while the send window is open. `SendOnce` cannot be cloned, so no layer
/// below can send it again.
struct SendOnce {
    content: Option<Bytes>,
    window: Option<SendWindow>,
    fate: Arc<OnceLock<Fate>>,
}

/// The fate of a body. A body without one is waiting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    Recalled,
}

/// The sender's hold on a body. Dropping the receipt recalls the body.
struct Receipt(Arc<OnceLock<Fate>>);

/// The send window closed before the connection took the body.
#[derive(Debug, thiserror::Error)]
#[error("the request was not sent in time: the send window closed before there was a connection")]
struct TooLate;

impl SendOnce {
    /// A body that may be sent while `window` is open; without a window, at any time. An empty body counts as taken from
    /// the start, because no connection asks for its content.
    fn new(content: Zeroizing<Vec<u8>>, window: Option<SendWindow>) -> (Self, Receipt) {
        let content = (!content.is_empty()).then(|| Bytes::from_owner(content));
        let fate = Arc::new(match content {
            Some(_) => OnceLock::new(),
            None => Fate::Taken.into(),
        });
        let receipt = Receipt(Arc::clone(&fate));
        let body = Self {
            content,
            window,
            fate,
        };
        (body, receipt)
    }
}

impl Receipt {
    /// Whether no part of the body has left or ever will.
    fn recall(&self) -> bool {
        *self.0.get_or_init(|| Fate::Recalled) == Fate::Recalled
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.recall();
    }
}

impl Body for SendOnce {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(content) = self.content.take() else {
            return Poll::Ready(None);
        };
        let wanted = match &self.window {
            Some(window) if !window.is_open() => Fate::Recalled,
            _ => Fate::Taken,
        };
        let fate = self.fate.get_or_init(|| wanted);
        Poll::Ready(Some(match fate {
            Fate::Taken => Ok(Frame::data(content)),
            Fate::Recalled => Err(TooLate),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.content.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(length as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn body(window: Option<Duration>) -> (SendOnce, Receipt) {
        let clock = Arc::new(SystemClock);
        let window = window.map(|open| SendWindow::new(clock.clone(), clock.now() + open));
        SendOnce::new(Zeroizing::new(b"token".to_vec()), window)
    }

    fn take(body: SendOnce) -> Option<Bytes> {
        let sent = body.collect().now_or_never()?.ok()?;
        Some(sent.to_bytes())
    }

    #[test]
    fn a_taken_body_cannot_be_recalled() {
        for window in [None, Some(Duration::from_secs(3600))] {
            let (body, receipt) = body(window);
            assert_eq!(body.size_hint().exact(), Some(5));
            assert_eq!(take(body), Some(Bytes::from("token")));
            assert!(!receipt.recall());
        }
    }

    #[test]
    fn a_recalled_body_cannot_be_taken() {
        let (recalled, receipt) = body(None);
        assert!(receipt.recall());
        assert_eq!(take(recalled), None);
        let (orphan, receipt) = body(None);
        drop(receipt);
        assert_eq!(take(orphan), None);
    }

    #[test]
    fn an_empty_body_counts_as_taken_from_the_start() {
        let (empty, receipt) = SendOnce::new(Zeroizing::default(), None);
        assert!(empty.is_end_stream());
        assert!(!receipt.recall());
    }

    #[test]
    fn a_closed_window_recalls_the_body() {
        let (late, receipt) = body(Some(Duration::ZERO));
        assert_eq!(take(late), None);
        assert!(receipt.recall());
    }
}
