//! What a store is seen to do: a proxy that counts statements and keeps notifications back, as a pooler in transaction
//! mode does, and the log of this thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

pub(crate) struct Proxy {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    kept_back: AtomicU64,
    statements: AtomicU64,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::<Counts>::default();
        let count = counts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
                tokio::spawn(answers(from_server, to_client, count.clone()));
            }
        });
        Self { port, counts }
    }

    /// The URL of a database through this proxy, without TLS.
    pub(crate) fn url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("@127.0.0.1:").unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        let port = self.port;
        format!("{scheme}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The number of statements that were answered.
    pub(crate) fn statements(&self) -> u64 {
        self.counts.statements.load(Ordering::SeqCst)
    }

    pub(crate) async fn kept_back(&self, notifications: u64) {
        while self.counts.kept_back.load(Ordering::SeqCst) < notifications {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One message after the other: a letter, the length of the rest, and the rest.
async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    counts: Arc<Counts>,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut rest = vec![0; length as usize - 4];
        server.read_exact(&mut rest).await?;
        match head[0] {
            b'A' => {
                counts.kept_back.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            // A command was completed.
            b'C' => {
                counts.statements.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        client.write_all(&head).await?;
        client.write_all(&rest).await?;
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

pub(crate) struct Logs {
    lines: Lines,
    /// While there is one subscriber only, tracing asks the current thread whether a log line is wanted, and another
    /// thread may be the first to log it. With a second subscriber tracing asks all of them.
    _second: Dispatch,
}

impl Logs {
    /// The log of this level and above, until the guard is dropped.
    pub(crate) fn of(level: tracing::Level) -> (Self, DefaultGuard) {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || written.clone())
            .with_ansi(false)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let _second = Dispatch::new(NoSubscriber::default());
        (Self { lines, _second }, guard)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock()).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
