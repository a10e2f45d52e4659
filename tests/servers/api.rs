//! An API that takes records from a client with a live access token. The API asks the authorization server about the
//! token at every call (RFC 7662).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Response;

use crate::judge::Server;
use crate::recorder::{Arrived, Recorder, Reply, reply};

/// The time that the API needs for a batch.
const LATENCY: Duration = Duration::from_millis(50);

pub(crate) struct Api {
    recorder: Recorder,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    records: AtomicU64,
    unauthorized: AtomicU64,
}

impl Api {
    pub(crate) async fn start(server: Arc<Server>) -> Self {
        let counts = Arc::<Counts>::default();
        let shared = (server, counts.clone());
        let recorder = Recorder::start(move |call| {
            let (server, counts) = shared.clone();
            async move { counts.call(&server, call).await }
        });
        let recorder = recorder.await;
        Self { recorder, counts }
    }

    pub(crate) fn origin(&self) -> &str {
        self.recorder.origin()
    }

    pub(crate) fn url(&self) -> String {
        self.recorder.url("/records")
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

impl Counts {
    async fn call(&self, server: &Server, call: Arrived) -> Reply {
        assert_eq!(call.method, "POST");
        if !server
            .is_live_access(call.token().unwrap_or_default())
            .await
        {
            self.unauthorized.fetch_add(1, Ordering::SeqCst);
            let challenge = ("www-authenticate", "Bearer error=\"invalid_token\"");
            return reply(401, &[challenge]);
        }
        tokio::time::sleep(LATENCY).await;
        // MARC's record terminator.
        let records = call.body.iter().filter(|byte| **byte == 0x1D).count() as u64;
        self.records.fetch_add(records, Ordering::SeqCst);
        let body = format!("{{\"records\": {records}}}");
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(body.into()).ok()
    }
}
