mod authorize;
mod exchange;
mod page;
mod rules;
mod state;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

pub use self::authorize::AuthorizeError;
pub use self::exchange::InProcessEndpoint;
use self::rules::Words;
pub use self::rules::{AuthorizationServerBuilder, GraceAnswer, RefreshTokens, Reuse};
pub use self::state::AccessCheck;
use self::state::{Counters, State};
use super::clock::until;
use super::fault::{Fault, Faults};
use super::http::{ANY_PORT, HttpServer, serve};
use crate::clock::{Clock, Timestamp};
use crate::token::TokenPair;

/// A strict authorization server: a refresh token is good for one use, and a second use revokes its whole family.
///
/// Clones are one server. The server has two faces on one state: [`endpoint`](Self::endpoint) in this process, and
/// [`listen`](Self::listen) over HTTP, where users sign in by a browser too, once a
/// [`redirect_uri`](AuthorizationServerBuilder::redirect_uri) is registered. The server decides every grant that has *arrived*,
/// also if the client no longer waits for the answer.
///
/// ```
/// use evertoken::testing::AuthorizationServer;
///
/// let server = AuthorizationServer::builder().client("importer", "secret").build();
/// let first = server.issue();
/// assert!(first.refresh.is_some_and(|token| server.is_live_refresh(token.expose())));
/// assert_eq!(server.exchanges(), 0);
/// ```
#[derive(Clone)]
pub struct AuthorizationServer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    faults: Mutex<Faults<Fault>>,
    reachable: AtomicBool,
    exchanges: watch::Sender<u64>,
    holds: watch::Sender<usize>,
}

impl AuthorizationServer {
    /// Describes a server. Default: strict, with access tokens of 10 min and refresh tokens of 7 days.
    #[must_use]
    pub fn builder() -> AuthorizationServerBuilder {
        AuthorizationServerBuilder::new()
    }

    /// Describes light-oauth2: opaque refresh tokens without an expiry. A refresh token is gone once it is presented, also
    /// by [another client](AuthorizationServerBuilder::another_client) or for more than its
    /// [scope](AuthorizationServerBuilder::scope). The server revokes no family, and words refusals as light-4j does: 404
    /// for a token that it does not hold.
    #[must_use]
    pub fn light_oauth2() -> AuthorizationServerBuilder {
        /// A hundred years.
        const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let mut builder = Self::builder().reuse(Reuse::Refuse).refresh_ttl(FOR_EVER);
        builder.rules.issue_refresh_expires_in = false;
        builder.rules.token_type = "bearer";
        builder.rules.words = Words::Light4j;
        builder
    }

    /// Describes a WSO2 identity server that rotates gracefully: [`Reuse::Renew`], once within 30 s.
    /// Access tokens of an hour, which die at the rotation, and refresh tokens of a day.
    #[must_use]
    pub fn wso2() -> AuthorizationServerBuilder {
        let window = Duration::from_secs(30);
        Self::builder()
            .access_ttl(Duration::from_secs(3_600))
            .refresh_ttl(Duration::from_secs(86_400))
            .old_access_dies(true)
            .reuse(Reuse::Renew { window, times: 1 })
    }

    /// The first pair of a new family, as if a user signed in just now.
    #[must_use]
    pub fn issue(&self) -> TokenPair {
        let issued = self.state().issue(self.now());
        issued.into_pair(None, Duration::ZERO, self.shared.clock.wall())
    }

    /// The in-process face, for simulated time.
    #[must_use]
    pub fn endpoint(&self) -> InProcessEndpoint {
        let client = self.state().rules.client.clone();
        InProcessEndpoint::new(self.clone(), client)
    }

    /// The HTTP face, on a free port of the loopback: [`url`](HttpServer::url) is the token endpoint (RFC 6749 section
    /// 3.2), and beside it are the revocation endpoint `/revoke` (RFC 7009) and the authorization endpoint `/authorize` (section
    /// 3.1), whose page has one button, `#sign-in`. PKCE with S256 is required (RFC 7636). The issuer is the
    /// [`origin`](HttpServer::origin), as the browser has it.
    ///
    /// The face runs on the current runtime until the handle is dropped.
    pub async fn listen(&self) -> io::Result<HttpServer> {
        self.listen_on(ANY_PORT).await
    }

    /// As [`listen`](Self::listen), at this address: a server that returns after an outage.
    pub async fn listen_on(&self, addr: SocketAddr) -> io::Result<HttpServer> {
        let server = self.clone();
        serve(addr, "/token", move |request| {
            exchange::answer(server.clone(), request)
        })
        .await
    }

    /// The next grant that arrives meets this fault. Several faults are met in the order of the calls.
    pub fn fail_next(&self, fault: Fault) {
        self.shared.faults.lock().next.push_back(Some(fault));
    }

    /// Every grant meets this fault, once those of [`fail_next`](Self::fail_next) are used up;
    /// `None` ends it.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.shared.faults.lock().always = fault;
    }

    /// Holds grants that have arrived undecided until the guard is dropped.
    #[must_use = "dropping the guard lets them go on"]
    pub fn hold(&self) -> Hold {
        self.shared.holds.send_modify(|holds| *holds += 1);
        let server = self.clone();
        Hold { server }
    }

    /// Waits until [`exchanges`](Self::exchanges) is at least `count`.
    pub async fn arrived(&self, count: u64) {
        until(&self.shared.exchanges, |arrived| *arrived >= count).await;
    }

    /// Whether the in-process face accepts connections. If not, its requests are never sent. Over HTTP, drop the
    /// [`HttpServer`] and [`listen_on`](Self::listen_on) its address again.
    pub fn set_reachable(&self, reachable: bool) {
        self.shared.reachable.store(reachable, Ordering::SeqCst);
    }

    /// Revokes every family: all users are logged out everywhere.
    pub fn revoke_all(&self) {
        self.state().revoke_all();
    }

    /// Refresh grants that arrived, including those that failed.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        *self.shared.exchanges.borrow()
    }

    counters! {
        /// Of [`exchanges`](Self::exchanges), those whose token was consumed before, whatever the answer.
        replays,
        /// Of [`exchanges`](Self::exchanges), those that issued a new pair, whether or not the answer arrived.
        rotations,
        /// Families that the server revoked because a refresh token or an authorization code was used twice.
        families_revoked,
        /// Sign-ins that arrived at the token endpoint, by the client's credentials or by a code, including those that failed.
        sign_ins,
        /// Requests to revoke a token, whether or not the server knew the token.
        revocations,
    }

    /// What an access token is worth now. The check does not count as a use of the token.
    #[must_use]
    pub fn check(&self, access: &str) -> AccessCheck {
        self.state().check(access, self.now())
    }

    /// Whether this refresh token is live: the token endpoint exchanges it now, for the first time.
    #[must_use]
    pub fn is_live_refresh(&self, refresh: &str) -> bool {
        self.state().is_live_refresh(refresh, self.now())
    }

    /// Checks the token on behalf of an API, which counts as a use of the token.
    pub(super) fn accept(&self, access: &str) -> AccessCheck {
        self.state().accept(access, self.now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn counters(&self) -> Counters {
        self.state().counters
    }

    fn latency(&self) -> Duration {
        self.state().rules.latency
    }

    fn words(&self) -> Words {
        self.state().rules.words
    }

    fn is_reachable(&self) -> bool {
        self.shared.reachable.load(Ordering::SeqCst)
    }

    /// The wall clock in whole seconds, as a `Date` header has it.
    pub(super) fn date(&self) -> Duration {
        Duration::from_secs(self.shared.clock.wall().as_secs())
    }
}

/// Counters only, because the state holds tokens.
impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("exchanges", &self.exchanges())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// While this guard lives, grants that have arrived at the server stay undecided.
#[derive(Debug)]
pub struct Hold {
    server: AuthorizationServer,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.server.shared.holds.send_modify(|holds| *holds -= 1);
    }
}

/// A random number from the keys of a hash map, which unlike the operating system's source cannot fail.
pub(super) fn seed() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(0));
    (half() << 64) | half()
}
