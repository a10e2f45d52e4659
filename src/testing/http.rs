//! What the HTTP faces share: they listen on the loopback, and can answer as a broken server does, by
//! half or not at all. It knows nothing of tokens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Something that listens on the loopback, until it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    url: String,
    origin: String,
    addr: SocketAddr,
    accepting: AbortHandle,
}

impl HttpServer {
    /// Where requests go.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same without a path, and without a slash at its end.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where it listens. Another one can listen there after this one was dropped.
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

/// A port of the system's choice on the loopback.
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What goes back over the connection.
#[derive(Debug)]
pub(super) enum Sent {
    Whole(Response<Bytes>),
    /// All headers and half the body, then the connection is closed.
    Half(Response<Bytes>),
    /// The connection is closed.
    Nothing,
}

/// Answers requests with `answer` from the current runtime's tasks.
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
    // Dropped together with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Half an answer has to leave before its connection is closed.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(answer_on(stream, answer.clone()));
                }
                // Out of file descriptors, most likely: some will be closed soon.
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
    // A connection ends with an error where it is closed on purpose, and where the client hangs up.
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// An error for hyper, which closes the connection on it.
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
    /// One pause, in which hyper writes out what it has.
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
