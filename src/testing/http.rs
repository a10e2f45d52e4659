//! What the HTTP faces share: a listener on the loopback, and answers of a broken server, by half or not at all. This
//! module never handles a token.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// An HTTP face that listens on the loopback until this handle is dropped.
#[derive(Debug)]
pub struct HttpServer {
    url: String,
    origin: String,
    addr: SocketAddr,
    accepting: AbortHandle,
}

impl HttpServer {
    /// The URL that clients send requests to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL without a path and without a slash at its end.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The address of the listener. Another listener can use the address once this handle is dropped.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Any free port of the loopback.
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A response with this status, which is 500 where HTTP does not have it.
pub(super) fn response(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The same with a content type.
pub(super) fn typed(
    status: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = response(status, body);
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Adds a `Date` header, unless there is one.
pub(super) fn date(headers: &mut HeaderMap, wall: Duration) {
    if let Ok(date) = httpdate::fmt_http_date(UNIX_EPOCH + wall).try_into() {
        headers.entry(DATE).or_insert(date);
    }
}

/// Adds a `Retry-After` header in whole seconds, if there is a pause.
pub(super) fn retry_after(headers: &mut HeaderMap, pause: Option<Duration>) {
    if let Some(pause) = pause {
        headers.insert(RETRY_AFTER, pause.as_secs().into());
    }
}

/// What a face sends over the connection.
#[derive(Debug)]
pub(super) enum Sent {
    Whole(Response<Bytes>),
    /// All headers and half of the body. Then the connection is closed.
    Half(Response<Bytes>),
    /// Nothing: the connection is closed.
    Nothing,
}

/// Answers requests with `answer`, in tasks of the current runtime.
pub(super) async fn serve<A, F>(addr: SocketAddr, path: &str, answer: A) -> io::Result<HttpServer>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Sent> + Send + 'static,
{
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let origin = format!("http://{addr}");
    Ok(HttpServer {
        url: format!("{origin}{path}"),
        origin,
        addr,
        accepting: tokio::spawn(accept(listener, answer)).abort_handle(),
    })
}

async fn accept<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Sent> + Send + 'static,
{
    // The set is dropped with this task, and the connections with the set.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Half an answer has to be sent before the connection is closed.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(answer_on(stream, answer.clone()));
                }
                // Probably out of file descriptors, some of which are closed soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers the requests of one connection.
pub(super) async fn answer_on<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Sent>,
{
    let service = service_fn(move |request| {
        let sent = answer(request);
        async move { sent.await.into_response() }
    });
    // A connection ends with an error if it is closed on purpose, and if the client hangs up.
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// The error on which hyper closes a connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Closed;

impl Sent {
    fn into_response(self) -> Result<Response<SentBody>, Closed> {
        match self {
            Self::Whole(response) => Ok(response.map(|body| SentBody {
                declared: body.len() as u64,
                rest: body,
                end: End::Complete,
            })),
            Self::Half(response) => Ok(response.map(|body| SentBody {
                declared: body.len() as u64,
                rest: body.slice(..body.len() / 2),
                end: End::Flush,
            })),
            Self::Nothing => Err(Closed),
        }
    }
}

struct SentBody {
    rest: Bytes,
    declared: u64,
    end: End,
}

enum End {
    Complete,
    /// One pause, in which hyper writes the bytes that it has.
    Flush,
    Close,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        match self.end {
            End::Complete => Poll::Ready(None),
            End::Flush => {
                self.end = End::Close;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Close => Poll::Ready(Some(Err(Closed))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && matches!(self.end, End::Complete)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.declared)
    }
}
