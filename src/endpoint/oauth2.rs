//! The token endpoint of RFC 6749. It sends a grant once, and never again: it follows no redirect,
//! retries nothing and does not try another client authentication when one is refused.
//!
//! All of that is for one reason: a refresh token that arrives twice can cost the whole session. So
//! each exchange has a connection of its own (a kept one that the server is about to close loses
//! answers), the HTTP client is always built here, and the answer is read leniently, because the
//! token that was sent for it is spent.

mod answer;
mod classify;
mod client_auth;
mod codes;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod sign_in;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use url::Url;
use zeroize::Zeroizing;

use self::client_auth::Client;
pub use self::client_auth::ClientAuth;
pub use self::codes::{Bare400, Codes};
use self::sign_in::SignIn;
use super::redact::Secrets;
use super::transport::{self, Reply};
use super::{EndpointError, Grant, Issued, SendWindow, ServerProfile, TokenEndpoint};
use crate::error::BuildError;
use crate::origin::private_url;
use crate::token::{Digest, Key, Scope, TokenPair};

/// An OAuth2 token endpoint.
///
/// ```no_run
/// use std::time::Duration;
///
/// use evertoken::{OAuth2, OldPair, ServerProfile};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = OAuth2::new("https://id.example.org/token", "importer")?
///     .client_secret(std::env::var("IMPORTER_SECRET")?)
///     .timeout(Duration::from_secs(10))
///     .profile(ServerProfile::strict().old_pair(OldPair::AccessDiesAtRotation))
///     .revocation_url("https://id.example.org/revoke")?;
/// # Ok(())
/// # }
/// ```
///
/// # What an answer means
///
/// | answer | [`EndpointError`] |
/// |---|---|
/// | an error code that calls the refresh token dead: `invalid_grant`, `bad_refresh_token` (GitHub), `invalid_refresh_token` (Slack), `invalid_code` (Zoho), `BAD_REFRESH_TOKEN` (HubSpot), `refresh_token_reused` and `refresh_token_invalidated` (OpenAI), `refresh_token_not_found` and `refresh_token_already_used` (Supabase), `RefreshToken.invalid` (Strava: the `resource` and the `code`), `ERR12029` (light-oauth2) | `Rejected` |
/// | 429, 425; `temporarily_unavailable`, `slow_down` or `too_many_attempts` at any status; `server_error`, `unknown_error` (Salesforce) or `internal_failure` (Google) below 500 | `Later` |
/// | `interaction_required`, `consent_required`, `login_required`, `account_selection_required` | `UserNeeded` |
/// | any other error code at 4xx, or at 200 as GitHub has it | `Refused` |
/// | 3xx, or 4xx without an error code | `Page` |
/// | 408, 502, 503, 504 | `Unavailable` |
/// | anything else: a 500, a success that cannot be read, no answer | `Unknown` |
///
/// An error code is the `error` of a JSON object or of a form. One that only repeats the name of the status
/// (`"error": "Not Found"`) is none: frameworks and gateways write that. Below 500 a code also counts beside it, in `code`,
/// `error_code`, `errorCode`, `ErrorCode`, `errorcode`, `errcode`, `error_type`, `errorType` and a textual `status`, if it is
/// known or was [added](Self::codes); and where there is no `error`, in an object under `error`, `errors`, `fault`, `detail`
/// or `data`, two levels down at most, there also with the object's `resource` and a full stop before it. What a server says
/// with codes of its own, [`codes`](Self::codes) adds.
///
/// A pair is found in the answer's JSON object or form, in an object one level down (Slack's `authed_user`), behind a notice
/// that stands before the object, and in an answer that came compressed with gzip or deflate. Lifetimes beyond ten years
/// count as unknown.
pub struct OAuth2 {
    token_url: Url,
    revocation_url: Option<Url>,
    client: Client,
    scope: Scope,
    sign_in: Option<SignIn>,
    timeout: Duration,
    profile: ServerProfile,
    body_limit: usize,
    codes: Codes,
    user_agent: Option<HeaderValue>,
    http: reqwest::Client,
}

impl OAuth2 {
    /// The least and the most of [`body_limit`](Self::body_limit).
    pub(crate) const BODY_LIMITS: (usize, usize) =
        (transport::BODY_LIMIT, transport::BODY_LIMIT_MOST);

    /// The token endpoint at `token_url`, for a public client until a secret is given. Reads the
    /// system's CA certificates, and connects to nothing.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] unless the URL is an `https` one, or an `http` one to loopback, without
    /// a user name or password. [`BuildError::Client`] if TLS cannot be set up: on Linux a system
    /// without CA certificates needs the environment variable `SSL_CERT_FILE`.
    pub fn new(
        token_url: impl AsRef<str>,
        client_id: impl Into<String>,
    ) -> Result<Self, BuildError> {
        Self::with_http(token_url, client_id, transport::builder())
    }

    /// As [`new`](Self::new) and [`http`](Self::http), without the client that `new` builds: a system may
    /// have no certificates but those that `builder` brings.
    pub(crate) fn with_http(
        token_url: impl AsRef<str>,
        client_id: impl Into<String>,
        builder: reqwest::ClientBuilder,
    ) -> Result<Self, BuildError> {
        let token_url = private_url("token_url", token_url.as_ref())?;
        let http = transport::client(builder, &token_url)?;
        Ok(Self {
            token_url,
            revocation_url: None,
            client: Client::public(client_id.into()),
            scope: Scope::default(),
            sign_in: None,
            timeout: Duration::from_secs(30),
            profile: ServerProfile::strict(),
            body_limit: transport::BODY_LIMIT,
            codes: Codes::default(),
            user_agent: None,
            http,
        })
    }

    /// The client's secret. Unless [`client_auth`](Self::client_auth) says otherwise, it is sent as
    /// [`ClientAuth::Basic`].
    #[must_use]
    pub fn client_secret(mut self, secret: impl Into<String>) -> Self {
        self.client.secret = Some(Zeroizing::new(secret.into()));
        self
    }

    /// How the client proves who it is. Default: [`ClientAuth::Basic`] with a secret,
    /// [`ClientAuth::None`] without.
    #[must_use]
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.client.auth = Some(auth);
        self
    }

    /// Signs in as the client itself (RFC 6749 section 4.4) where there is no session, or it has ended.
    /// Default: no; then a first pair has to be given.
    #[must_use]
    pub fn sign_in_as_client(mut self) -> Self {
        self.sign_in = Some(SignIn::Client);
        self
    }

    /// Signs in with a user's password (RFC 6749 section 4.3, which RFC 9700 advises against, and which
    /// some systems have nothing else than) where there is no session, or it has ended. A password that
    /// is refused is not tried again by itself.
    #[must_use]
    pub fn sign_in_with_password(
        mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.sign_in = Some(SignIn::password(username.into(), password.into()));
        self
    }

    /// What to ask for at each sign-in and refresh. Default: nothing, which is what the server grants by
    /// itself.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.scope = scope.into();
        self
    }

    /// The longest an exchange may take, from connecting to having read the answer. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is known of the server. Default: [`ServerProfile::strict`].
    #[must_use]
    pub fn profile(mut self, profile: ServerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// How many bytes are read of an answer: 64 KiB, the default, to 16 MiB. A longer answer is cut off
    /// there, and its tokens are lost.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        let (least, most) = Self::BODY_LIMITS;
        self.body_limit = bytes.clamp(least, most);
        self
    }

    /// What this server means by error codes of its own. Default: only those that are [known](Self#what-an-answer-means)
    /// mean something.
    #[must_use]
    pub fn codes(mut self, codes: Codes) -> Self {
        self.codes = codes;
        self
    }

    /// What is sent as `User-Agent`, for servers and firewalls that let only known clients in. Default: `evertoken/`
    /// and the version of this crate, or what the builder given to [`http`](Self::http) sends.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] if no header can hold it.
    pub fn user_agent(mut self, agent: impl AsRef<str>) -> Result<Self, BuildError> {
        let agent = HeaderValue::from_str(agent.as_ref());
        let agent = agent.ok().filter(|agent| !agent.is_empty());
        let problem = "must be visible ASCII, and not empty";
        self.user_agent = Some(agent.ok_or_else(|| BuildError::invalid("user_agent", problem))?);
        Ok(self)
    }

    /// Builds the HTTP client from `builder`, for proxies, certificates, name resolution and the
    /// like. Redirects, retries, kept connections and decompression are switched off in any case, and
    /// so are proxies if the token URL is a plain `http` one: the token would leave the machine. The builder's `User-Agent`
    /// is sent, if it has one.
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if the client cannot be built.
    pub fn http(mut self, builder: reqwest::ClientBuilder) -> Result<Self, BuildError> {
        self.http = transport::client(builder, &self.token_url)?;
        Ok(self)
    }

    /// Where tokens are revoked (RFC 7009). Default: nowhere, a logout is then a local one.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] as in [`new`](Self::new), and if the token URL is `https` and this one
    /// is not.
    pub fn revocation_url(mut self, url: impl AsRef<str>) -> Result<Self, BuildError> {
        let url = private_url("revocation_url", url.as_ref())?;
        // The proxies of an `https` client would see what is sent to loopback by `http`.
        if self.token_url.scheme() == "https" && url.scheme() != "https" {
            return Err(BuildError::invalid(
                "revocation_url",
                "must be `https`, as the token URL is",
            ));
        }
        self.revocation_url = Some(url);
        Ok(self)
    }

    async fn post(
        &self,
        url: &Url,
        token: &str,
        fields: &[(&str, &str)],
        window: Option<&SendWindow>,
    ) -> Result<(Reply, Secrets), EndpointError> {
        let request = self.client.authorize(self.http.post(url.clone())).build();
        let mut request = request.map_err(EndpointError::from_reqwest)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form_encoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_encoded);
        if let Some(agent) = &self.user_agent {
            headers.insert(USER_AGENT, agent.clone());
        }
        let secrets = Secrets::new([token, self.client.secret()], request.headers());
        let form = self.client.form(fields);
        let (http, timeout, limit) = (&self.http, self.timeout, self.body_limit);
        let reply = transport::send(http, request, form, window, timeout, limit).await?;
        Ok((reply, secrets))
    }
}

#[async_trait]
impl TokenEndpoint for OAuth2 {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let scope = self.scope.to_string();
        let (mut fields, secret, window) = match grant {
            Grant::Refresh { token, window } => {
                let fields = vec![
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token.expose()),
                ];
                (fields, token.expose(), window)
            }
            Grant::SignIn { window } => {
                let Some(sign_in) = &self.sign_in else {
                    let why = "this endpoint has nothing to sign in with";
                    return Err(EndpointError::refused_here("unsupported", why));
                };
                (sign_in.fields(), sign_in.secret(), window)
            }
        };
        if !self.scope.is_empty() {
            fields.push(("scope", &scope));
        }
        let (reply, secrets) = self
            .post(&self.token_url, secret, &fields, Some(window))
            .await?;
        classify::exchange(reply, &self.codes, secrets)
    }

    fn can_sign_in(&self) -> bool {
        self.sign_in.is_some()
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let Some(url) = &self.revocation_url else {
            let why = "there is no revocation URL";
            return Err(EndpointError::refused_here("unsupported", why));
        };
        let (token, hint) = match (&pair.refresh, &pair.access) {
            (Some(refresh), _) => (refresh.expose(), "refresh_token"),
            (None, Some(access)) => (access.expose(), "access_token"),
            (None, None) => return Ok(()),
        };
        let fields = [("token", token), ("token_type_hint", hint)];
        let (reply, secrets) = self.post(url, token, &fields, None).await?;
        classify::revocation(reply, &self.codes, secrets)
    }

    fn profile(&self) -> ServerProfile {
        self.profile
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn key(&self) -> Key {
        let mut issuer = self.token_url.clone();
        // A query may hold a credential, and a key is printed.
        if let Some(query) = self.token_url.query() {
            issuer.set_query(Some(&Digest::of(query).to_string()));
        }
        let key = Key::new(issuer, &self.client.id).scope(self.scope.clone());
        match self.sign_in.as_ref().and_then(SignIn::username) {
            Some(username) => key.subject(username),
            None => key,
        }
    }
}

/// What an endpoint makes of an answer, for one that gets its answers in another way.
pub(super) fn judge(
    reply: Reply,
    codes: &Codes,
    secrets: Secrets,
) -> Result<Issued, EndpointError> {
    classify::exchange(reply, codes, secrets)
}

/// The same of an answer that never was one of HTTP.
#[cfg(feature = "testing")]
pub(crate) fn judge_testing(
    status: http::StatusCode,
    body: String,
    retry_after: Option<Duration>,
) -> Result<Issued, EndpointError> {
    let body = Zeroizing::new(body.into_bytes());
    let mut reply = Reply::new(status, http::HeaderMap::new(), body, None, Duration::ZERO);
    reply.retry_after = retry_after;
    judge(reply, &Codes::default(), Secrets::default())
}

/// Without the secret, and without the parts of a URL and of an HTTP client that may hold others.
impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("origin", &self.token_url.origin().ascii_serialization())
            .field("path", &self.token_url.path())
            .field("client_id", &self.client.id)
            .field("client_auth", &self.client.auth())
            .field("scope", &self.scope)
            .field("sign_in", &self.sign_in)
            .field("timeout", &self.timeout)
            .field("profile", &self.profile)
            .field("body_limit", &self.body_limit)
            .field("codes", &self.codes)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_does_not_get_to_see_a_revocation_by_plain_http() -> Result<(), BuildError> {
        let endpoint = || OAuth2::new("https://id.example.org/token", "importer");
        assert!(
            endpoint()?
                .revocation_url("http://localhost/revoke")
                .is_err()
        );
        assert!(
            endpoint()?
                .revocation_url("https://id.example.org/r")
                .is_ok()
        );
        Ok(())
    }

    #[test]
    fn the_key_is_who_issues_to_whom_and_for_what() -> Result<(), BuildError> {
        let endpoint = OAuth2::new("https://ID.example.org/token", "importer")?.scope("b a");
        let key = Key::new("https://id.example.org/token", "importer").scope("a b");
        assert_eq!(endpoint.key(), key);
        Ok(())
    }
}
