//! What the HTTP faces share: a listener on the loopback, answers of a broken server, by half or not at all, and what an API
//! keeps of requests. This module never handles a token.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet, yield_now};

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

pub(super) fn json_of(status: u16, body: &Value) -> Response<Bytes> {
    typed(status, "application/json", body.to_string())
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
    let accepting = tokio::spawn(async move {
        // The set is dropped with this task, and the connections with the set.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                stream = next_connection(&listener) => {
                    // Half an answer has to be sent before the connection is closed.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(answer_on(stream, answer.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(HttpServer {
        url: format!("{origin}{path}"),
        origin,
        addr,
        accepting: accepting.abort_handle(),
    })
}

/// The next connection that a client opens.
pub(super) async fn next_connection(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // Probably out of file descriptors, some of which are closed soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
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

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Sent {
    fn into_response(
        self,
    ) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = BoxError>>, Closed> {
        match self {
            Self::Whole(response) => Ok(response.map(|body| Either::Left(Full::new(body)))),
            Self::Half(response) => {
                let (mut head, body) = response.into_parts();
                head.headers.insert(CONTENT_LENGTH, body.len().into());
                let half = Frame::data(body.slice(..body.len() / 2));
                let closed = stream::once(async {
                    // Meanwhile, hyper writes the bytes that it has.
                    yield_now().await;
                    Err(Closed)
                });
                let body = Either::Right(StreamBody::new(stream::iter([Ok(half)]).chain(closed)));
                Ok(Response::from_parts(head, body))
            }
            Self::Nothing => Err(Closed),
        }
    }
}

/// The requests that are kept: enough for a test to check its last steps, and few enough for a long import.
const SEEN_LIMIT: usize = 64;

/// Keeps the last requests, oldest first.
pub(super) fn remember<T>(seen: &mut VecDeque<T>, request: T) {
    if seen.len() == SEEN_LIMIT {
        seen.pop_front();
    }
    seen.push_back(request);
}

/// Ends a MARC record (ISO 2709).
const RECORD_TERMINATOR: u8 = 0x1D;

/// The first half of a SHA-256: too long for two bodies of a test to be equal by chance.
pub(super) type Fingerprint = [u8; 16];

pub(super) fn fingerprint(bytes: impl AsRef<[u8]>) -> Fingerprint {
    halved(Sha256::digest(bytes))
}

/// What an API keeps of a body while it arrives: the length, the digest and the records' digests, but never the bytes.
pub(super) struct Body {
    pub(super) length: u64,
    terminators: u64,
    whole: Sha256,
    record: Sha256,
    /// The digest of each record, where records are remembered.
    records: Option<Vec<Fingerprint>>,
}

impl Body {
    pub(super) fn new(remembers_records: bool) -> Self {
        Self {
            length: 0,
            terminators: 0,
            whole: Sha256::new(),
            record: Sha256::new(),
            records: remembers_records.then(Vec::new),
        }
    }

    pub(super) fn arrived(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.whole.update(bytes);
        for piece in bytes.split_inclusive(|byte| *byte == RECORD_TERMINATOR) {
            let is_end = piece.last() == Some(&RECORD_TERMINATOR);
            self.terminators += u64::from(is_end);
            if let Some(records) = &mut self.records {
                self.record.update(piece);
                if is_end {
                    records.push(halved(self.record.finalize_reset()));
                }
            }
        }
    }

    /// The number of record terminators. A body without one is one record.
    pub(super) fn count(&self) -> u64 {
        self.terminators.max(u64::from(self.length > 0))
    }

    /// The digest of the whole body, and those of its records, where records are remembered.
    pub(super) fn finish(self) -> (Fingerprint, Vec<Fingerprint>) {
        let whole = halved(self.whole.finalize());
        let records = match self.records {
            Some(records) if records.is_empty() && self.length > 0 => vec![whole],
            records => records.unwrap_or_default(),
        };
        (whole, records)
    }
}

/// How often each record was taken.
#[derive(Default)]
pub(super) struct Taken(HashMap<Fingerprint, u32>);

impl Taken {
    pub(super) fn note(&mut self, records: &[Fingerprint]) {
        for record in records {
            *self.0.entry(*record).or_default() += 1;
        }
    }

    /// The number of different records.
    pub(super) fn distinct(&self) -> u64 {
        self.0.len() as u64
    }

    /// How often this record was taken.
    pub(super) fn times(&self, record: impl AsRef<[u8]>) -> u64 {
        let times = self.0.get(&fingerprint(record));
        times.copied().unwrap_or_default().into()
    }
}

fn halved(digest: impl AsRef<[u8]>) -> Fingerprint {
    let mut half = Fingerprint::default();
    half.copy_from_slice(&digest.as_ref()[..size_of::<Fingerprint>()]);
    half
}
