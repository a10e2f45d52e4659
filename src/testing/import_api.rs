mod http;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;

use self::http::{Keys, Use};
use super::authorization_server::{AccessCheck, AuthorizationServer};
use super::body::{Fingerprint, Taken};
use super::fault::Answer;
use super::http::{ANY_PORT, HttpServer};
use crate::token::Digest;

/// The requests that are kept: enough for a test to check its last steps, and few enough for a long import.
const SEEN_LIMIT: usize = 64;

/// How a gateway judges access tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gateway {
    /// The gateway checks a token at every call, and refuses it from its expiry on.
    #[default]
    Eureka,
    /// The gateway checks a token at its first call. A token that was accepted once stays good for ever, because modules
    /// get a token without an expiry.
    Okapi,
}

/// One request that the API received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// Whether the request carried an access token.
    pub bearer: bool,
    /// The length of the body.
    pub body: u64,
}

/// An API that takes records from every client with a live access token, and asks the [`AuthorizationServer`] about the
/// token.
///
/// Clones are one API. The API has two faces on one state: [`call`](Self::call) in this process, and
/// [`listen`](Self::listen) over HTTP.
///
/// ```
/// use evertoken::testing::{AuthorizationServer, ImportApi};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = AuthorizationServer::builder().build();
/// let api = ImportApi::builder(&server).build();
/// let pair = server.issue();
/// let access = pair.access.unwrap_or_else(|| "none".into());
/// assert_eq!(api.call(access.expose(), 50).await, 200);
/// assert_eq!(api.call("a guess", 50).await, 401);
/// assert_eq!((api.calls(), api.records(), api.unauthorized()), (2, 50, 1));
/// # }
/// ```
#[derive(Clone)]
pub struct ImportApi {
    shared: Arc<Shared>,
}

struct Shared {
    server: AuthorizationServer,
    gateway: Gateway,
    time_per_record: Duration,
    remembers_records: bool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    counters: Counters,
    /// The digests of the tokens that Okapi accepted.
    accepted: HashSet<Digest>,
    keys: Keys,
    /// How often each record was taken, where records are remembered.
    taken: Taken,
    next: VecDeque<Answer>,
    by_path: HashMap<String, Answer>,
    seen: VecDeque<Seen>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Counters {
    calls: u64,
    records: u64,
    unauthorized: u64,
    anonymous: u64,
    duplicates: u64,
    conflicts: u64,
}

/// The decision about a call, before its body is read.
enum Admission {
    Scripted(Answer),
    Unauthorized,
    Accepted,
}

impl ImportApi {
    /// Describes an API that accepts the tokens of `server`.
    #[must_use]
    pub fn builder(server: &AuthorizationServer) -> ImportApiBuilder {
        ImportApiBuilder::new(server)
    }

    /// A call in this process that brings this number of records to `/records`.
    pub async fn call(&self, access: &str, records: u64) -> StatusCode {
        let path = "/records";
        let admission = self.admit(path, Some(access));
        self.note(Seen {
            method: Method::POST,
            path: path.to_owned(),
            bearer: true,
            body: 0,
        });
        match admission {
            Admission::Scripted(answer) => answer.into_response().status(),
            Admission::Unauthorized => StatusCode::UNAUTHORIZED,
            Admission::Accepted => {
                self.take(records, &[]);
                self.spend_time(records).await;
                StatusCode::OK
            }
        }
    }

    /// The HTTP face, on a free port of the loopback. It serves any method and path; [`url`](HttpServer::url) has the path
    /// for records.
    ///
    /// The API counts the record terminators of a body (MARC's 0x1D); a body without one is one record. The token comes as
    /// `Authorization: Bearer` or as `X-Okapi-Token`. The face runs on the current runtime until the handle is dropped.
    ///
    /// The API answers a request with an `Idempotency-Key` that it accepted before
    /// (draft-ietf-httpapi-idempotency-key-header, section 2.7) as it answered the first one, and counts nothing. While the
    /// first request is still being processed, the answer is 409. Another method, path or body under that key is answered
    /// 422. A request with a key that was read whole is processed to its end, also if the client hangs up.
    ///
    /// `GET /counters` needs no token and is not counted. Its answer is an object of the counters below, each under its
    /// name.
    pub async fn listen(&self) -> io::Result<HttpServer> {
        self.listen_on(ANY_PORT).await
    }

    /// As [`listen`](Self::listen), at this address.
    pub async fn listen_on(&self, addr: SocketAddr) -> io::Result<HttpServer> {
        http::listen(self.clone(), addr).await
    }

    /// Answers the next call like this, whatever its path and token. Several answers are given in the order of the calls of
    /// this method.
    pub fn answer_next(&self, answer: Answer) {
        self.shared.inner.lock().next.push_back(answer);
    }

    /// Answers every call of this path like this, whatever the token.
    pub fn answer_path(&self, path: impl Into<String>, answer: Answer) {
        let path = path.into();
        self.shared.inner.lock().by_path.insert(path, answer);
    }

    counters! {
        /// Calls that arrived.
        calls,
        /// Records that were accepted.
        records,
        /// Calls that were answered 401, by the gateway or by a script.
        unauthorized,
        /// Calls without a header that carries a token, whatever the answer.
        anonymous,
        /// Requests that were repeated under their `Idempotency-Key`, and answered as the first one.
        duplicates,
        /// Requests that were answered 409 or 422 because of their `Idempotency-Key`.
        conflicts,
    }

    /// The number of different records that were accepted over HTTP; zero unless records are
    /// [remembered](ImportApiBuilder::remember_records). If this number equals [`records`](Self::records), each record was
    /// accepted once.
    #[must_use]
    pub fn distinct_records(&self) -> u64 {
        self.shared.inner.lock().taken.distinct()
    }

    /// How often this record was accepted over HTTP; zero unless records are
    /// [remembered](ImportApiBuilder::remember_records). A MARC record ends with its terminator.
    #[must_use]
    pub fn times_taken(&self, record: impl AsRef<[u8]>) -> u64 {
        self.shared.inner.lock().taken.times(record)
    }

    /// The last 64 requests that were read whole, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.inner.lock().seen.iter().cloned().collect()
    }

    fn admit(&self, path: &str, access: Option<&str>) -> Admission {
        let mut inner = self.shared.inner.lock();
        inner.counters.calls += 1;
        let scripted = inner.next.pop_front();
        let admission = match scripted.or_else(|| inner.by_path.get(path).cloned()) {
            Some(answer) => Admission::Scripted(answer),
            None if access.is_some_and(|access| self.accepts(&mut inner, access)) => {
                Admission::Accepted
            }
            None => Admission::Unauthorized,
        };
        inner.counters.unauthorized += u64::from(match &admission {
            Admission::Scripted(answer) => answer.is_unauthorized(),
            Admission::Unauthorized => true,
            Admission::Accepted => false,
        });
        admission
    }

    fn accepts(&self, inner: &mut Inner, access: &str) -> bool {
        let live = || self.shared.server.accept(access) == AccessCheck::Live;
        match self.shared.gateway {
            Gateway::Eureka => live(),
            Gateway::Okapi => {
                let name = Digest::of(access);
                inner.accepted.contains(&name) || (live() && inner.accepted.insert(name))
            }
        }
    }

    fn note_anonymous(&self) {
        self.shared.inner.lock().counters.anonymous += 1;
    }

    /// Takes the records of an accepted call.
    fn take(&self, count: u64, records: &[Fingerprint]) {
        let mut inner = self.shared.inner.lock();
        inner.counters.records += count;
        inner.taken.note(records);
    }

    async fn spend_time(&self, records: u64) {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let span = self.shared.time_per_record.saturating_mul(records);
        if !span.is_zero() {
            tokio::time::sleep(span).await;
        }
    }

    fn used(&self, key: Fingerprint, request: Fingerprint, records: u64) -> Use {
        let mut inner = self.shared.inner.lock();
        let answer = inner.keys.used(key, request, records);
        match answer {
            Use::First => {}
            Use::Again { .. } => inner.counters.duplicates += 1,
            Use::Early | Use::Misuse => inner.counters.conflicts += 1,
        }
        answer
    }

    fn answered(&self, key: &Fingerprint) {
        self.shared.inner.lock().keys.answered(key);
    }

    fn note(&self, seen: Seen) {
        let mut inner = self.shared.inner.lock();
        if inner.seen.len() == SEEN_LIMIT {
            inner.seen.pop_front();
        }
        inner.seen.push_back(seen);
    }

    fn counters(&self) -> Counters {
        self.shared.inner.lock().counters
    }
}

impl fmt::Debug for ImportApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportApi")
            .field("gateway", &self.shared.gateway)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// Describes an [`ImportApi`]; see [`ImportApi::builder`].
#[derive(Debug)]
pub struct ImportApiBuilder {
    server: AuthorizationServer,
    gateway: Gateway,
    time_per_record: Duration,
    remembers_records: bool,
}

impl ImportApiBuilder {
    fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            gateway: Gateway::default(),
            time_per_record: Duration::ZERO,
            remembers_records: false,
        }
    }

    setters! {
        /// How the gateway judges tokens. Default: [`Gateway::Eureka`].
        gateway: Gateway => gateway,
        /// How long each accepted record takes before the call is answered. Default: no time.
        time_per_record: Duration => time_per_record,
        /// Whether the API remembers which records it accepted over HTTP, at some 20 bytes each, for
        /// [`ImportApi::distinct_records`] and [`ImportApi::times_taken`]. Default: no.
        remember_records: bool => remembers_records,
    }

    /// The API, with no call yet.
    #[must_use]
    pub fn build(self) -> ImportApi {
        ImportApi {
            shared: Arc::new(Shared {
                server: self.server,
                gateway: self.gateway,
                time_per_record: self.time_per_record,
                remembers_records: self.remembers_records,
                inner: Mutex::default(),
            }),
        }
    }
}
