//! A server that records every request, and answers or hangs up as a test decides. The server knows only the tokens that
//! it receives.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The bearer token, without its scheme.
    pub(crate) fn token(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }
}

/// The answer; `None` closes the connection.
pub(crate) type Reply = Option<Response<Bytes>>;

/// An answer with these headers and no body.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a reply is optional, this one is there"
)]
pub(crate) fn reply(status: u16, headers: &[(&str, &str)]) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(response.body(Bytes::new()).unwrap())
}

pub(crate) struct Recorder {
    origin: String,
    seen: Arc<Mutex<Vec<Arrived>>>,
    count: watch::Sender<usize>,
    accepting: AbortHandle,
}

impl Recorder {
    /// Answers every request with `answer` after its body has arrived.
    pub(crate) async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let count = watch::Sender::new(0);
        let record = (seen.clone(), count.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, record) = (answer.clone(), record.clone());
                let service = service_fn(move |request| {
                    let (answer, record) = (answer.clone(), record.clone());
                    async move {
                        let arrived = whole(request).await?;
                        record.0.lock().push(arrived.clone());
                        record.1.send_modify(|count| *count += 1);
                        let reply = answer(arrived).await.ok_or("hung up on purpose")?;
                        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(reply.map(Full::new))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            origin,
            seen,
            count,
            accepting: accepting.abort_handle(),
        }
    }

    /// Answers every request in the same way.
    pub(crate) async fn always(answer: impl Fn() -> Reply + Clone + Send + Sync + 'static) -> Self {
        Self::start(move |_| std::future::ready(answer())).await
    }

    /// Answers every request of `path` like `reply`, and any other with an empty 200.
    pub(crate) async fn with(
        path: &'static str,
        answer: impl Fn() -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request: Arrived| {
            let is_it = request.path == path;
            std::future::ready(if is_it { answer() } else { reply(200, &[]) })
        })
        .await
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn seen(&self) -> Vec<Arrived> {
        self.seen.lock().clone()
    }

    /// `METHOD /path` of each request, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen
            .lock()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.path))
            .collect()
    }

    /// Waits until `least` requests have arrived.
    pub(crate) async fn arrived(&self, least: usize) {
        let mut count = self.count.subscribe();
        count.wait_for(|count| *count >= least).await.unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn whole(request: http::Request<Incoming>) -> hyper::Result<Arrived> {
    let (head, body) = request.into_parts();
    Ok(Arrived {
        path: head
            .uri
            .path_and_query()
            .map_or(String::new(), ToString::to_string),
        method: head.method,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}
