//! What stands before the token endpoint: it passes requests on, and while there is an outage, it answers them itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of a request meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Out {
    /// No connection is accepted.
    Refused,
    /// Status, content type and body.
    Answered(u16, &'static str, &'static str),
    /// The connection is reset in the middle of an answer.
    Reset,
}

pub(crate) const HTML: &str = "<html><body>something is in the way</body></html>";

pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Keeps the port while no connection is accepted.
    closed: Mutex<Option<TcpSocket>>,
}

struct Shared {
    server: SocketAddr,
    out: Mutex<Option<Out>>,
    answered: AtomicU64,
}

impl Front {
    pub(crate) async fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server,
            out: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            listening: Mutex::new(Some(task)),
            closed: Mutex::default(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// How many requests it has answered in place of the server.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    pub(crate) async fn begin(&self, out: Out) {
        *self.shared.out.lock() = Some(out);
        if out == Out::Refused {
            let listening = self.listening.lock().take();
            if let Some(task) = listening {
                task.abort();
                let _ = task.await;
            }
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("a socket of ours");
            socket.bind(self.address).expect("its port is free");
            *self.closed.lock() = Some(socket);
        }
    }

    pub(crate) fn end(&self) {
        *self.shared.out.lock() = None;
        if let Some(socket) = self.closed.lock().take() {
            let listener = socket.listen(512).expect("its port is free");
            let task = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
            *self.listening.lock() = Some(task);
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move { shared.serve(stream).await });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) {
        let out = *self.out.lock();
        let Some(out) = out else {
            let mut server = TcpStream::connect(self.server).await.expect("it listens");
            // Either side may hang up.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        };
        self.answered.fetch_add(1, Ordering::SeqCst);
        if !read_request(&mut client).await {
            return;
        }
        let answer = match out {
            Out::Answered(status, content_type, body) => format!(
                "HTTP/1.1 {status} It Is So\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            ),
            Out::Reset | Out::Refused => {
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"token_type\":".into()
            }
        };
        let _ = client.write_all(answer.as_bytes()).await;
        if out == Out::Reset {
            client.set_zero_linger().expect("a socket of ours");
        }
    }
}

/// Whether a request came whole.
async fn read_request(client: &mut TcpStream) -> bool {
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.trim().parse().ok())
                .unwrap_or(0);
            if received.len() >= end + 4 + length {
                return true;
            }
        }
        if client.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}
