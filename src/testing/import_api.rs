use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::authorization_server::{AccessCheck, AuthorizationServer};
use super::clock::work;
use super::fault::Answer;
use super::http::{
    ANY_PORT, Body, Fingerprint, HttpServer, Sent, Taken, date, fingerprint, json_of, remember,
    serve, typed,
};
use crate::token::Digest;

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
    rules: Arc<ImportApiBuilder>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    counters: Counters,
    /// The digests of the tokens that Okapi accepted.
    accepted: HashSet<Digest>,
    /// The requests with an `Idempotency-Key`. A key takes 40 bytes and is never forgotten.
    keys: HashMap<Fingerprint, Keyed>,
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

struct Keyed {
    request: Fingerprint,
    records: u32,
    is_answered: bool,
}

impl ImportApi {
    /// Describes an API that accepts the tokens of `server`.
    #[must_use]
    pub fn builder(server: &AuthorizationServer) -> ImportApiBuilder {
        ImportApiBuilder {
            server: server.clone(),
            gateway: Gateway::default(),
            time_per_record: Duration::ZERO,
            remembers_records: false,
        }
    }

    /// A call in this process that brings this number of records to `/records`.
    pub async fn call(&self, access: &str, records: u64) -> StatusCode {
        let path = "/records";
        let refusal = self.admit(path, Some(access));
        self.note(Seen {
            method: Method::POST,
            path: path.to_owned(),
            bearer: true,
            body: 0,
        });
        if let Some(refusal) = refusal {
            return refusal.status();
        }
        self.process(records, &[]).await;
        StatusCode::OK
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
        let api = self.clone();
        serve(addr, "/records", move |request| api.clone().answer(request)).await
    }

    /// Answers the next call like this, whatever its path and token. Several answers are given in the order of the calls of
    /// this method.
    pub fn answer_next(&self, answer: Answer) {
        self.inner.lock().next.push_back(answer);
    }

    /// Answers every call of this path like this, whatever the token.
    pub fn answer_path(&self, path: impl Into<String>, answer: Answer) {
        let path = path.into();
        self.inner.lock().by_path.insert(path, answer);
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
        self.inner.lock().taken.distinct()
    }

    /// How often this record was accepted over HTTP; zero unless records are
    /// [remembered](ImportApiBuilder::remember_records). A MARC record ends with its terminator.
    #[must_use]
    pub fn times_taken(&self, record: impl AsRef<[u8]>) -> u64 {
        self.inner.lock().taken.times(record)
    }

    /// The last 64 requests that were read whole, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().seen.iter().cloned().collect()
    }

    /// Counts a call, and answers it where it is not let in.
    fn admit(&self, path: &str, access: Option<&str>) -> Option<Response<Bytes>> {
        let mut inner = self.inner.lock();
        inner.counters.calls += 1;
        let scripted = inner.next.pop_front();
        let refusal = match scripted.or_else(|| inner.by_path.get(path).cloned()) {
            Some(answer) => Some(answer.into_response()),
            None if access.is_some_and(|access| self.accepts(&mut inner, access)) => None,
            None => Some(unauthorized()),
        };
        let status = refusal.as_ref().map(Response::status);
        inner.counters.unauthorized += u64::from(status == Some(StatusCode::UNAUTHORIZED));
        refusal
    }

    fn accepts(&self, inner: &mut Inner, access: &str) -> bool {
        let live = || self.rules.server.accept(access) == AccessCheck::Live;
        match self.rules.gateway {
            Gateway::Eureka => live(),
            Gateway::Okapi => {
                let name = Digest::of(access);
                inner.accepted.contains(&name) || (live() && inner.accepted.insert(name))
            }
        }
    }

    /// Takes the records of a call that was let in.
    async fn process(&self, count: u64, records: &[Fingerprint]) {
        {
            let mut inner = self.inner.lock();
            inner.counters.records += count;
            inner.taken.note(records);
        }
        work(self.rules.time_per_record, count).await;
    }

    fn note(&self, request: Seen) {
        remember(&mut self.inner.lock().seen, request);
    }

    fn counters(&self) -> Counters {
        self.inner.lock().counters
    }
}

impl fmt::Debug for ImportApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportApi")
            .field("gateway", &self.rules.gateway)
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
            rules: Arc::new(self),
            inner: Arc::default(),
        }
    }
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";

const OKAPI_TOKEN: &str = "x-okapi-token";

/// The HTTP face: any request in, JSON out. It never keeps a body, so a long import takes no memory. A request with an
/// `Idempotency-Key` is processed once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).
impl ImportApi {
    async fn answer(self, request: Request<Incoming>) -> Sent {
        let (head, body) = request.into_parts();
        if head.method == Method::GET && head.uri.path() == "/counters" {
            let mut counters = json!(self.counters());
            counters["distinct_records"] = self.distinct_records().into();
            return Sent::Whole(json_of(200, &counters));
        }
        let access = token(&head.headers);
        if !(head.headers.contains_key(AUTHORIZATION) || head.headers.contains_key(OKAPI_TOKEN)) {
            self.inner.lock().counters.anonymous += 1;
        }
        // A gateway judges the token when the request arrives, before it has the body.
        let refusal = self.admit(head.uri.path(), access);
        let Ok(body) = read(body, self.rules.remembers_records).await else {
            return Sent::Nothing;
        };
        self.note(Seen {
            bearer: access.is_some(),
            path: head.uri.path().to_owned(),
            method: head.method.clone(),
            body: body.length,
        });
        let answer = match refusal {
            Some(refusal) => Some(refusal),
            None => self.import(&head, body).await,
        };
        let Some(mut response) = answer else {
            return Sent::Nothing;
        };
        date(response.headers_mut(), self.rules.server.date());
        Sent::Whole(response)
    }

    /// Processes a request that was let in; `None` if the runtime ends meanwhile.
    async fn import(&self, head: &Parts, body: Body) -> Option<Response<Bytes>> {
        let count = body.count();
        let (whole, records) = body.finish();
        let Some(key) = head.headers.get(IDEMPOTENCY_KEY) else {
            self.process(count, &records).await;
            return Some(accepted(count));
        };
        let key = fingerprint(key);
        let known = self.answer_known(key, request_fingerprint(head, &whole), count);
        if known.is_some() {
            return known;
        }
        let api = self.clone();
        // In the connection's own task, a client that hangs up leaves the key unanswered for ever.
        let work = tokio::spawn(async move {
            api.process(count, &records).await;
            if let Some(request) = api.inner.lock().keys.get_mut(&key) {
                request.is_answered = true;
            }
        });
        work.await.ok()?;
        Some(accepted(count))
    }

    /// The answer to a request whose key is known. `None` for the first one, which the caller processes.
    fn answer_known(
        &self,
        key: Fingerprint,
        request: Fingerprint,
        records: u64,
    ) -> Option<Response<Bytes>> {
        let inner = &mut *self.inner.lock();
        let Some(first) = inner.keys.get(&key) else {
            let first = Keyed {
                request,
                records: u32::try_from(records).unwrap_or(u32::MAX),
                is_answered: false,
            };
            inner.keys.insert(key, first);
            return None;
        };
        let (status, title) = match first.request == request {
            true if first.is_answered => {
                inner.counters.duplicates += 1;
                return Some(accepted(first.records.into()));
            }
            true => (409, "still being worked on"),
            false => (422, "another request had this key"),
        };
        inner.counters.conflicts += 1;
        Some(json_of(status, &json!({ "title": title })))
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1), or of FOLIO's own header.
fn token(headers: &HeaderMap) -> Option<&str> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return headers.get(OKAPI_TOKEN)?.to_str().ok();
    };
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then_some(token.trim())
}

async fn read(mut incoming: Incoming, remembers_records: bool) -> hyper::Result<Body> {
    let mut body = Body::new(remembers_records);
    while let Some(frame) = incoming.frame().await {
        if let Some(data) = frame?.data_ref() {
            body.arrived(data);
        }
    }
    Ok(body)
}

/// The fingerprint by which two requests are equal (section 2.4 of the draft leaves that to the server).
fn request_fingerprint(head: &Parts, body: &Fingerprint) -> Fingerprint {
    let line = format!("{} {}\n", head.method, head.uri);
    fingerprint([line.as_bytes(), body].concat())
}

fn accepted(records: u64) -> Response<Bytes> {
    json_of(200, &json!({ "records": records }))
}

fn unauthorized() -> Response<Bytes> {
    let mut response = typed(401, "text/plain", "Invalid token");
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
