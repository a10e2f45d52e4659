//! Many sessions over one endpoint, store, strategy, clock, timer and configuration. It decides which key has which session,
//! and nothing about a session itself: every session has a [`TokenManager`], and answers as one that was built alone.

mod attempts;
mod browser_pair;
mod id;
mod lingering;
mod present;
mod upstream;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use self::attempts::Attempts;
pub use self::browser_pair::BrowserPair;
pub use self::id::{ParseSessionIdError, SessionId};
use self::lingering::Lingering;
pub use self::present::{Presentation, Presented};
pub use self::upstream::{EndWhereError, Upstream};
use crate::build_error::BuildError;
use crate::endpoint::TokenEndpoint;
use crate::error::Error;
use crate::event::SessionsEvents;
use crate::manager::{Builder, TokenManager, shut_down};
use crate::rotation::no_random;
use crate::session::{Group, OnRotated, SessionPolicy};
use crate::token::{AccessToken, Digest, Key, TokenPair};

/// Many sessions over one endpoint, store, strategy and configuration: one for each tenant or user of a service.
///
/// ```no_run
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// use evertoken::{OAuth2, Sessions};
///
/// let endpoint = OAuth2::new("https://id.example.org/token", "service")?
///     .client_secret("..")
///     .sign_in_as_client();
/// let sessions = Sessions::builder(endpoint).origin("https://api.example.org").build()?;
/// // In a request of the tenant:
/// let tokens = sessions.manager(sessions.key().tenant("diku"));
/// let http = reqwest::Client::new();
/// tokens.send(http.get("https://api.example.org/orders")).await?;
/// // At the end of the process:
/// sessions.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// A manager is made for a request and dropped with it; that costs no I/O. Managers of equal keys share one session: one pair,
/// one rotation in flight, one status, and the subscribers of each. A session without a manager stays in the store, and leaves
/// the memory of the process: at once if it is idle, and otherwise when its rotation is finished, its pair and its logout are
/// stored, and what the store does not know of it (a pause after a failure, an API that rejects new tokens, a lease whose answer
/// was lost) is a minute old, or for as long as a server asked for without [leases](crate::Coordination::Lease). A timer rotates only sessions that have a manager. The next use of the key loads the session from
/// the store again, so a session that is used often is worth a manager that is kept.
///
/// [`TokenManager::shutdown`] ends every manager that the key has at that time, also one that another part of the program holds. A
/// later manager of the key continues the session.
///
/// Clones are cheap and share everything. When the last clone and the last manager are dropped, what is still under way ends as
/// for a [manager](TokenManager) of its own.
#[derive(Clone)]
pub struct Sessions {
    group: Arc<Group>,
    /// The sessions that were presented a while ago at most.
    lingering: Arc<Lingering>,
    attempts: Arc<Attempts>,
}

impl Sessions {
    /// Starts to build the sessions of this endpoint.
    ///
    /// Where the endpoint has a [first pair](TokenEndpoint::first_pair) of its own, as a [`StaticToken`](crate::StaticToken)
    /// has, that pair seeds the session of the endpoint's own [key](Self::key), and no other: a pair is not the pair of every
    /// tenant.
    pub fn builder(endpoint: impl TokenEndpoint) -> Builder<Self> {
        Builder::new(Arc::new(endpoint))
    }

    /// Returns the endpoint's own key. With a [tenant](Key::tenant), a [subject](Key::subject) or a [label](Key::label) the key
    /// names the session of that tenant or user.
    ///
    /// A part that comes from a request has to be one that the service has authenticated: a key opens its session.
    #[must_use]
    pub fn key(&self) -> Key {
        self.group.key.clone()
    }

    /// Returns a manager of this key's session. The call does no I/O; the first use loads the session.
    #[must_use]
    pub fn manager(&self, key: Key) -> TokenManager {
        let of_a_sign_in = id::of_a_sign_in(&key);
        let signs_in = of_a_sign_in.is_none();
        let policy = self.group.policies.of(of_a_sign_in.flatten());
        let policy = Arc::clone(policy);
        self.manager_of(key, signs_in, policy)
    }

    /// A session that a user's sign-in began is never begun by the endpoint's own sign-in, whatever its key looks like.
    fn manager_of(&self, key: Key, signs_in: bool, policy: Arc<SessionPolicy>) -> TokenManager {
        let session = self.group.session(key, signs_in, Some(&policy));
        TokenManager::new(session, Some(Arc::clone(&self.group)))
    }

    /// Begins a session with the pair of a user's sign-in, under a new random id. The pair is stored before the call returns,
    /// as with [`TokenManager::replace`]. [`open`](Self::open) gives the session's manager, in each process that shares the
    /// store.
    ///
    /// # Errors
    ///
    /// As [`TokenManager::replace`]. [`Error::AlreadyUsed`] also if the store finds the pair's token in another session, current
    /// or past: two sessions with one token would end each other. A call that failed, or that timed out, may have stored the pair
    /// all the same, under an id that the caller does not have. Another call with that pair may then be refused, and the user
    /// has to sign in again.
    pub fn sign_in(&self, pair: TokenPair) -> SignIn {
        SignIn {
            sessions: self.clone(),
            pair,
            policy: None,
            upstream: None,
        }
    }

    /// Returns a manager of the session with this id. Calls of a session that the store does not know fail with an error that
    /// [needs a sign-in](Error::needs_sign_in), and the endpoint is not called: its own sign-in never begins such a session.
    #[must_use]
    pub fn open(&self, id: &SessionId) -> TokenManager {
        let policy = Arc::clone(self.group.policies.of(id.policy()));
        self.manager_of(id.key(&self.group.key), false, policy)
    }

    /// Returns a manager of the session whose current access token this is; `None` if the store knows no such session, or has no
    /// index of access tokens. The access token may have expired: a service that its users call with an access token alone finds
    /// the session with it, and goes on with [`token`](TokenManager::token).
    ///
    /// The limits of the session's policy are not checked. **The access token opens the session**, and with it every later one. So use this for tokens that come out of a
    /// place that the service itself has sealed.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn find_by_access(
        &self,
        access: &AccessToken,
    ) -> Result<Option<TokenManager>, Error> {
        let digest = Digest::of(access.expose());
        let found = self.group.shared.store.find_by_access(&digest).await?;
        let own = &self.group.key;
        // Another service may share the store.
        let is_own = |key: &Key| key.issuer == own.issuer && key.client_id == own.client_id;
        let found = found.filter(is_own);
        Ok(found.map(|key| self.manager(key)))
    }

    #[cfg(feature = "gateway")]
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Refuses a policy that the builder does not have: a misspelt one would have no limits.
    fn check_policy(&self, name: Option<&str>) -> Result<(), Error> {
        let is_known = name.is_none_or(|name| self.group.policies.has(name));
        is_known.then_some(()).ok_or(Error::UnknownPolicy)
    }

    /// Subscribes to the events of every session from now on, each with its key. A session has events while it is in memory; the
    /// notices of its end come while it has a manager.
    #[must_use]
    pub fn subscribe(&self) -> SessionsEvents {
        SessionsEvents(self.group.subscribe())
    }

    /// Returns the number of sessions that are in the memory of this process. The store may hold more.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.group.count()
    }

    /// Shuts all sessions down, with every manager of them: callers get [`Error::ShutDown`] from now on. The call returns when
    /// all rotations in flight are finished, and their pairs and all logouts stored. The sessions themselves go on in the store.
    ///
    /// # Errors
    ///
    /// As [`TokenManager::shutdown`], with one [deadline](Builder::wait) for all sessions. [`Error::Store`] is the error of one
    /// session; events and logs have the others. A later call reports it again.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.lingering.clear();
        let sessions = self.group.close();
        let done = shut_down(&self.group.shared, &sessions).await;
        self.group.outcome(done)
    }
}

/// Shows the endpoint's key and the number of sessions in memory, and not a secret.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("key", &self.group.key)
            .field("in_memory", &self.in_memory())
            .finish_non_exhaustive()
    }
}

/// What only many sessions have.
impl Builder<Sessions> {
    /// Sets how many sessions may exchange a token at the endpoint at the same time. At least 1. Default: 64.
    ///
    /// A server that throttles its clients refuses some of the rotations if a hundred thousand sessions fall due within seconds.
    /// With 64 places and 300 ms for an exchange, 200 sessions are rotated in a second: enough for 100,000 sessions whose tokens
    /// live for ten minutes.
    ///
    /// While all places are taken, the next free one goes to the session whose access token expires soonest; the sessions whose
    /// token has expired are before those, the one that expired first at their head. A session without a token, or whose token
    /// does not say when it expires, counts as one that expired when its rotation came. A rotation that waits has sent nothing and
    /// leased nothing: callers with a valid token are served, and the others wait until their own [deadline](Builder::wait).
    ///
    /// An exchange counts, with its lease, whichever grant it sends; the storing of its pair, a pause, a wait for another instance
    /// and a revocation do not. A token that is sent a second time after an unclear answer gets the next free place. The limit is
    /// that of one `Sessions`: instances that share a store have one each. An endpoint whose exchange waits for another session
    /// of the same `Sessions` may take all places, so that none is left for that one.
    pub fn exchanges_at_once(self, limit: usize) -> Self {
        self.with_exchanges_at_once(limit)
    }

    /// Sets a callback for each pair that the server issues to one of the sessions, with the session's key, for programs that
    /// keep pairs elsewhere too. It is called as that of a [manager](Builder::<TokenManager>::on_rotated): after the pair is
    /// stored and before a caller gets the token. Callers of that session wait for it, up to the
    /// [store's timeout](Self::store_timeout); other sessions do not. Calls for different sessions may run at the same time. The
    /// callback must not ask the session that it is called for to give out a token.
    pub fn on_rotated<F>(
        self,
        callback: impl Fn(Key, TokenPair) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.with_on_rotated(OnRotated::new(move |key: &Key, pair| {
            callback(key.clone(), pair)
        }))
    }

    /// Checks the settings and builds the sessions, on the tokio runtime in which this is called, which has to outlive their
    /// use. This call does no I/O. Without a [store](Self::store), one [`MemoryStore`](crate::MemoryStore) holds them all.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::<TokenManager>::build) of a manager.
    pub fn build(self) -> Result<Sessions, BuildError> {
        let group = self.group()?;
        Ok(Sessions {
            lingering: Lingering::new(&group),
            attempts: Arc::new(Attempts::new(group.policies.unknown_pairs)),
            group,
        })
    }

    /// Adds a policy, which [`SignIn::policy`] and [`Presented::policy`] name, for example one for each kind of client. The name
    /// is a part of the [id](SessionId) of each of its sessions: 1 to 32 letters a to z, digits and hyphens. A session whose
    /// policy is not there any more has the [default policy](Self::default_policy).
    pub fn policy(mut self, name: impl AsRef<str>, policy: SessionPolicy) -> Self {
        self.policies().set(Some(name.as_ref()), policy);
        self
    }

    /// Sets the policy of sessions without a named one. Default: [`SessionPolicy::new`], the strictest one.
    pub fn default_policy(mut self, policy: SessionPolicy) -> Self {
        self.policies().set(None, policy);
        self
    }

    /// Sets for how long a session stays in memory after it was [presented](Sessions::present). A timer rotates it for that long,
    /// if a browser has presented it since its pair was requested. Default: 5 min.
    pub fn kept_for(mut self, span: Duration) -> Self {
        self.policies().kept_for = span;
        self
    }

    /// Sets how many [pairs of unknown origin](Presented::from) are accepted in a minute from one peer address, or from one /64
    /// network of IPv6. Each of them may cost a call of the token endpoint. Default: 10.
    pub fn unknown_pairs(mut self, a_minute: u32) -> Self {
        self.policies().unknown_pairs = a_minute;
        self
    }
}

/// The future of [`Sessions::sign_in`].
///
/// A future that is dropped before it is ready does not stop the call: the pair may be stored, and alive, under an id that the
/// caller does not have.
#[must_use = "the user is signed in when this was awaited"]
#[derive(Debug)]
pub struct SignIn {
    sessions: Sessions,
    pair: TokenPair,
    policy: Option<Arc<str>>,
    upstream: Option<Upstream>,
}

impl SignIn {
    /// Sets the policy of the session, by the name that [`Builder::policy`] gave to it.
    pub fn policy(mut self, name: impl AsRef<str>) -> Self {
        self.policy = Some(name.as_ref().into());
        self
    }

    /// Names the session and the user of the OpenID provider that the sign-in is of: the claims `sid` and `sub` of the ID token.
    /// [`Sessions::end_where`] finds the session by them. The record has their digests, which rotations keep and a later
    /// [`TokenManager::replace`] removes.
    ///
    /// ```no_run
    /// # async fn sign_in(sessions: evertoken::Sessions, pair: evertoken::TokenPair) -> Result<(), evertoken::Error> {
    /// let id = sessions.sign_in(pair).upstream("08a5019c", "248289761001").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upstream<'a>(
        mut self,
        sid: impl Into<Option<&'a str>>,
        subject: impl Into<Option<&'a str>>,
    ) -> Self {
        self.upstream = Upstream::from_claims(sid, subject);
        self
    }
}

impl IntoFuture for SignIn {
    type Output = Result<SessionId, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            sessions,
            pair,
            policy,
            upstream,
        } = self;
        Box::pin(async move {
            sessions.check_policy(policy.as_deref())?;
            let id = SessionId::random(policy).map_err(no_random)?;
            let upstream = upstream.and_then(|upstream| upstream.marks(&sessions.key()));
            sessions.open(&id).replace_with(pair, upstream).await?;
            Ok(id)
        })
    }
}
