//! FOLIO's login service: mod-login behind Okapi, mod-login-keycloak in Eureka.
//!
//! The service differs from OAuth2 in everything that goes over the wire, but not in the rules for a token: a refresh token
//! is good for one use, a lost answer may have spent it, and a request with it leaves once and in time.

mod answer;
mod request;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;

#[cfg(any(test, fuzzing))]
pub(super) use self::answer::{cookie, exchange, logout};
pub(crate) use self::request::Mode;
use self::request::Site;
#[cfg(any(test, fuzzing))]
pub(super) use self::request::{ACCESS_COOKIE, REFRESH_COOKIE, cookie_header};
use super::quote::{Hidden, Secrets};
#[cfg(feature = "testing")]
use super::transport::InProcess;
use super::transport::{self, HttpSettings, Outgoing, Way};
use super::{EndpointError, Grant, Issued, Resend, SendWindow, ServerProfile, TokenEndpoint};
use crate::build_error::BuildError;
use crate::token::{AccessToken, Key, TokenPair};

/// FOLIO's login service for one tenant.
///
/// ```no_run
/// use evertoken::{ApiProfile, BackgroundTimer, Folio, TokenManager};
///
/// # async fn import() -> Result<(), Box<dyn std::error::Error>> {
/// let folio = Folio::okapi("https://folio.example.org/okapi", "diku")?
///     .sign_in_with_password("importer", std::env::var("IMPORTER_PASSWORD")?);
/// let tokens = TokenManager::builder(folio)
///     .strategy(BackgroundTimer::default())
///     .origin("https://folio.example.org")
///     .api(ApiProfile::okapi())
///     .build()?;
/// let mut headers = reqwest::header::HeaderMap::new();
/// headers.insert("x-okapi-tenant", "diku".parse()?);
/// let http = tokens.client(|| reqwest::Client::builder().default_headers(headers.clone()))?;
/// let url = "https://folio.example.org/okapi/instance-storage/instances";
/// http.send(http.http().get(url)).await?.error_for_status()?;
/// # Ok(())
/// # }
/// ```
///
/// # Whose session
///
/// A job needs its own session:
///
/// - **Its own sign-in** ([`sign_in_with_password`](Self::sign_in_with_password)), with an account that only the job uses,
///   is the recommended form. Such a session does not depend on other sessions; only a logout everywhere ends it, and then
///   the endpoint signs in anew.
/// - **A pair from a user**: [`seed`](crate::Builder::seed) the pair into a store that lives on, under a
///   [key](crate::Builder::key) that names the user, and [`rotate`](crate::TokenManager::rotate) at once. From then on *no
///   other program may use the pair*. The user's browser holds the other copy. If the browser refreshes by its own timer,
///   Okapi treats that as a theft, and revokes every refresh token of the user, the job's new one too: the browser gets a
///   422, and the job gets a 422 at its next rotation. In Eureka the session ends likewise, and also ends when the user
///   logs out.
/// - **A token without an expiry**, of a tenant that still has such tokens: a [`StaticToken`](crate::StaticToken), or the
///   job's own sign-in, which falls back to such tokens.
///
/// For a seed with an unknown expiry, use the values of FOLIO's own user interface:
/// [`ACCESS_IF_UNKNOWN`](Self::ACCESS_IF_UNKNOWN) and [`REFRESH_IF_UNKNOWN`](Self::REFRESH_IF_UNKNOWN). A seed without an
/// access token rotates at the first request. A seed from Eureka belongs to an
/// [absolute](crate::RefreshExpiry::Absolute) session.
///
/// # What an answer means
///
/// | answer | [`EndpointError`] |
/// |---|---|
/// | 422 | `Rejected`: the session ends, and the error quotes the server's code and message |
/// | any other 4xx with an error code of the login service or of Eureka's sidecar | `Refused` |
/// | 3xx, or 4xx without such a code: a text of Okapi, a page of a proxy | `Page` |
/// | 429, 425 | `Later` |
/// | 408, 502, 503, 504 | `Unavailable` |
/// | anything else: a 500, a success without tokens, no answer | `Unknown` |
///
/// FOLIO answers with a 422 for a token that is expired, used or revoked, and also for a failure of the authorization
/// server; the answer does not distinguish the two. A refused token must not be sent again to find out: in Okapi that could
/// end every session of the user.
pub struct Folio {
    site: Site,
    sign_in: Option<SignIn>,
    profile: ServerProfile,
    http: HttpSettings,
}

/// The credentials of a sign-in.
#[derive(Debug)]
enum SignIn {
    Password {
        username: String,
        password: Hidden,
    },
    /// A code, which is good for one use, and the URI to which the sign-in page sent it.
    Code {
        code: Hidden,
        redirect_uri: String,
        is_used: AtomicBool,
    },
}

impl SignIn {
    /// The secret that no error may quote.
    fn secret(&self) -> &str {
        match self {
            Self::Password { password, .. } => password,
            Self::Code { code, .. } => code,
        }
    }

    fn is_usable(&self) -> bool {
        match self {
            Self::Password { .. } => true,
            Self::Code { is_used, .. } => !is_used.load(Ordering::Acquire),
        }
    }
}

/// The kind of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Refresh,
    SignIn,
    /// A sign-in for a token without an expiry.
    LegacyLogin,
}

impl Folio {
    /// The lifetime that FOLIO's user interface assumes for an access token of unknown lifetime: 10 s.
    pub const ACCESS_IF_UNKNOWN: Duration = Duration::from_secs(10);

    /// The lifetime that FOLIO's user interface assumes for a refresh token of unknown lifetime: 10 min.
    pub const REFRESH_IF_UNKNOWN: Duration = Duration::from_secs(600);

    /// The limits of [`body_limit`](Self::body_limit).
    #[cfg(feature = "config")]
    pub(crate) const BODY_LIMITS: (usize, usize) = transport::BODY_LIMITS;

    /// Makes the endpoint of FOLIO behind Okapi. `url` is the URL above its interfaces (the `X-Okapi-Url`, with its
    /// path).
    ///
    /// Each rotation prolongs the session. A refresh token that is sent twice ends *every* session of the user, so the
    /// manager does not send a token again after a 500 or after silence. Without a sign-in, a lost answer then ends the
    /// session when its access token expires. After a page and after a 408, 502, 503 or 504, the manager sends the token
    /// again ([`Resend::WhenUnavailable`]). An access token stays valid until its expiry, also after a logout.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] unless the URL is an `https` one, or an `http` one to loopback, without a user name, a
    /// password or a query, and if the tenant's name cannot be sent. [`BuildError::NoTls`] for an `https` URL if reqwest was
    /// built without TLS, and [`BuildError::Client`] if TLS cannot be set up.
    pub fn okapi(url: impl AsRef<str>, tenant: impl Into<String>) -> Result<Self, BuildError> {
        Self::with_http(Mode::Okapi, url, tenant, transport::http_builder())
    }

    /// Makes the endpoint of FOLIO with Eureka. `url` is the URL of its gateway.
    ///
    /// A session ends a fixed time after its sign-in, however often its pair is rotated. A refresh token that is sent twice
    /// ends only its own session, so the manager sends a token that may be spent again ([`Resend::Always`]): if the token
    /// was spent, the session is already lost. A logout of any client that shares the session ends it too.
    ///
    /// # Errors
    ///
    /// As [`okapi`](Self::okapi).
    pub fn eureka(url: impl AsRef<str>, tenant: impl Into<String>) -> Result<Self, BuildError> {
        Self::with_http(Mode::Eureka, url, tenant, transport::http_builder())
    }

    /// As [`okapi`](Self::okapi) and [`eureka`](Self::eureka), without the client that they build: on a system without CA
    /// certificates only `builder` brings some.
    pub(crate) fn with_http(
        mode: Mode,
        url: impl AsRef<str>,
        tenant: impl Into<String>,
        builder: reqwest::ClientBuilder,
    ) -> Result<Self, BuildError> {
        let site = Site::new(mode, url.as_ref(), tenant.into())?;
        let way = Way::http(builder.http1_only(), &site.url)?;
        Ok(Self::by(site, way))
    }

    /// The login service of a server in this process.
    #[cfg(feature = "testing")]
    pub(crate) fn carried(
        mode: Mode,
        url: impl AsRef<str>,
        tenant: impl Into<String>,
        server: impl InProcess + 'static,
    ) -> Result<Self, BuildError> {
        let site = Site::new(mode, url.as_ref(), tenant.into())?;
        let way = Way::InProcess(std::sync::Arc::new(server));
        Ok(Self::by(site, way))
    }

    fn by(site: Site, way: Way) -> Self {
        Self {
            profile: match site.mode {
                Mode::Okapi => ServerProfile::strict().resend(Resend::WhenUnavailable),
                Mode::Eureka => ServerProfile::strict(),
            },
            site,
            sign_in: None,
            http: HttpSettings::new(way),
        }
    }

    /// Signs in with a user's password if there is no session, or if the session has ended. The endpoint does not retry a
    /// refused password.
    ///
    /// A tenant behind Okapi that has no tokens with an expiry yet issues a token without one. Such a token never expires
    /// and is not rotated.
    #[must_use]
    pub fn sign_in_with_password(
        mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.sign_in = Some(SignIn::Password {
            username: username.into(),
            password: Hidden::new(password),
        });
        self
    }

    /// Signs in once with the code that a browser brought from Eureka's sign-in page to `redirect_uri`.
    ///
    /// The endpoint keeps the code for the next attempt if the server has probably not used it: if nothing was sent, if the
    /// server asked to be called later, or if a gateway or a proxy answered.
    #[must_use]
    pub fn sign_in_with_code(
        mut self,
        code: impl Into<String>,
        redirect_uri: impl Into<String>,
    ) -> Self {
        self.sign_in = Some(SignIn::Code {
            code: Hidden::new(code),
            redirect_uri: redirect_uri.into(),
            is_used: AtomicBool::new(false),
        });
        self
    }

    /// Sets the longest an exchange may take, from connecting to having read the answer. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// Sets the behaviour of the server. Default: [`ServerProfile::strict`]; behind Okapi with [`Resend::WhenUnavailable`],
    /// because a second use of a spent token ends all sessions of the user. A profile with another [`Resend`] permits that
    /// second use.
    #[must_use]
    pub fn profile(mut self, profile: ServerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// Sets how many bytes are read of an answer, from 64 KiB (the default) to 16 MiB. The body holds no tokens.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.http.limit_body(bytes);
        self
    }

    /// Builds the HTTP client from `builder`, which sets proxies, certificates, name resolution and the `User-Agent`.
    ///
    /// Redirects, retries, kept connections, decompression and HTTP/2 are always off: HTTP/2 writes the head, which holds
    /// the token, before the content. Proxies are off if the URL is a plain `http` one: a proxy would carry the token out of
    /// the machine.
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if the client cannot be built.
    pub fn http(mut self, builder: reqwest::ClientBuilder) -> Result<Self, BuildError> {
        self.http.way = Way::http(builder.http1_only(), &self.site.url)?;
        Ok(self)
    }

    /// Sets headers that every request carries. They must not be among those that the endpoint sets itself.
    #[cfg(feature = "config")]
    pub(crate) fn headers(mut self, headers: http::HeaderMap) -> Self {
        self.http.headers = headers;
        self
    }

    /// Logs the user of this access token out everywhere: every refresh token of the user ends, also those of other jobs.
    /// [`TokenManager::logout`](crate::TokenManager::logout) ends one session only.
    ///
    /// # Errors
    ///
    /// [`EndpointError`]. The call can be repeated.
    pub async fn logout_all(&self, access: &AccessToken) -> Result<(), EndpointError> {
        let request = self.site.logout_all(access)?;
        let secrets = self.secrets(&[access.expose()]);
        let reply = self.http.send(request, None, self.http.deadline()).await?;
        answer::logout(reply, &secrets)
    }

    async fn exchange_by(
        &self,
        request: Outgoing,
        window: &SendWindow,
        asked: Asked,
        token: &str,
    ) -> Result<Issued, EndpointError> {
        let deadline = self.http.deadline();
        let reply = self.http.send(request, Some(window), deadline).await?;
        answer::exchange(reply, self.site.mode, asked, &self.secrets(&[token]))
    }

    /// Signs in with the configured credentials.
    async fn sign_in(&self, window: &SendWindow) -> Result<Issued, EndpointError> {
        let (code, redirect_uri, is_used) = match &self.sign_in {
            None => return Err(EndpointError::no_credentials()),
            Some(SignIn::Password { username, password }) => {
                return self.log_in(username, password, window).await;
            }
            Some(SignIn::Code {
                code,
                redirect_uri,
                is_used,
            }) => (code, redirect_uri, is_used),
        };
        // This refusal leaves the code usable.
        if self.site.mode == Mode::Okapi {
            let why =
                "Okapi does not exchange codes; use Folio::eureka, or sign in with a password";
            return Err(EndpointError::refused_here("unsupported", why));
        }
        if is_used.swap(true, Ordering::AcqRel) {
            let why = "the code was used before; get a new one from the sign-in page";
            return Err(EndpointError::refused_here("code_used", why));
        }
        let request = self.site.code(code, redirect_uri)?;
        let issued = self.exchange_by(request, window, Asked::SignIn, "").await;
        // The server has most probably not used the code. To drop the code would lose it for certain.
        if let Err(
            EndpointError::NotSent { .. }
            | EndpointError::Later { .. }
            | EndpointError::Page { .. }
            | EndpointError::Unavailable { .. },
        ) = issued
        {
            is_used.store(false, Ordering::Release);
        }
        issued
    }

    async fn log_in(
        &self,
        username: &str,
        password: &str,
        window: &SendWindow,
    ) -> Result<Issued, EndpointError> {
        let (site, http, window) = (&self.site, &self.http, Some(window));
        let (secrets, deadline) = (self.secrets(&[]), http.deadline());
        let request = site.login("/authn/login-with-expiry", username, password)?;
        let reply = http.send(request, window, deadline).await?;
        if site.mode == Mode::Eureka || reply.status != StatusCode::NOT_FOUND {
            return answer::exchange(reply, site.mode, Asked::SignIn, &secrets);
        }
        // No module has judged the password: this tenant has only tokens without an expiry.
        let request = site.login("/authn/login", username, password)?;
        let reply = http.send(request, window, deadline).await?;
        answer::exchange(reply, site.mode, Asked::LegacyLogin, &secrets)
    }

    /// The secrets that no error may quote: these tokens, and the secret of the sign-in.
    fn secrets(&self, tokens: &[&str]) -> Secrets {
        let mut secrets = Secrets::of(tokens).with_values(&self.http.headers);
        secrets.add(self.sign_in.as_ref().map_or("", SignIn::secret));
        secrets
    }
}

#[async_trait]
impl TokenEndpoint for Folio {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        match grant {
            Grant::Refresh { token, window } => {
                let request = self.site.refresh(token)?;
                self.exchange_by(request, window, Asked::Refresh, token.expose())
                    .await
            }
            Grant::SignIn { window } => self.sign_in(window).await,
        }
    }

    fn can_sign_in(&self) -> bool {
        self.sign_in.as_ref().is_some_and(SignIn::is_usable)
    }

    /// Ends the session of this refresh token at the server, and no other session. The endpoint never sends a request without
    /// a refresh token, because that would end all sessions of the user. An access token stays valid until its expiry.
    ///
    /// Eureka ends a session only for a request with an unexpired access token of that session, so the endpoint sends the
    /// access token of the pair along. Without one, or with an expired one, Eureka answers with a 422, the session lives on
    /// at the server, and the error is [`EndpointError::Unknown`]. Another attempt does no harm.
    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let (token, access) = match (&pair.refresh, &pair.access) {
            // Okapi does not ask for the access token, and would judge it first.
            (Some(token), _) if self.site.mode == Mode::Okapi => (token, None),
            (Some(token), access) => (token, access.as_ref()),
            (None, Some(_)) => {
                let why =
                    "FOLIO cannot revoke an access token; this one stays valid until its expiry";
                return Err(EndpointError::refused_here("unsupported", why));
            }
            (None, None) => return Ok(()),
        };
        let texts = [token.expose(), access.map_or("", AccessToken::expose)];
        let (secrets, deadline) = (self.secrets(&texts), self.http.deadline());
        let access = access.and_then(request::access_header);
        let has_access = access.is_some();
        let request = self.site.logout(token, access)?;
        let mut reply = self.http.send(request, None, deadline).await?;
        if has_access && reply.status == StatusCode::UNAUTHORIZED {
            // The access token has expired, so the service did not read the cookie.
            let request = self.site.logout(token, None)?;
            reply = self.http.send(request, None, deadline).await?;
        }
        answer::logout(reply, &secrets)
    }

    fn profile(&self) -> ServerProfile {
        self.profile
    }

    fn timeout(&self) -> Duration {
        self.http.timeout
    }

    fn key(&self) -> Key {
        let key = Key::new(self.site.base(), "").tenant(&self.site.tenant);
        match &self.sign_in {
            Some(SignIn::Password { username, .. }) => key.subject(username),
            _ => key,
        }
    }
}

/// Shows no password and no code, and no part of a URL or of an HTTP client that may hold one.
impl fmt::Debug for Folio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.site.url;
        f.debug_struct("Folio")
            .field("mode", &self.site.mode)
            .field("origin", &url.origin().ascii_serialization())
            .field("path", &url.path())
            .field("tenant", &self.site.tenant)
            .field("sign_in", &self.sign_in)
            .field("timeout", &self.http.timeout)
            .field("profile", &self.profile)
            .field("body_limit", &self.http.body_limit)
            .finish_non_exhaustive()
    }
}
