//! FOLIO's login service: mod-login in front of Okapi, mod-login-keycloak in Eureka.
//!
//! It differs from OAuth2 in everything that goes over the wire, and in nothing that matters for it: a refresh token is
//! good for one use, an answer that is lost may have cost it, and what it is sent with leaves once and in time.

mod answer;
mod cookies;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(feature = "testing")]
mod in_process;
mod outcome;
mod sign_in;
mod site;
mod wire;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;

#[cfg(feature = "testing")]
pub(crate) use self::in_process::InProcess;
use self::sign_in::SignIn;
pub(crate) use self::site::Mode;
use self::site::Site;
use self::wire::FolioRequest;
use super::redact::Secrets;
use super::transport::{self, Reply};
use super::{EndpointError, Grant, Issued, Resend, SendWindow, ServerProfile, TokenEndpoint};
use crate::clock::{Clock, SystemClock};
use crate::error::BuildError;
use crate::token::{AccessToken, Key, RefreshToken, TokenPair};

/// FOLIO's login service, of one tenant.
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
/// A job needs a session that is its own:
///
/// - **A sign-in of its own** ([`sign_in_with_password`](Self::sign_in_with_password)), to an account that is the job's
///   alone, is the recommended form. It outlives what others do with their sessions; only a logout everywhere ends it,
///   and then the endpoint signs in anew.
/// - **A pair that was handed over**: [`seed`](crate::Builder::seed) it into a store that lives on, under a
///   [key](crate::Builder::key) that says whose it is, and [`rotate`](crate::TokenManager::rotate) at once. From then on
///   *no other program may use it*. If the user's browser, which holds the other copy, refreshes with it
///   by its own timer, Okapi takes that for a theft, and revokes every refresh token of the user, the job's new one too:
///   the browser is refused with a 422, and the job with its next rotation. In Eureka the session ends likewise, and
///   ends in any case when the user logs out.
/// - **A token without an expiry**, of a tenant that still has those: a [`StaticToken`](crate::StaticToken), or a
///   sign-in of one's own, which falls back to them.
///
/// A seed whose expiry is not known is taken as FOLIO's own user interface takes it with
/// [`ACCESS_IF_UNKNOWN`](Self::ACCESS_IF_UNKNOWN) and [`REFRESH_IF_UNKNOWN`](Self::REFRESH_IF_UNKNOWN); a seed without
/// its access token rotates with the first request. One from Eureka belongs to a
/// [absolute](crate::RefreshExpiry::Absolute) session.
///
/// # What an answer means
///
/// | answer | [`EndpointError`] |
/// |---|---|
/// | 422 | `Rejected`: the session ends, and the error holds the server's code and message |
/// | any other 4xx with one of FOLIO's error codes, of the login service or of Eureka's sidecar | `Refused` |
/// | 3xx, or 4xx without such a code: text of Okapi, pages of proxies | `Page` |
/// | 429, 425 | `Later` |
/// | 408, 502, 503, 504 | `Unavailable` |
/// | anything else: a 500, a success without tokens, no answer | `Unknown` |
///
/// FOLIO answers with a 422 for a token that is expired, used or revoked, and for a failure of the authorization server as
/// well, which nothing tells apart; but a token that was refused must not be sent again to find out: in Okapi that could
/// end every session of the user.
pub struct Folio {
    site: Site,
    sign_in: Option<SignIn>,
    timeout: Duration,
    profile: ServerProfile,
    body_limit: usize,
    way: Way,
}

/// How requests get to the service.
enum Way {
    Http(reqwest::Client),
    #[cfg(feature = "testing")]
    InProcess(std::sync::Arc<dyn InProcess>),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Refresh,
    SignIn,
    /// A sign-in to a token without an expiry.
    LegacyLogin,
}

impl Folio {
    /// What FOLIO's user interface takes the lifetime of an access token for that it knows nothing of: 10 s.
    pub const ACCESS_IF_UNKNOWN: Duration = Duration::from_secs(10);

    /// What FOLIO's user interface takes the lifetime of a refresh token for that it knows nothing of: 10 min.
    pub const REFRESH_IF_UNKNOWN: Duration = Duration::from_secs(600);

    /// The least and the most of [`body_limit`](Self::body_limit).
    #[cfg(feature = "config")]
    pub(crate) const BODY_LIMITS: (usize, usize) =
        (transport::BODY_LIMIT, transport::BODY_LIMIT_MOST);

    /// FOLIO behind Okapi, at the URL that its interfaces are below (the `X-Okapi-Url`, with its path).
    ///
    /// A session is prolonged by each rotation. A refresh token that is sent twice ends *every* session of the user, so
    /// one that may be spent is not sent again after a 500 or after silence: without a sign-in of one's own, an answer that
    /// was lost ends the session once its access token has expired. After a page and after a 408, 502, 503 or 504 it is
    /// sent again ([`Resend::WhenUnavailable`]). An access token lives to its expiry, also after a logout.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] unless the URL is an `https` one, or an `http` one to loopback, without a user name, a
    /// password or a query, and if the tenant's name cannot be sent. [`BuildError::Client`] if TLS cannot be set up.
    pub fn okapi(url: impl AsRef<str>, tenant: impl Into<String>) -> Result<Self, BuildError> {
        Self::with_http(Mode::Okapi, url, tenant, transport::builder())
    }

    /// FOLIO with Eureka, at the URL of its gateway.
    ///
    /// A session ends a fixed time after its sign-in, however often it is rotated. A refresh token that is sent twice
    /// ends its own session and no other, so one that may be spent is sent again ([`Resend::Always`]): a session whose
    /// token was spent is lost already. A logout of any client that shares the session ends it, too.
    ///
    /// # Errors
    ///
    /// As [`okapi`](Self::okapi).
    pub fn eureka(url: impl AsRef<str>, tenant: impl Into<String>) -> Result<Self, BuildError> {
        Self::with_http(Mode::Eureka, url, tenant, transport::builder())
    }

    /// Without the client that the others build: a system may have no certificates but those that `builder` brings.
    pub(crate) fn with_http(
        mode: Mode,
        url: impl AsRef<str>,
        tenant: impl Into<String>,
        builder: reqwest::ClientBuilder,
    ) -> Result<Self, BuildError> {
        let site = Site::new(mode, url.as_ref(), tenant.into())?;
        let way = Way::over_http(builder, &site)?;
        Ok(Self::by(site, way))
    }

    /// A service in this process.
    #[cfg(feature = "testing")]
    pub(crate) fn carried(
        mode: Mode,
        url: impl AsRef<str>,
        tenant: impl Into<String>,
        server: impl InProcess + 'static,
    ) -> Result<Self, BuildError> {
        let site = Site::new(mode, url.as_ref(), tenant.into())?;
        Ok(Self::by(site, Way::InProcess(std::sync::Arc::new(server))))
    }

    fn by(site: Site, way: Way) -> Self {
        Self {
            profile: match site.mode {
                Mode::Okapi => ServerProfile::strict().resend(Resend::WhenUnavailable),
                Mode::Eureka => ServerProfile::strict(),
            },
            site,
            sign_in: None,
            timeout: Duration::from_secs(30),
            body_limit: transport::BODY_LIMIT,
            way,
        }
    }

    /// Signs in with a user's password where there is no session, or it has ended. One that is refused is not tried again
    /// by itself.
    ///
    /// A tenant behind Okapi that has no tokens with an expiry yet gives one without: it never expires, and is not
    /// rotated.
    #[must_use]
    pub fn sign_in_with_password(
        mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.sign_in = Some(SignIn::password(username.into(), password.into()));
        self
    }

    /// Signs in, once, with the code that a browser brought back from Eureka's sign-in page to `redirect_uri`. A code that
    /// has not been used, or probably not, is kept for the next time: where nothing was sent, the server asked to be called
    /// later, or something in between answered in its place.
    #[must_use]
    pub fn sign_in_with_code(
        mut self,
        code: impl Into<String>,
        redirect_uri: impl Into<String>,
    ) -> Self {
        self.sign_in = Some(SignIn::code(code.into(), redirect_uri.into()));
        self
    }

    /// The longest an exchange may take, from connecting to having read the answer. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is known of the server. Default: [`ServerProfile::strict`], and behind Okapi with
    /// [`Resend::WhenUnavailable`], because a second use of a token that was spent would end all of the user's sessions:
    /// another profile permits it, unless it says the same.
    #[must_use]
    pub fn profile(mut self, profile: ServerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// How many bytes are read of an answer: 64 KiB, the default, to 16 MiB. The tokens are not in them.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes.clamp(transport::BODY_LIMIT, transport::BODY_LIMIT_MOST);
        self
    }

    /// Builds the HTTP client from `builder`, for proxies, certificates, name resolution and the like. Redirects,
    /// retries, kept connections, decompression and HTTP/2 are switched off in any case, and so are proxies if the URL
    /// is a plain `http` one: the token would leave the machine.
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if the client cannot be built.
    pub fn http(mut self, builder: reqwest::ClientBuilder) -> Result<Self, BuildError> {
        self.way = Way::over_http(builder, &self.site)?;
        Ok(self)
    }

    /// Logs the user of this access token out everywhere: every refresh token of the user ends, those of other jobs
    /// too. Nothing else here does that; [`TokenManager::logout`](crate::TokenManager::logout) ends one session.
    ///
    /// # Errors
    ///
    /// [`EndpointError`]. It can be called again.
    pub async fn logout_all(&self, access: &AccessToken) -> Result<(), EndpointError> {
        let request = wire::logout_all(&self.site, access)?;
        let secrets = self.secrets([access.expose()]);
        let reply = self.send(request, None, self.timeout).await?;
        outcome::logout(reply, &secrets)
    }

    async fn refresh(
        &self,
        token: &RefreshToken,
        window: &SendWindow,
    ) -> Result<Issued, EndpointError> {
        let request = wire::refresh(&self.site, token)?;
        let secrets = self.secrets([token.expose()]);
        let reply = self.send(request, Some(window), self.timeout).await?;
        outcome::exchange(reply, self.site.mode, Asked::Refresh, &secrets)
    }

    async fn log_out(
        &self,
        token: &RefreshToken,
        access: Option<&AccessToken>,
    ) -> Result<(), EndpointError> {
        let texts = [token.expose(), access.map_or("", AccessToken::expose)];
        let secrets = self.secrets(texts);
        let begun = SystemClock.now();
        let access = access.and_then(wire::access_header);
        let has_access = access.is_some();
        let request = wire::logout(&self.site, token, access)?;
        let mut reply = self.send(request, None, self.timeout).await?;
        if has_access && reply.status == StatusCode::UNAUTHORIZED {
            // It has expired, so nobody looked at the cookie.
            let left = self.timeout.saturating_sub(SystemClock.now().since(begun));
            let request = wire::logout(&self.site, token, None)?;
            reply = self.send(request, None, left).await?;
        }
        outcome::logout(reply, &secrets)
    }

    /// What must not come back in an error: these tokens, and what the endpoint signs in with.
    fn secrets<const N: usize>(&self, tokens: [&str; N]) -> Secrets {
        let mut secrets = Secrets::default();
        let own = self.sign_in.as_ref().map_or("", SignIn::secret);
        let texts = tokens.into_iter().chain([own]);
        texts.for_each(|text| secrets.add(text));
        secrets
    }

    async fn send(
        &self,
        request: FolioRequest,
        window: Option<&SendWindow>,
        timeout: Duration,
    ) -> Result<Reply, EndpointError> {
        match &self.way {
            Way::Http(client) => {
                let (head, content) = request.into_parts();
                let request = http::Request::from_parts(head, "").try_into();
                let request = request.map_err(EndpointError::from_reqwest)?;
                transport::send(client, request, content, window, timeout, self.body_limit).await
            }
            #[cfg(feature = "testing")]
            Way::InProcess(server) => {
                in_process::send(server.as_ref(), request, window, timeout).await
            }
        }
    }
}

impl Way {
    fn over_http(builder: reqwest::ClientBuilder, site: &Site) -> Result<Self, BuildError> {
        // The token is in the head. HTTP/2 writes that by itself, whatever becomes of the content.
        transport::client(builder.http1_only(), site.url()).map(Self::Http)
    }
}

#[async_trait]
impl TokenEndpoint for Folio {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        match grant {
            Grant::Refresh { token, window } => self.refresh(token, window).await,
            Grant::SignIn { window } => self.sign_in(window).await,
        }
    }

    fn can_sign_in(&self) -> bool {
        self.sign_in.as_ref().is_some_and(SignIn::is_usable)
    }

    /// Ends the session of this refresh token at the server, and no other: a request without one would end all of the
    /// user's, and is not made. An access token lives to its expiry.
    ///
    /// Eureka ends a session only for one who shows an access token of it that has not expired, so that of the pair is
    /// sent along. Where there is none, or it has expired, Eureka is asked all the same, and answers with a 422: the
    /// session lives on at the server, and the error is [`EndpointError::Unknown`]. To try again does no harm.
    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let Some(token) = &pair.refresh else {
            return match pair.access {
                Some(_) => {
                    let why = "FOLIO revokes no access tokens; this one lives to its expiry";
                    Err(EndpointError::refused_here("unsupported", why))
                }
                None => Ok(()),
            };
        };
        let access = match self.site.mode {
            // It would be judged first, and is not asked for.
            Mode::Okapi => None,
            Mode::Eureka => pair.access.as_ref(),
        };
        self.log_out(token, access).await
    }

    fn profile(&self) -> ServerProfile {
        self.profile
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn key(&self) -> Key {
        let key = Key::new(self.site.base(), "").tenant(&self.site.tenant);
        match &self.sign_in {
            Some(SignIn::Password { username, .. }) => key.subject(username),
            _ => key,
        }
    }
}

/// Without a password or a code, and without the parts of a URL and of an HTTP client that may hold others.
impl fmt::Debug for Folio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.site.url();
        f.debug_struct("Folio")
            .field("mode", &self.site.mode)
            .field("origin", &url.origin().ascii_serialization())
            .field("path", &url.path())
            .field("tenant", &self.site.tenant)
            .field("sign_in", &self.sign_in)
            .field("timeout", &self.timeout)
            .field("profile", &self.profile)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}
