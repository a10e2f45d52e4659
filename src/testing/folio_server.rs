mod answer;
mod authn;
mod builder;
mod gateway;
mod state;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::request::Parts;
use ::http::{Request, Response};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};

use self::authn::{Outcome, is_authn, no_module};
pub use self::builder::{FolioServerBuilder, TokenExpirationError};
use self::builder::{Rules, System};
pub use self::gateway::FolioRequest;
pub use self::state::FolioCounters;
use self::state::State;
use super::authorization_server::AccessCheck;
use super::clock::{back, there, work};
use super::fault::{Answer, Fault, Faults, fill, met};
use super::http::{ANY_PORT, HttpServer, Sent, date, remember, retry_after, serve, typed};
use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::endpoint::{EndpointError, Folio, FolioMode, InProcessFolio};
use crate::token::{RefreshExpiry, TokenPair};

/// A FOLIO server: sign-in by `/authn`, and behind its gateway an API that takes records.
///
/// The two kinds of FOLIO treat tokens differently:
///
/// | | [`okapi`](Self::okapi) | [`eureka`](Self::eureka) |
/// |---|---|---|
/// | a refresh token lives | 7 days, and so does the next | to the end of its session, 24 h after sign-in |
/// | a refresh token that is used again | ends all sessions of the user | ends its session |
/// | an expired refresh token | is refused, and ends no session | is refused, and ends no session |
/// | a logout ends | this refresh token | the session of the refresh token, and needs an access token |
/// | a request without a token | 400 "Token missing" | 401 |
/// | an access token is judged | at the first call of a path, and again after 3 min | at every call |
/// | what a module is [handed](Self::handed_on) | a token of its own, without expiry | the same token |
///
/// In both, a logout without a cookie ends all sessions of the user, and an access token lives to its expiry, whatever
/// becomes of its session. In Eureka, a logout with the cookie of the refresh token and without an access token clears the
/// cookies, ends no session, and is answered 422. Times are whole seconds.
///
/// Clones are one server. The server has two faces on one state: [`handle`](Self::handle) in this process, for simulated
/// time, and [`listen`](Self::listen) over HTTP. The server answers `/authn/login-with-expiry`, `/authn/login`,
/// `/authn/refresh`, `/authn/logout`, `/authn/logout-all`, `/bl-users/login-with-expiry` and, in Eureka, `GET /authn/token`
/// as FOLIO does. Any other path belongs to the API, which counts the record terminators of a body (MARC's 0x1D); a body
/// without one is one record.
///
/// ```
/// use evertoken::testing::FolioServer;
/// use http::Request;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folio = FolioServer::okapi()
///     .token_expiration("accessToken:60,refreshToken:3600")?
///     .user("diku", "importer", "secret")
///     .build();
/// let login = Request::post("/authn/login-with-expiry")
///     .header("x-okapi-tenant", "diku")
///     .body(r#"{"username":"importer","password":"secret"}"#.into())?;
/// let response = folio.handle(login).await?;
/// assert_eq!(response.status(), 201);
/// assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
/// assert_eq!(folio.counters().logins, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FolioServer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    rules: Rules,
    reachable: AtomicBool,
    state: Mutex<State>,
    faults: Mutex<Faults<Fault>>,
    next: Mutex<VecDeque<Answer>>,
    /// Requests in the order in which they were decided.
    seen: Mutex<VecDeque<FolioRequest>>,
}

impl FolioServer {
    /// Describes a FOLIO on Okapi, with `mod-login` and `mod-authtoken`.
    #[must_use]
    pub fn okapi() -> FolioServerBuilder {
        FolioServerBuilder::new(System::Okapi)
    }

    /// Describes a FOLIO on Eureka, with `mod-login-keycloak` and sidecars.
    #[must_use]
    pub fn eureka() -> FolioServerBuilder {
        FolioServerBuilder::new(System::Eureka)
    }

    /// The in-process face: answers any request, as over the wire. Only path and query of the URI count.
    ///
    /// An error is what a client sees of the connection: refused, which means that the request did not arrive; reset before
    /// the answer; or ended within the answer. The server decides every request for tokens that has arrived, also if the
    /// client no longer waits for the answer.
    pub async fn handle(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        if !self.shared.reachable.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        match self.answer(request).await {
            Sent::Whole(response) => Ok(response),
            Sent::Half(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Sent::Nothing => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// The HTTP face, on a free port of the loopback: [`url`](HttpServer::url) is FOLIO's URL, with the path of
    /// [`okapi_path`](FolioServerBuilder::okapi_path).
    ///
    /// The face runs on the current runtime until the handle is dropped.
    pub async fn listen(&self) -> io::Result<HttpServer> {
        self.listen_on(ANY_PORT).await
    }

    /// As [`listen`](Self::listen), at this address: a server that returns after an outage.
    pub async fn listen_on(&self, addr: SocketAddr) -> io::Result<HttpServer> {
        let server = self.clone();
        let answer = move |request| server.clone().answer_read(request);
        serve(addr, &self.shared.rules.path, answer).await
    }

    /// The first pair of a new session, as if this user signed in elsewhere just now. In a legacy tenant, the pair is an
    /// access token without expiry, alone. `None` if no user has this name.
    #[must_use]
    pub fn issue(&self, tenant: &str, name: &str) -> Option<TokenPair> {
        let now = self.now();
        let mut state = self.state();
        let user = state.user(tenant, name)?;
        if self.shared.rules.is_legacy(tenant) {
            return Some(TokenPair::new(state.legacy_token(user, now)).never_expires());
        }
        let pair = state.issue(user, now);
        let session = match self.shared.rules.system {
            System::Okapi => RefreshExpiry::Sliding,
            System::Eureka => RefreshExpiry::Absolute,
        };
        Some(
            TokenPair::new(pair.access.token)
                .refresh_token(pair.refresh.token)
                .expires_in(Duration::from_secs(pair.access.lives))
                .refresh_expires_in(Duration::from_secs(pair.refresh.lives))
                .refresh_expiry(session),
        )
    }

    /// A code for `GET /authn/token`, which takes the code once and with this redirect URI, as if the user signed in at
    /// Keycloak's page just now. `None` if no user has this name.
    #[must_use]
    pub fn code(&self, tenant: &str, name: &str, redirect_uri: &str) -> Option<String> {
        let mut state = self.state();
        let user = state.user(tenant, name)?;
        Some(state.new_code(user, redirect_uri))
    }

    /// The token with which a module makes its own calls, for a request with this access token: in Okapi a token without
    /// expiry, in Eureka the same token. `None` if the gateway refuses the request.
    #[must_use]
    pub fn handed_on(&self, access: &str) -> Option<String> {
        self.state().handed_on(access, self.now()).ok()
    }

    /// Ends all sessions of a user, as `/authn/logout-all` does.
    pub fn log_out_everywhere(&self, tenant: &str, name: &str) {
        let mut state = self.state();
        if let Some(user) = state.user(tenant, name) {
            state.log_out_everywhere(user);
        }
    }

    /// Whether a user is active. An inactive user can neither sign in nor refresh nor call the API.
    pub fn set_active(&self, tenant: &str, name: &str, active: bool) {
        let mut state = self.state();
        if let Some(user) = state.user(tenant, name) {
            state.set_active(user, active);
        }
    }

    /// The next request for tokens that arrives meets this fault. Several faults are met in the order of the calls. The
    /// answer of a [`Fault::Body`] has no cookies.
    pub fn fail_next(&self, fault: Fault) {
        self.shared.faults.lock().next.push_back(Some(fault));
    }

    /// Every request for tokens meets this fault, once those of [`fail_next`](Self::fail_next) are used
    /// up; `None` ends it.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.shared.faults.lock().always = fault;
    }

    /// Answers the next call of the API like this, whatever its path and token. Several answers are given in the order of
    /// the calls of this method. Eureka's gateway answers [`Answer::unavailable`] while it fetches a token of its own.
    pub fn answer_next(&self, answer: Answer) {
        self.shared.next.lock().push_back(answer);
    }

    /// Whether the in-process face accepts connections. If not, its requests are never sent. Over HTTP, drop the
    /// [`HttpServer`] and [`listen_on`](Self::listen_on) its address again.
    pub fn set_reachable(&self, reachable: bool) {
        self.shared.reachable.store(reachable, Ordering::SeqCst);
    }

    /// The counters so far.
    #[must_use]
    pub fn counters(&self) -> FolioCounters {
        self.state().counters
    }

    /// The number of different records that were accepted; zero unless records are
    /// [remembered](FolioServerBuilder::remember_records). If this number equals [`FolioCounters::records`], each record was
    /// accepted once.
    #[must_use]
    pub fn distinct_records(&self) -> u64 {
        self.state().taken.distinct()
    }

    /// How often this record was accepted; zero unless records are
    /// [remembered](FolioServerBuilder::remember_records). A MARC record ends with its terminator.
    #[must_use]
    pub fn times_taken(&self, record: impl AsRef<[u8]>) -> u64 {
        self.state().taken.times(record)
    }

    /// The last 64 requests that were decided, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<FolioRequest> {
        self.shared.seen.lock().iter().cloned().collect()
    }

    /// What an access token is worth now. FOLIO never revokes an access token.
    #[must_use]
    pub fn check(&self, access: &str) -> AccessCheck {
        self.state().check(access, self.now())
    }

    /// Whether this refresh token is live: `/authn/refresh` exchanges it now.
    #[must_use]
    pub fn is_live_refresh(&self, refresh: &str) -> bool {
        self.state().is_live_refresh(refresh, self.now())
    }

    /// The login service of a tenant as an endpoint without sockets, for simulated time.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] if this is not a valid name of a tenant.
    pub fn endpoint(&self, tenant: impl Into<String>) -> Result<Folio, BuildError> {
        let mode = match self.shared.rules.system {
            System::Okapi => FolioMode::Okapi,
            System::Eureka => FolioMode::Eureka,
        };
        let url = format!("http://127.0.0.1{}", self.shared.rules.path);
        Folio::carried(mode, url, tenant, self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    fn now(&self) -> u64 {
        self.shared.clock.wall().as_secs()
    }
}

/// The path of a request that has arrived, by either face: the request waits, meets its fault, and is answered.
impl FolioServer {
    async fn answer_read(self, request: Request<Incoming>) -> Sent {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return Sent::Nothing;
        };
        let request = Request::from_parts(head, body.to_bytes());
        self.answer(request).await
    }

    /// Answers a request to any path.
    async fn answer(&self, request: Request<Bytes>) -> Sent {
        let (head, body) = request.into_parts();
        let below = head.uri.path().strip_prefix(&*self.shared.rules.path);
        let mut sent = match below.filter(|path| path.starts_with('/')) {
            None => Sent::Whole(no_module(&head.method, head.uri.path())),
            Some(path) if is_authn(path) => {
                let path = path.to_owned();
                there(self.shared.rules.latency).await;
                // A request that has arrived is decided, also if the client hangs up now.
                let task = tokio::spawn(self.clone().decide(head, path, body));
                task.await.unwrap_or(Sent::Nothing)
            }
            Some(path) => self.call(&head, path, &body).await,
        };
        if let Sent::Whole(response) | Sent::Half(response) = &mut sent {
            date(response.headers_mut(), self.shared.clock.wall());
        }
        sent
    }

    /// A request for tokens.
    async fn decide(self, head: Parts, path: String, body: Bytes) -> Sent {
        let fault = self.shared.faults.lock().take();
        let sent = met(fault, |fault| self.decided(&head, &path, &body, fault)).await;
        back(self.shared.rules.latency).await;
        sent
    }

    fn decided(&self, head: &Parts, path: &str, body: &Bytes, fault: Option<Fault>) -> Sent {
        let mut state = self.state();
        if let Some(Fault::Status { .. } | Fault::DropBefore) = fault {
            state.note_undone(head, path);
        }
        let sent = match fault {
            Some(Fault::DropBefore) => Sent::Nothing,
            Some(Fault::Status {
                status,
                body,
                retry_after: pause,
            }) => {
                let mut response = typed(status, "application/json", body);
                retry_after(response.headers_mut(), pause);
                Sent::Whole(response)
            }
            fault => self.sent(state.authn(head, path, body, self.now()), fault),
        };
        self.note(head, path, &sent);
        sent
    }

    fn sent(&self, outcome: Outcome, fault: Option<Fault>) -> Sent {
        let (pair, shape) = match outcome {
            _ if fault == Some(Fault::DropAfter) => return Sent::Nothing,
            Ok(issued) => issued,
            Err(answer) => return Sent::Whole(*answer),
        };
        let whole = answer::issued(&self.shared.rules, &pair, &shape);
        match fault {
            Some(Fault::Truncate) => Sent::Half(whole),
            Some(Fault::Body { status, body }) => {
                let body = fill(&body, &pair.access.token, &pair.refresh.token);
                Sent::Whole(typed(status, "application/json", body))
            }
            _ => Sent::Whole(whole),
        }
    }

    /// A call of the API.
    async fn call(&self, head: &Parts, path: &str, body: &[u8]) -> Sent {
        let (sent, records) = self.called(head, path, body);
        work(self.shared.rules.time_per_record, records).await;
        sent
    }

    /// Decides a call.
    fn called(&self, head: &Parts, path: &str, body: &[u8]) -> (Sent, u64) {
        let mut state = self.state();
        state.counters.calls += 1;
        let next = self.shared.next.lock().pop_front();
        let (response, records) = match next.map(Answer::into_response) {
            Some(response) => {
                state.counters.unauthorized += u64::from(response.status() == 401);
                (response, 0)
            }
            None => state.call(head, path, body, self.now()),
        };
        let sent = Sent::Whole(response);
        self.note(head, path, &sent);
        (sent, records)
    }

    fn note(&self, head: &Parts, path: &str, sent: &Sent) {
        let status = match sent {
            Sent::Whole(response) | Sent::Half(response) => Some(response.status()),
            Sent::Nothing => None,
        };
        let request = FolioRequest::new(head, path, status);
        remember(&mut self.shared.seen.lock(), request);
    }
}

#[async_trait]
impl InProcessFolio for FolioServer {
    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, EndpointError> {
        let answer = self.handle(request).await;
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => EndpointError::not_sent(error),
            _ => EndpointError::unknown(error),
        })
    }

    fn wall(&self) -> Duration {
        self.shared.clock.wall()
    }
}

/// Counters only, because the state holds tokens.
impl fmt::Debug for FolioServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolioServer")
            .field("system", &self.shared.rules.system)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
