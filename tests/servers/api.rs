//! An API that takes records from a client with a live access token. The API asks the authorization server about the
//! token at every call (RFC 7662).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::judge::Server;
use crate::wire::{Connection, Request, answer};

/// The time that the API needs for a batch.
const LATENCY: Duration = Duration::from_millis(50);

pub(crate) struct Api {
    origin: String,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    records: AtomicU64,
    unauthorized: AtomicU64,
}

impl Api {
    pub(crate) async fn start(server: Arc<Server>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let counts = Arc::<Counts>::default();
        let shared = (server, counts.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, counts) = shared.clone();
                tokio::spawn(async move {
                    let mut connection = Connection::new(stream);
                    while let Some(request) = connection.next().await {
                        let answered = counts.call(&server, &request).await;
                        connection.write(&answered).await;
                    }
                });
            }
        });
        Self {
            origin,
            counts,
            task,
        }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/records", self.origin)
    }

    /// The number of records that the API has taken.
    pub(crate) fn records(&self) -> u64 {
        self.counts.records.load(Ordering::SeqCst)
    }

    /// The number of calls that came with a dead token.
    pub(crate) fn unauthorized(&self) -> u64 {
        self.counts.unauthorized.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counts {
    async fn call(&self, server: &Server, request: &Request) -> Vec<u8> {
        assert_eq!(request.method(), "POST");
        let token = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if !server.is_live_access(token.unwrap_or_default()).await {
            self.unauthorized.fetch_add(1, Ordering::SeqCst);
            let challenge = ("www-authenticate", "Bearer error=\"invalid_token\"");
            return answer(401, &[challenge], b"");
        }
        tokio::time::sleep(LATENCY).await;
        // MARC's record terminator.
        let records = request.body.iter().filter(|byte| **byte == 0x1D).count() as u64;
        self.records.fetch_add(records, Ordering::SeqCst);
        let body = format!("{{\"records\": {records}}}");
        answer(
            200,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    }
}
