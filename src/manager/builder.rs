use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderName;

use super::TokenManager;
use super::user::taken_over;
use crate::api::{Api, ApiProfile, Channel};
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
use crate::endpoint::TokenEndpoint;
use crate::origin::Origins;
use crate::record::lease::Owner;
use crate::session::{Gate, Group, Live, OnRotated, Policies, Session, Shared};
use crate::settings::{
    CoolDown, Coordination, OnSeedConflict, OnStoreFailure, Persistence, Settings, settings,
};
use crate::state::Seed;
use crate::store::{MemoryStore, TokenStore};
use crate::strategy::RefreshStrategy;
use crate::token::{Key, TokenPair};
use crate::user_code::{Moment, UserClock, UserEndpoint, UserStore, UserStrategy, caught};

/// The system's clock ticks at least once within this time.
const LEAST_TICK: Duration = Duration::from_micros(1);

/// Builds a [`TokenManager`], or [`Sessions`](crate::Sessions) with the same settings. Before `build`, nothing is checked, read or
/// started.
#[derive(Debug)]
#[must_use]
pub struct Builder<T = TokenManager> {
    builds: PhantomData<fn() -> T>,
    endpoint: UserEndpoint,
    store: Option<Arc<dyn TokenStore>>,
    strategy: UserStrategy,
    clock: Option<Arc<dyn Clock>>,
    key: Option<Key>,
    seed: Option<TokenPair>,
    settings: Settings,
    origins: Vec<String>,
    api: ApiProfile,
    channel: Option<Channel>,
    on_rotated: Option<OnRotated>,
    /// What only many sessions have.
    policies: Policies,
    /// An error of the endpoint's own settings, which `build` returns.
    panicked: Option<&'static str>,
}

impl<T> Builder<T> {
    pub(crate) fn new(endpoint: Arc<dyn TokenEndpoint>) -> Self {
        let endpoint = UserEndpoint::new(endpoint);
        let (server, timeout) = (endpoint.profile(), endpoint.timeout());
        let panicked = match (&server, &timeout) {
            (None, _) => Some("TokenEndpoint::profile"),
            (_, None) => Some("TokenEndpoint::timeout"),
            _ => None,
        };
        let settings = Settings::new(server.unwrap_or_default(), timeout.unwrap_or_default());
        Self {
            builds: PhantomData,
            endpoint,
            store: None,
            strategy: UserStrategy::on_request(),
            clock: None,
            key: None,
            seed: None,
            settings,
            origins: Vec::new(),
            api: ApiProfile::default(),
            channel: None,
            on_rotated: None,
            policies: Policies::default(),
            panicked,
        }
    }

    /// Sets the strategy, which decides when to rotate. Default: [`OnRequest`](crate::OnRequest).
    pub fn strategy(mut self, strategy: impl RefreshStrategy) -> Self {
        self.strategy = UserStrategy::new(Arc::new(strategy));
        self
    }

    /// Sets the store that keeps the pair. Default: a [`MemoryStore`] of what is built.
    pub fn store(mut self, store: impl TokenStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Adds an origin (`https://host[:port]`) that [`send`](TokenManager::send) may give tokens to.
    /// Default: none. Plain `http` is allowed to loopback only.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Sets how the API behaves. Default: a 401 rejects the token, and a request of an idempotent method that is answered
    /// 503 with `Retry-After` is sent once more.
    pub fn api(mut self, profile: ApiProfile) -> Self {
        self.api = profile;
        self
    }

    /// Sets the header that carries the token. The value is the token alone, and in `Authorization` the token after
    /// `Bearer`. Default: `Authorization: Bearer`, or what the [profile](Self::api) of the API says. A header other than
    /// `Authorization` is sent only through [`TokenManager::client`].
    pub fn header(mut self, name: HeaderName) -> Self {
        self.channel = Some(Channel::Header(name));
        self
    }

    /// Sets the name of a cookie that carries the token, in place of a header.
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.channel = Some(Channel::Cookie(name.into().into()));
        self
    }

    /// Sets how long one call of the store may take. Default: 5 s.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.settings.store_timeout = timeout;
        self
    }

    /// Sets what the manager does with a [seed](Builder::seed) that the store does not know, where another session goes on
    /// under its key. Default: [`OnSeedConflict::Error`], which costs neither session.
    pub fn on_seed_conflict(mut self, policy: OnSeedConflict) -> Self {
        self.settings.on_seed_conflict = policy;
        self
    }

    /// Sets the clock that the manager reads. Default: [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// A setting that is refused, with the problem.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let channel = self.channel.as_ref().and_then(Channel::problem);
        let channel = channel.map(|problem| ("cookie", problem.to_owned()));
        let policies = self.policies.problem();
        self.settings.problem().or(channel).or(policies)
    }

    pub(crate) fn policies(&mut self) -> &mut Policies {
        &mut self.policies
    }

    pub(crate) fn with_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    pub(crate) fn with_seed(mut self, pair: TokenPair) -> Self {
        self.seed = Some(pair);
        self
    }

    pub(crate) fn with_on_rotated(mut self, callback: OnRotated) -> Self {
        self.on_rotated = Some(callback);
        self
    }

    pub(crate) fn with_exchanges_at_once(mut self, limit: usize) -> Self {
        self.settings.exchanges_at_once = limit;
        self
    }

    /// Checks the settings, and makes what sessions share, the key and the first pair. `live` has the sessions in memory where
    /// there may be many.
    fn parts(self, live: Option<Arc<Live>>) -> Result<Parts, BuildError> {
        if let Some(name) = self.panicked {
            return Err(BuildError::Panicked { name });
        }
        if let Some((name, problem)) = self.problem() {
            return Err(BuildError::invalid(name, problem));
        }
        let origins = Origins::parse(&self.origins)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        // Without a timer every wait would panic, and tokio has no other way to ask for one.
        if caught("tokio::time::sleep", || tokio::time::sleep(Duration::ZERO)).is_none() {
            return Err(BuildError::NoTimer);
        }
        if self.clock.is_none() && is_paused() {
            return Err(BuildError::PausedTime);
        }
        let owner = Owner::random().map_err(|_| BuildError::NoRandomness)?;
        let panicked = |name| BuildError::Panicked { name };
        let clock = UserClock::of(self.clock);
        let Moment { now, wall, .. } = clock.first_moment().map_err(panicked)?;
        let first = match self.seed {
            Some(pair) => Some(pair),
            None => self
                .endpoint
                .first_pair()
                .ok_or(panicked("TokenEndpoint::first_pair"))?,
        };
        let is_default = self.channel.is_none() && self.api == ApiProfile::default();
        let api = match is_default && origins.is_empty() {
            true => Api::none(),
            false => Arc::new(Api::new(origins, self.api, self.channel)),
        };
        let prefix = api.channel.prefix();
        let seed = first.map(|pair| Arc::new(Seed::new(taken_over(pair, &prefix, wall), now)));
        let store = self
            .store
            .unwrap_or_else(|| Arc::new(MemoryStore::sharing(clock.clone())));
        let key = match self.key {
            Some(key) => key,
            None => self.endpoint.key().ok_or(panicked("TokenEndpoint::key"))?,
        };
        let gate = live
            .as_ref()
            .map(|_| Gate::new(self.settings.exchanges_at_once));
        let shared = Shared {
            endpoint: self.endpoint,
            store: UserStore::new(store, self.settings.store_timeout),
            strategy: self.strategy,
            clock,
            settings: self.settings.shared(),
            on_rotated: self.on_rotated,
            prefix,
            api,
            runtime,
            owner,
            live,
            gate,
            timer: OnceLock::new(),
        };
        let shared = Arc::new(shared);
        Ok(Parts { shared, key, seed })
    }

    /// The sessions of many keys.
    pub(crate) fn group(mut self) -> Result<Arc<Group>, BuildError> {
        let live = Arc::<Live>::default();
        if let Some((name, problem)) = self.problem() {
            return Err(BuildError::invalid(name, problem));
        }
        let policies = std::mem::take(&mut self.policies);
        let Parts { shared, key, seed } = self.parts(Some(Arc::clone(&live)))?;
        Ok(Group::new(shared, live, key, seed, policies))
    }
}

/// What a builder makes of its settings.
struct Parts {
    shared: Arc<Shared>,
    key: Key,
    seed: Option<Arc<Seed>>,
}

/// What only a manager of one session has.
impl Builder {
    /// Sets the first pair of the session. The pair counts only if the store does not know the pair yet: after a restart,
    /// the pair that was rotated from it wins. Its times count from now. A pair that the store does not know begins a
    /// session where there is none under the key, or one that has ended. Where another session goes on under the key,
    /// [`on_seed_conflict`](Self::on_seed_conflict) decides.
    pub fn seed(self, pair: TokenPair) -> Self {
        self.with_seed(pair)
    }

    /// Sets the key of the session. Default: what the endpoint knows, which does not include the user unless the endpoint
    /// signs a user in. Where pairs of several users are seeded on one store, give each a [`Key::subject`] or a
    /// [`Key::label`].
    pub fn key(self, key: Key) -> Self {
        self.with_key(key)
    }

    /// Sets a callback for each pair that the server issues to this manager, for programs that keep pairs elsewhere too.
    /// The callback is called after the pair is stored (or could not be stored, under [`OnStoreFailure::Serve`]) and
    /// before a caller gets the token. Callers wait for it, up to the [store's timeout](Self::store_timeout). A panic or
    /// a timeout of the callback is logged, and the pair is served all the same. The callback must not ask this manager
    /// for a token.
    pub fn on_rotated<F>(self, callback: impl Fn(TokenPair) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.with_on_rotated(OnRotated::new(move |_, pair| callback(pair)))
    }

    /// Checks the settings and builds the manager, on the tokio runtime in which this is called: all rotations run there,
    /// whichever runtime a caller is on. This call does no I/O; the first use of the manager loads the session.
    ///
    /// That runtime has to outlive the use of the manager. Once it has shut down, a token that is still valid is served, and
    /// every other call fails with [`Error::RuntimeGone`](crate::Error::RuntimeGone). A process that forks (`fork(2)` without
    /// `exec`) after `build()` is not supported: the child has no threads to run rotations, and both processes would hold
    /// leases under one owner's name.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if settings contradict each other, if there is no runtime, if the runtime has no timer, or if its time is
    /// paused while the system's clock goes on.
    pub fn build(self) -> Result<TokenManager, BuildError> {
        let Parts { shared, key, seed } = self.parts(None)?;
        let session = Session::new(shared, key, seed, true, None);
        Ok(TokenManager::new(session, None))
    }

    /// Builds the same manager as one of [`Sessions`](crate::Sessions), with the seed and the key of this builder, for tests that
    /// hold for both.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn build_among_sessions(self) -> Result<TokenManager, BuildError> {
        let group = self.group()?;
        let session = group.session(group.key.clone(), true, None);
        Ok(TokenManager::new(session, Some(group)))
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty [$key:ty] = $default:expr;)*) => {
        /// The settings, which are listed in `src/settings.rs`.
        impl<T> Builder<T> {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $name: $kind) -> Self {
                    self.settings.$name = $name;
                    self
                }
            )*
        }
    };
}
settings!(setters);

/// Whether tokio's time stands still, as in tests with `start_paused`, which tokio does not report.
fn is_paused() -> bool {
    // In this order the last reading is later than the first by a tick at least, unless time stands still.
    let frozen = tokio::time::Instant::now();
    let began = SystemClock.now();
    // On some systems the clock ticks more slowly than two calls follow on each other.
    while SystemClock.now().since(began) < LEAST_TICK {
        std::hint::spin_loop();
    }
    tokio::time::Instant::now() == frozen
}
