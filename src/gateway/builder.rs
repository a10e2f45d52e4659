//! Builds a gateway, and refuses what would sign users out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::content::Envelope;
use super::cookie::{Cookies, SameSite};
use super::request::Page;
use super::{Gateway, Mode, Shared};
use crate::build_error::BuildError;
use crate::endpoint::TokenReuse;
use crate::origin::Origins;
use crate::seal::Sealer;
use crate::session::SessionPolicy;
use crate::sessions::Sessions;
use crate::settings::Coordination;
use crate::token::{Lifetime, Validity};
use crate::user_code::UserStrategy;

/// What answers where a page without a session leads to.
pub(super) type Login = Arc<dyn Fn(&Page<'_>) -> String + Send + Sync>;

/// Builds a [`Gateway`].
#[derive(Clone)]
#[must_use]
pub struct GatewayBuilder {
    sessions: Sessions,
    mode: Mode,
    sealer: Option<Arc<dyn Sealer>>,
    cookie: String,
    same_site: SameSite,
    origins: Vec<String>,
    policy: Option<Arc<str>>,
    login: Option<Login>,
}

impl GatewayBuilder {
    pub(super) fn new(sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            mode: Mode::default(),
            sealer: None,
            cookie: "session".to_owned(),
            same_site: SameSite::default(),
            origins: Vec::new(),
            policy: None,
            login: None,
        }
    }

    /// Sets where pairs are, and how instances share a rotation. Default: [`Mode::Synchronised`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what seals the cookies, [`SealingKeys`](crate::SealingKeys) for example. All instances have the same keys. Required.
    pub fn sealer(mut self, sealer: impl Sealer) -> Self {
        self.sealer = Some(Arc::new(sealer));
        self
    }

    /// Sets the part of the cookies' names that is this gateway's: 1 to 32 letters, digits and underscores. Two gateways of one host
    /// have different ones, also on different ports. Default: `session`.
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.cookie = name.into();
        self
    }

    /// Sets when browsers send the cookies with a request that another site began. Default: [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Adds an origin whose pages may send every request, like `https://app.example.org`. Without any, those of the host that a
    /// request is for may.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Sets the policy of new sessions, by the name that [`Builder::policy`](crate::Builder::policy) gave to it. Default: the
    /// [default policy](crate::Builder::default_policy).
    pub fn policy(mut self, name: impl AsRef<str>) -> Self {
        self.policy = Some(name.as_ref().into());
        self
    }

    /// Sets where a page leads to whose user is signed out: the path or the URL of the login. Every other request gets 401. Default:
    /// pages get 401 too.
    ///
    /// ```no_run
    /// # fn build(gateway: evertoken::gateway::GatewayBuilder) -> evertoken::gateway::GatewayBuilder {
    /// gateway.on_signed_out(|page| format!("/login?to={}", page.return_to()))
    /// # }
    /// ```
    pub fn on_signed_out(
        mut self,
        login: impl Fn(&Page<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.login = Some(Arc::new(login));
        self
    }

    /// Builds the gateway.
    ///
    /// # Errors
    ///
    /// Without a [sealer](Self::sealer); if a name or an origin is invalid; and if the sessions do not suit the [mode](Mode).
    pub fn build(self) -> Result<Gateway, BuildError> {
        let invalid = |name, problem: &str| BuildError::invalid(name, problem);
        let sealer = self.sealer.ok_or_else(|| {
            let problem = "is missing; give the gateway the keys that all its instances have";
            invalid("sealer", problem)
        })?;
        if !Cookies::is_name(&self.cookie) {
            let problem = "must be 1 to 32 letters, digits and underscores";
            return Err(invalid("cookie", problem));
        }
        let policies = &self.sessions.group().policies;
        if let Some(policy) = &self.policy
            && !policies.has(policy)
        {
            return Err(invalid("policy", "is not one of the sessions' policies"));
        }
        let policy = policies.of(self.policy.as_deref());
        check(self.mode, &self.sessions, policy)?;
        let shared = Shared {
            envelope: Envelope::new(sealer, self.sessions.key()),
            cookies: Cookies::new(&self.cookie, self.same_site),
            origins: Origins::parse(&self.origins)?,
            sessions: self.sessions,
            mode: self.mode,
            policy: self.policy,
            login: self.login,
        };
        Ok(Gateway {
            shared: Arc::new(shared),
        })
    }
}

/// Whether the sessions suit the mode.
fn check(mode: Mode, sessions: &Sessions, policy: &SessionPolicy) -> Result<(), BuildError> {
    let invalid = |name, problem: &str| Err(BuildError::invalid(name, problem));
    let shared = &sessions.group().shared;
    let settings = &shared.settings;
    let leases = settings.coordination == Coordination::Lease;
    let reuse = settings.server.reuse;
    match mode {
        Mode::Synchronised | Mode::Opaque if !leases => invalid(
            "mode",
            "needs `coordination` \"lease\": its instances agree by the store on who rotates",
        ),
        Mode::Stateless if leases => invalid(
            "mode",
            "\"stateless\" needs `coordination` \"none\": its instances share no store",
        ),
        Mode::Stateless if reuse == TokenReuse::Revokes => invalid(
            "mode",
            "\"stateless\" is for a server that spares the session when two instances spend one token: set the server's \
             `reuse` to \"refused\" or \"answered\" if that is what the server does, or choose \"synchronised\"",
        ),
        Mode::Grace if reuse != TokenReuse::Answered => invalid(
            "mode",
            "\"grace\" is for a server that answers a token again for some time: set the server's `reuse` to \"answered\" if \
             that is what the server does, or choose \"synchronised\"",
        ),
        Mode::Stateless if !is_early(policy.strategy_or(&shared.strategy)) => invalid(
            "mode",
            "\"stateless\" needs a strategy by which requests rotate while the access token is valid, such as \
             \"optimistic-early\": an instance that comes second goes on with that token",
        ),
        Mode::Synchronised | Mode::Stateless | Mode::Grace if policy.retired_for.is_zero() => {
            invalid(
                "policy",
                "accepts no replaced pair, so each answer that a browser loses signs its user out: set `retired_for`, to 30 s for \
             example",
            )
        }
        _ => Ok(()),
    }
}

/// Whether requests, and no timer, rotate a pair while its access token is valid. A timer's pair would wait on one instance while
/// the browser presents the old one to another.
fn is_early(strategy: &UserStrategy) -> bool {
    /// An ordinary lifetime.
    const SAMPLE: Duration = Duration::from_secs(600);
    let plan = strategy.plan(&Lifetime::new(Validity::Known { total: SAMPLE }));
    let is_before = |age: Option<Duration>| age.is_some_and(|age| age < SAMPLE);
    plan.wake_at.is_none() && (is_before(plan.advisory_from) || is_before(plan.mandatory_from))
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder")
            .field("mode", &self.mode)
            .field("cookie", &self.cookie)
            .field("same_site", &self.same_site)
            .field("origins", &self.origins)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
