//! A server on loopback that answers each request by a script of steps, and records every request.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The reaction to a complete request. Without a step the server closes the connection.
pub(crate) enum Step {
    /// Answers, and keeps the connection open for the next request.
    Answer(Vec<u8>),
    /// Answers, and closes the connection.
    AnswerAndClose(Vec<u8>),
    /// Sends this part of an answer, and waits until the client gives up.
    Stall(Vec<u8>),
    /// Closes the connection without an answer.
    Close,
}

/// A request, as far as it arrived.
pub(crate) struct Request {
    head: String,
    body: String,
}

/// A server that serves its connections one after the other.
pub(crate) struct RawServer {
    address: SocketAddr,
    served: JoinHandle<Vec<Vec<Request>>>,
}

/// The text on the connection that ends the server.
const END: &[u8] = b"END\r\n\r\n";

impl RawServer {
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut steps = Vec::from_iter(steps).into_iter();
        let served = tokio::spawn(async move {
            let mut connections = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let requests = serve(stream, &mut steps).await;
                if requests.iter().any(|request| request.head == "END") {
                    return connections;
                }
                connections.push(requests);
            }
        });
        Self { address, served }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request that arrived. The server takes connections in order, so every earlier attempt is included.
    pub(crate) async fn requests(self) -> Vec<Request> {
        self.served().await.into_iter().flatten().collect()
    }

    /// How many requests arrived on each connection.
    pub(crate) async fn connections(self) -> Vec<usize> {
        self.served().await.iter().map(Vec::len).collect()
    }

    async fn served(self) -> Vec<Vec<Request>> {
        let mut last = TcpStream::connect(self.address).await.unwrap();
        last.write_all(END).await.unwrap();
        let served = timeout(Duration::from_secs(20), self.served).await;
        served.expect("the client kept a connection open").unwrap()
    }
}

impl Request {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let mut values = headers.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "{name} came twice");
        Some(value)
    }

    /// The names of the headers, in lower case.
    #[allow(dead_code, reason = "few test programs use it")]
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let headers = self.head.lines().skip(1);
        let names = headers.filter_map(|line| line.split_once(": "));
        names.map(|(name, _)| name.to_lowercase())
    }

    pub(crate) fn body(&self) -> &str {
        &self.body
    }
}

/// A response with status 200 and this body.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

async fn serve(mut stream: TcpStream, steps: &mut impl Iterator<Item = Step>) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut received = Vec::new();
    while let Some((request, is_whole)) = read(&mut stream, &mut received).await {
        let is_end = request.head == "END";
        requests.push(request);
        if is_end || !is_whole {
            break;
        }
        // The client may be gone. The test of the client reports that.
        match steps.next().unwrap_or(Step::Close) {
            Step::Answer(bytes) => _ = stream.write_all(&bytes).await,
            Step::AnswerAndClose(bytes) => {
                _ = stream.write_all(&bytes).await;
                break;
            }
            Step::Stall(bytes) => {
                _ = stream.write_all(&bytes).await;
                while stream
                    .read_buf(&mut received)
                    .await
                    .is_ok_and(|read| read > 0)
                {}
                break;
            }
            Step::Close => break,
        }
    }
    requests
}

/// The next request, and whether it is complete; `None` if the client sent nothing more.
async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<(Request, bool)> {
    loop {
        let text = String::from_utf8_lossy(received);
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let (head, rest) = (head.to_owned(), rest.to_owned());
            let mut request = Request { head, body: rest };
            let length = request.header("content-length").unwrap_or("0");
            let length: usize = length.parse().unwrap();
            if request.body.len() >= length {
                let next = request.body.split_off(length);
                *received = next.into_bytes();
                return Some((request, true));
            }
            if stream.read_buf(received).await.unwrap_or(0) == 0 {
                return Some((request, false));
            }
        } else if stream.read_buf(received).await.unwrap_or(0) == 0 {
            let head = String::from_utf8_lossy(received).into_owned();
            let body = String::new();
            return (!head.is_empty()).then_some((Request { head, body }, false));
        }
    }
}
