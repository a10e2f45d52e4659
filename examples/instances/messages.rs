//! What an instance reports to its parent, one JSON object a line on its standard output; and a store and an endpoint that report
//! their calls.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evertoken::clock::{Clock as _, SystemClock};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{
    Digest, EndpointError, Grant, Issued, Key, Lease, Record, ServerProfile, StoreError,
    TokenEndpoint, TokenPair, TokenStore,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::history::View;

/// The connection to the parent process. A message is in the pipe when the call returns, so a kill does not lose it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reporter {
    in_detail: bool,
    /// The last lease of this instance.
    lease: Arc<Mutex<Option<Lease>>>,
    /// Keeps lines of several threads apart.
    turn: Arc<Mutex<()>>,
}

impl Reporter {
    pub(crate) fn new(in_detail: bool) -> Self {
        Self {
            in_detail,
            ..Self::default()
        }
    }

    pub(crate) fn report(&self, news: News) {
        let message = Message { at: now(), news };
        let Ok(mut line) = serde_json::to_string(&message) else {
            return;
        };
        line.push('\n');
        let _turn = self.turn.lock();
        let mut out = io::stdout().lock();
        if out.write_all(line.as_bytes()).is_err() || out.flush().is_err() {
            // The parent process has ended.
            std::process::exit(1);
        }
    }

    /// Whether the lease of this token is for a second sending.
    fn is_second(&self, token: Digest) -> bool {
        let lease = self.lease.lock();
        let of_this = lease.as_ref().filter(|lease| lease.digest == token);
        of_this.is_some_and(|lease| lease.sendings > 0)
    }

    pub(crate) fn detail(&self, text: impl FnOnce() -> String) {
        if self.in_detail {
            self.report(News::Detail { text: text() });
        }
    }
}

/// The start of a digest, which is enough to distinguish tokens.
pub(crate) fn brief(digest: &Digest) -> String {
    digest.to_string()[..8].to_owned()
}

/// A store that reports the leases that were written to it.
#[derive(Debug)]
pub(crate) struct ReportingStore {
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) reporter: Reporter,
}

#[async_trait]
impl TokenStore for ReportingStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.store.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let swapped = self.store.swap(key, seen, next).await;
        self.reporter.detail(|| {
            let how = match &swapped {
                Ok(Swap::Swapped(_)) => "swapped in".to_owned(),
                Ok(Swap::Lost(_)) => "lost".to_owned(),
                Err(error) => format!("failed ({error})"),
            };
            format!("{how}: {}", View::of(next))
        });
        if let Ok(Swap::Swapped(_)) = &swapped
            && let Some(lease) = View::of(next).lease
        {
            *self.reporter.lease.lock() = Some(lease.clone());
            self.reporter.report(News::Leased { lease });
        }
        swapped
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.store.changed(key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.store.find(digest).await
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let is_dead = self.store.holder_is_dead(key, lease).await;
        if is_dead {
            self.reporter
                .detail(|| format!("the holder of lease {} is dead", lease.number));
        }
        is_dead
    }
}

/// An endpoint that reports, by digests, the tokens that it sends and the answers.
#[derive(Debug)]
pub(crate) struct ReportingEndpoint {
    pub(crate) endpoint: Arc<dyn TokenEndpoint>,
    pub(crate) reporter: Reporter,
}

#[async_trait]
impl TokenEndpoint for ReportingEndpoint {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let token = match grant {
            Grant::Refresh { token, .. } => Some(Digest::of(token.expose())),
            _ => None,
        };
        let name = token.as_ref().map_or("a sign-in".to_owned(), brief);
        self.reporter.detail(|| format!("sends {name}"));
        if let Some(token) = token {
            let is_second = self.reporter.is_second(token);
            self.reporter.report(News::Sends { token, is_second });
        }
        let answer = self.endpoint.exchange(grant).await;
        let is_clear = matches!(answer, Ok(_) | Err(EndpointError::Rejected { .. }));
        if let Some(token) = token.filter(|_| is_clear) {
            self.reporter.report(News::Answered { token });
        }
        self.reporter.detail(|| match &answer {
            Ok(_) => format!("{name} brought a pair"),
            Err(error) => format!("{name} brought none: {:#}", anyhow::anyhow!(error.clone())),
        });
        answer
    }

    fn can_sign_in(&self) -> bool {
        self.endpoint.can_sign_in()
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        self.reporter.detail(|| "revokes a pair".to_owned());
        self.endpoint.revoke(pair).await
    }

    fn profile(&self) -> ServerProfile {
        self.endpoint.profile()
    }

    fn timeout(&self) -> std::time::Duration {
        self.endpoint.timeout()
    }

    fn key(&self) -> Key {
        self.endpoint.key()
    }
}

/// Microseconds of the machine's wall clock since the Unix epoch. All processes share this clock.
pub(crate) type Micros = u64;

pub(crate) fn now() -> Micros {
    micros(SystemClock.wall())
}

pub(crate) fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) at: Micros,
    #[serde(flatten)]
    pub(crate) news: News,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum News {
    /// The instance committed this pair.
    Rotated { version: u64 },
    /// The instance took this pair from the store, in a rotation that had waited for so long.
    Adopted { version: u64, waited: Micros },
    /// The lease of the instance is in the store.
    Leased { lease: Lease },
    /// The instance is about to send this token, for the first or a second time by its lease.
    Sends { token: Digest, is_second: bool },
    /// The instance read a clear answer to this token: a pair, or that the token is dead.
    Answered { token: Digest },
    /// The instance learned that the session is over.
    Ended { reason: String },
    /// The requests since the last such message.
    Requests(Requests),
    /// A line for the trace.
    Detail { text: String },
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) ok: u64,
    /// Requests without an answer, or with an error status.
    pub(crate) failed: u64,
    /// Requests that were not sent, because the session was over.
    pub(crate) told: u64,
    /// The time of the last success; 0 without a success.
    pub(crate) last_ok: Micros,
    /// The number of failures for each error.
    pub(crate) errors: BTreeMap<String, u64>,
}
