//! The relay stands between a client and its token endpoint. The relay passes requests on, and loses, delays, cuts or
//! replaces answers. It counts the requests that reach the server, and keeps only digests of refresh tokens.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evertoken::protocol::Digest;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use url::form_urlencoded;

/// The treatment of a request to the token endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The request is passed on. The server answers, and the connection is reset without the answer.
    Drop,
    /// The request is passed on at once, and the answer is held back for this time.
    Delay(Duration),
    /// The request is passed on. Half of the answer's body arrives before the connection is reset.
    Cut,
    /// The request is not passed on. The relay answers with a page.
    Page(Page),
    /// The request is passed on, and a page replaces the server's answer.
    PageAfter(Page),
}

/// An answer that a proxy gives by itself.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

impl Page {
    pub(crate) const fn html(status: u16) -> Self {
        Self {
            status,
            content_type: "text/html",
            body: "<html><body>something is in the way</body></html>",
        }
    }
}

/// The requests that the server saw, and their results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Token requests that came to the relay.
    pub(crate) arrived: u64,
    /// The arrived requests that were passed on to the server.
    pub(crate) exchanges: u64,
    /// The passed requests whose refresh token the server had seen before.
    pub(crate) repeated: u64,
    /// The passed requests that the server answered with a pair.
    pub(crate) issued: u64,
    /// Revocations that were passed on.
    pub(crate) revocations: u64,
}

pub(crate) struct Relay {
    address: SocketAddr,
    /// The socket is bound for as long as the relay lives, so no other process gets the port while connections are
    /// refused. The socket never listens.
    _reserved: TcpSocket,
    shared: Arc<Shared>,
    /// The task that accepts connections. Dropping the task ends its connections.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    token: Url,
    revocation: Url,
    http: reqwest::Client,
    steps: Mutex<VecDeque<Step>>,
    always: Mutex<Option<Step>>,
    seen: Mutex<Seen>,
    presented: Mutex<HashSet<Digest>>,
}

impl Relay {
    pub(crate) async fn start(token_url: &str, revocation_url: &str) -> Self {
        // No idle connection is kept: the server may close one at the moment at which a request is sent on it, and
        // a request that the server did not answer would count as lost.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build();
        let shared = Arc::new(Shared {
            token: token_url.parse().expect("a URL"),
            revocation: revocation_url.parse().expect("a URL"),
            http: http.expect("a client"),
            steps: Mutex::default(),
            always: Mutex::default(),
            seen: Mutex::default(),
            presented: Mutex::default(),
        });
        let reserved = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let relay = Self {
            address: reserved.local_addr().expect("an address"),
            _reserved: reserved,
            shared,
            accepting: Mutex::default(),
        };
        relay.accept_again();
        relay
    }

    pub(crate) fn token_url(&self) -> String {
        format!("http://{}{}", self.address, self.shared.token.path())
    }

    pub(crate) fn revocation_url(&self) -> String {
        format!("http://{}{}", self.address, self.shared.revocation.path())
    }

    /// Applies a step to the next token request. Several steps apply in their order, and later requests are passed on.
    pub(crate) fn next(&self, step: Step) {
        self.shared.steps.lock().push_back(step);
    }

    /// Applies a step to every token request after the steps of [`next`](Self::next); `None` removes the step.
    pub(crate) fn always(&self, step: Option<Step>) {
        *self.shared.always.lock() = step;
    }

    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen.lock().clone()
    }

    /// Ends all connections, and refuses new ones.
    pub(crate) async fn refuse(&self) {
        let accepting = self.accepting.lock().take();
        if let Some(task) = accepting {
            task.abort();
            let _ = task.await;
        }
    }

    /// Accepts connections, also after [`refuse`](Self::refuse).
    pub(crate) fn accept_again(&self) {
        let mut accepting = self.accepting.lock();
        if accepting.is_none() {
            let listener = bind(self.address).listen(512).expect("a listener");
            *accepting = Some(tokio::spawn(accept(listener, self.shared.clone())));
        }
    }
}

/// A socket at this address, which other sockets of this user may share if they ask for it as this one does.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    let set = socket.set_reuseport(true);
    set.expect("the socket option can be set");
    // A closed connection leaves its address in use for a while.
    let set = socket.set_reuseaddr(true);
    set.expect("the socket option can be set");
    socket.bind(address).expect("the address can be shared");
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(shared.clone().serve(Connection::new(stream)));
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut connection: Connection) {
        while let Some(request) = connection.next().await {
            if request.path() != self.token.path() {
                self.seen.lock().revocations += 1;
                let answered = self.pass(self.revocation.clone(), request).await;
                connection.write(&answered).await;
                continue;
            }
            self.seen.lock().arrived += 1;
            let step = self.steps.lock().pop_front();
            let step = step.or_else(|| self.always.lock().clone());
            match step {
                None => connection.write(&self.exchange(request).await).await,
                Some(Step::Drop) => {
                    self.exchange(request).await;
                    return connection.reset();
                }
                Some(Step::Delay(pause)) => {
                    let answered = self.exchange(request).await;
                    tokio::time::sleep(pause).await;
                    connection.write(&answered).await;
                }
                Some(Step::Cut) => {
                    let answered = self.exchange(request).await;
                    let head = end_of_head(&answered).expect("an answer") + 4;
                    let half = head + (answered.len() - head) / 2;
                    connection.write(&answered[..half]).await;
                    return connection.reset();
                }
                Some(Step::Page(page)) => connection.write(&page.answer()).await,
                Some(Step::PageAfter(page)) => {
                    self.exchange(request).await;
                    connection.write(&page.answer()).await;
                }
            }
        }
    }

    async fn exchange(self: &Arc<Self>, request: Request) -> Vec<u8> {
        let form = form_urlencoded::parse(&request.body);
        let token = form.into_iter().find(|(name, _)| name == "refresh_token");
        let is_new = token.is_none_or(|(_, token)| {
            let digest = Digest::of(token.as_bytes());
            self.presented.lock().insert(digest)
        });
        {
            let mut seen = self.seen.lock();
            seen.exchanges += 1;
            seen.repeated += u64::from(!is_new);
        }
        let answered = self.pass(self.token.clone(), request).await;
        let is_issued = answered.starts_with(b"HTTP/1.1 200 ");
        self.seen.lock().issued += u64::from(is_issued);
        answered
    }

    /// The server receives the request even if the client hangs up or connections are refused meanwhile.
    async fn pass(self: &Arc<Self>, url: Url, request: Request) -> Vec<u8> {
        let shared = Arc::clone(self);
        let passed = tokio::spawn(async move {
            let mut passed = shared.http.post(url);
            for name in ["authorization", "content-type", "accept"] {
                if let Some(value) = request.header(name) {
                    passed = passed.header(name, value);
                }
            }
            let answered = passed.body(request.body).send().await;
            let answered = answered.expect("the server answers");
            let status = answered.status().as_u16();
            let headers = answered.headers().clone();
            let body = answered.bytes().await;
            let body = body.expect("the server's answer is complete");
            let kept = [
                "content-type",
                "cache-control",
                "www-authenticate",
                "retry-after",
                "date",
            ];
            let headers: Vec<_> = kept
                .into_iter()
                .filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)))
                .collect();
            answer(status, &headers, &body)
        });
        passed.await.expect("the server answers")
    }
}

impl Page {
    fn answer(&self) -> Vec<u8> {
        let headers = [("content-type", self.content_type)];
        answer(self.status, &headers, self.body.as_bytes())
    }
}

/// A complete request.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// The requests of one connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let received = Vec::new();
        Self { stream, received }
    }

    /// Returns the next request, or `None` once the client has hung up.
    async fn next(&mut self) -> Option<Request> {
        loop {
            if let Some(request) = self.take() {
                return Some(request);
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Request> {
        let end = end_of_head(&self.received)?;
        let head = String::from_utf8_lossy(&self.received[..end]).into_owned();
        let body = Vec::new();
        let mut request = Request { head, body };
        let length = request.header("content-length").unwrap_or("0");
        let length: usize = length.parse().expect("a length");
        let (start, end) = (end + 4, end + 4 + length);
        if self.received.len() < end {
            return None;
        }
        request.body = self.received[start..end].to_vec();
        self.received.drain(..end);
        Some(request)
    }

    /// Writes bytes, and ignores an error: a client that is gone does not need the answer.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Ends the connection at once. Bytes that the client has not read are lost.
    fn reset(self) {
        let set = self.stream.set_zero_linger();
        set.expect("the socket option can be set");
    }
}

/// Encodes an answer.
fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} As Told\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// The place of the empty line after the head of a request or an answer.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|part| part == b"\r\n\r\n")
}
