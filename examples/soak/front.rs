//! What stands before the token endpoint: it passes requests on, and while there is an outage, it answers them itself.
//!
//! A request that was passed on is never cut: a strict server would have consumed the refresh token, and no client
//! survives that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of requests meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Out {
    /// No connection is accepted.
    Refused,
    /// Each is answered with this status, and an HTML page or nothing.
    Answered { status: u16, page: bool },
    /// One is answered with this status; then the outage is over.
    Once { status: u16 },
    /// The connection is reset in the middle of an answer.
    Reset,
}

const PAGE: &str = "<html><body>something is in the way</body></html>";

/// Connections that wait to be accepted, at most.
const BACKLOG: u32 = 512;

/// Longer than any request; what is longer is not one of ours.
const REQUEST_LIMIT: usize = 64 * 1024;

pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Door,
}

/// Whether connections are accepted.
enum Door {
    Open(JoinHandle<()>),
    /// A socket that does not listen keeps the port.
    Closed(TcpSocket),
    /// It could not be opened or closed.
    Broken,
}

struct Shared {
    server: SocketAddr,
    out: Mutex<Option<Out>>,
    answered: AtomicU64,
}

impl Front {
    pub(crate) async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            out: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        Ok(Self {
            address,
            door: Door::Open(tokio::spawn(accept(listener, Arc::clone(&shared)))),
            shared,
        })
    }

    pub(crate) fn token_url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// How many requests it has answered in place of the server.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    pub(crate) async fn begin(&mut self, out: Out) -> io::Result<()> {
        self.end()?;
        *self.shared.out.lock() = Some(out);
        if out == Out::Refused
            && let Door::Open(accepting) = std::mem::replace(&mut self.door, Door::Broken)
        {
            accepting.abort();
            // The listener is closed then.
            let _ = accepting.await;
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(self.address)?;
            self.door = Door::Closed(socket);
        }
        Ok(())
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        *self.shared.out.lock() = None;
        match std::mem::replace(&mut self.door, Door::Broken) {
            Door::Closed(socket) => {
                let listener = socket.listen(BACKLOG)?;
                let accepting = accept(listener, Arc::clone(&self.shared));
                self.door = Door::Open(tokio::spawn(accepting));
            }
            door => self.door = door,
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some will be closed soon.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        // A task of its own, which outlives the listener. Either side may hang up.
        tokio::spawn(async move { shared.serve(stream).await });
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(out) = self.weather() else {
            let mut server = TcpStream::connect(self.server).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        };
        self.answered.fetch_add(1, Ordering::Relaxed);
        if !read_request(&mut client).await? {
            return Ok(());
        }
        let answer = match out {
            Out::Answered { status, page: true } => whole(status, "text/html", PAGE),
            Out::Answered { status, .. } | Out::Once { status } => {
                whole(status, "application/json", "")
            }
            Out::Reset | Out::Refused => half(),
        };
        client.write_all(answer.as_bytes()).await?;
        if matches!(out, Out::Reset | Out::Refused) {
            client.set_zero_linger()?;
        }
        Ok(())
    }

    /// What becomes of the next request; a single answer is used up by that.
    fn weather(&self) -> Option<Out> {
        let mut out = self.out.lock();
        match *out {
            Some(Out::Once { .. }) => out.take(),
            other => other,
        }
    }
}

fn whole(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} It Is So\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn half() -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"token_type\":"
        .to_owned()
}

/// Whether a request came whole.
async fn read_request(client: &mut TcpStream) -> io::Result<bool> {
    let mut received = Vec::new();
    while received.len() < REQUEST_LIMIT {
        if let Some(end) = received.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.trim().parse::<usize>().ok())
                .unwrap_or(0);
            if received.len() >= end + 4 + length {
                return Ok(true);
            }
        }
        if client.read_buf(&mut received).await? == 0 {
            break;
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use evertoken::testing::AuthorizationServer;

    use super::*;

    async fn asked(front: &Front) -> Result<u16, reqwest::Error> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let response = http.post(front.token_url()).body("a grant").send().await?;
        let status = response.status();
        response.bytes().await?;
        Ok(status.as_u16())
    }

    #[tokio::test]
    async fn it_answers_during_an_outage_and_passes_on_before_and_after() -> anyhow::Result<()> {
        let server = AuthorizationServer::builder().build().listen().await?;
        let mut front = Front::before(server.addr()).await?;
        let of_server = asked(&front).await?;
        for status in [503, 404, 301, 200] {
            front.begin(Out::Answered { status, page: true }).await?;
            assert_eq!(asked(&front).await?, status);
        }
        front.begin(Out::Once { status: 500 }).await?;
        assert_eq!(asked(&front).await?, 500);
        assert_eq!(asked(&front).await?, of_server);
        front.begin(Out::Reset).await?;
        assert!(
            asked(&front)
                .await
                .is_err_and(|error| error.is_body() || error.is_decode())
        );
        front.begin(Out::Refused).await?;
        assert!(asked(&front).await.is_err_and(|error| error.is_connect()));
        front.end()?;
        assert_eq!(asked(&front).await?, of_server);
        assert_eq!(front.answered(), 6);
        Ok(())
    }
}
