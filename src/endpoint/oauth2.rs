//! The token endpoint of RFC 6749. The endpoint sends a grant once and never again: it follows no redirect, retries
//! nothing, and tries no other client authentication after a refusal.
//!
//! A refresh token that arrives twice can cost the whole session. So each exchange has its own connection (a kept
//! connection that the server is about to close loses answers), and this crate always builds the HTTP client. The answer
//! is read leniently, because the token of the request is spent.

mod answer;
mod classify;
mod codes;
mod response;

use std::fmt;
use std::mem;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{ClientBuilder, Request};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

#[cfg(any(test, fuzzing))]
pub(super) use self::answer::Answer;
#[cfg(feature = "testing")]
pub(crate) use self::classify::judge_testing;
#[cfg(any(test, fuzzing))]
pub(super) use self::classify::{exchange, revocation};
pub use self::codes::{Bare400, Codes};
pub use self::response::ResponseError;
use super::quote::{Hidden, Secrets};
use super::reply::Reply;
use super::transport::{self, HttpSettings, Way, form_encoded, form_room, sensitive_header};
use super::{EndpointError, Grant, Issued, SendWindow, ServerProfile, TokenEndpoint};
use crate::build_error::BuildError;
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
/// | an error code that calls the refresh token dead, such as `invalid_grant` | `Rejected` |
/// | 429, 425; an error code that asks to be called later, such as `slow_down` | `Later` |
/// | an error code that asks for the user, such as `interaction_required` | `UserNeeded` |
/// | any other error code at 4xx, or at 200 as GitHub has it | `Refused` |
/// | 3xx, or 4xx without an error code | `Page` |
/// | 408, 502, 503, 504 | `Unavailable` |
/// | anything else: a 500, a success that cannot be read, no answer | `Unknown` |
///
/// [`Codes`] lists the known codes. An error code is the `error` of a JSON object or of a form. An `error` that only repeats the name of the status
/// (`"error": "Not Found"`) is not an error code: frameworks and gateways write that.
///
/// Below 500 a known or [added](Self::codes) code also counts in `code`, `error_code`, `errorCode`, `ErrorCode`,
/// `errorcode`, `errcode`, `error_type`, `errorType` and a textual `status`. If there is no `error`, such a code also counts
/// in an object under `error`, `errors`, `fault`, `detail` or `data`, at most two levels down, also with the `resource` of
/// the object and a full stop before it. [`codes`](Self::codes) adds a server's own codes.
///
/// A pair is found in the JSON object or the form of the answer, in an object one level down (Slack's `authed_user`), after
/// a notice before the object, and in an answer that is compressed with gzip or deflate. A lifetime of more than ten years
/// counts as unknown.
pub struct OAuth2 {
    token_url: Url,
    revocation_url: Option<Url>,
    client: Client,
    scope: Scope,
    sign_in: Option<SignIn>,
    profile: ServerProfile,
    codes: Codes,
    http: HttpSettings,
}

/// How the client authenticates itself (RFC 6749 section 2.3).
///
/// The endpoint uses one method. If the server refuses that method, the endpoint tries no other: each trial would send the
/// refresh token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClientAuth {
    /// The client sends its id and its secret in an `Authorization: Basic` header, form-encoded.
    #[default]
    Basic,
    /// The client sends its id and its secret in the body of the request.
    Post,
    /// The client sends its id only, as a public client does.
    None,
}

/// The client under which the server knows this program.
struct Client {
    id: String,
    secret: Option<Zeroizing<String>>,
    auth: Option<ClientAuth>,
}

impl Client {
    fn public(id: String) -> Self {
        Self {
            id,
            secret: None,
            auth: None,
        }
    }

    fn auth(&self) -> ClientAuth {
        let default = match self.secret {
            Some(_) => ClientAuth::Basic,
            None => ClientAuth::None,
        };
        self.auth.unwrap_or(default)
    }

    fn secret(&self) -> &str {
        self.secret.as_ref().map_or("", |secret| secret)
    }

    /// The `Authorization` header, if the method uses one.
    fn authorization(&self) -> Option<HeaderValue> {
        if self.auth() != ClientAuth::Basic {
            return None;
        }
        let (id, secret) = (form_encoded(&self.id), form_encoded(self.secret()));
        let mut pair = Zeroizing::new(String::with_capacity(id.len() + 1 + secret.len()));
        for part in [&id, ":", &secret] {
            pair.push_str(part);
        }
        let mut encoded = Zeroizing::new(String::with_capacity(pair.len().div_ceil(3) * 4));
        BASE64_STANDARD.encode_string(pair.as_bytes(), &mut encoded);
        sensitive_header(&[b"Basic ", encoded.as_bytes()])
    }

    /// `fields` and the client's own fields, form-encoded.
    fn form(&self, fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
        let mut fields = fields.to_vec();
        if self.auth() != ClientAuth::Basic {
            fields.push(("client_id", &self.id));
        }
        if self.auth() == ClientAuth::Post && self.secret.is_some() {
            fields.push(("client_secret", self.secret()));
        }
        let room = fields
            .iter()
            .map(|(name, value)| form_room(name, value))
            .sum();
        let mut form = Zeroizing::new(String::with_capacity(room));
        Serializer::new(&mut *form).extend_pairs(fields);
        Zeroizing::new(mem::take(&mut *form).into_bytes())
    }
}

/// The credentials of a sign-in without a browser.
#[derive(Debug)]
enum SignIn {
    /// `client_credentials`: the authentication of the client is all.
    Client,
    /// `password`.
    Password { username: String, password: Hidden },
}

impl SignIn {
    fn fields(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Client => vec![("grant_type", "client_credentials")],
            Self::Password { username, password } => vec![
                ("grant_type", "password"),
                ("username", username),
                ("password", password),
            ],
        }
    }

    /// The secret that no error may quote; empty if there is none.
    fn secret(&self) -> &str {
        match self {
            Self::Client => "",
            Self::Password { password, .. } => password,
        }
    }
}

impl OAuth2 {
    /// The limits of [`body_limit`](Self::body_limit).
    #[cfg(feature = "config")]
    pub(crate) const BODY_LIMITS: (usize, usize) = transport::BODY_LIMITS;

    /// Makes the token endpoint at `token_url`, for a public client until a secret is given. This reads the CA
    /// certificates of the system, and does not connect to a server.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] unless the URL is an `https` one, or an `http` one to loopback, without user name and
    /// password. [`BuildError::NoTls`] for an `https` URL if reqwest was built without TLS. [`BuildError::Client`] if TLS
    /// cannot be set up: a Linux system without CA certificates needs the environment variable `SSL_CERT_FILE`.
    pub fn new(
        token_url: impl AsRef<str>,
        client_id: impl Into<String>,
    ) -> Result<Self, BuildError> {
        Self::with_http(token_url, client_id, transport::http_builder())
    }

    /// As [`new`](Self::new) and [`http`](Self::http), without the client that `new` builds: on a system without CA
    /// certificates only `builder` brings some.
    pub(crate) fn with_http(
        token_url: impl AsRef<str>,
        client_id: impl Into<String>,
        builder: ClientBuilder,
    ) -> Result<Self, BuildError> {
        let token_url = private_url("token_url", token_url.as_ref())?;
        Ok(Self {
            http: HttpSettings::new(Way::http(builder, &token_url)?),
            token_url,
            revocation_url: None,
            client: Client::public(client_id.into()),
            scope: Scope::default(),
            sign_in: None,
            profile: ServerProfile::strict(),
            codes: Codes::default(),
        })
    }

    /// Sets the secret of the client. The secret is sent as [`ClientAuth::Basic`], unless
    /// [`client_auth`](Self::client_auth) sets another method.
    #[must_use]
    pub fn client_secret(mut self, secret: impl Into<String>) -> Self {
        self.client.secret = Some(Zeroizing::new(secret.into()));
        self
    }

    /// Sets how the client authenticates itself. Default: [`ClientAuth::Basic`] with a secret, [`ClientAuth::None`] without
    /// a secret.
    #[must_use]
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.client.auth = Some(auth);
        self
    }

    /// Signs in as the client itself (RFC 6749 section 4.4) if there is no session, or if the session has ended. Default:
    /// no sign-in; the manager then needs a first pair.
    #[must_use]
    pub fn sign_in_as_client(mut self) -> Self {
        self.sign_in = Some(SignIn::Client);
        self
    }

    /// Signs in with a user's password if there is no session, or if the session has ended (RFC 6749 section 4.3; RFC 9700
    /// advises against this grant, but some systems have no other). The endpoint does not retry a refused password.
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

    /// Sets the scope of each sign-in and refresh. Default: none, so that the server decides.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets the longest an exchange may take, from connecting to having read the answer. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// Sets the behaviour of the server. Default: [`ServerProfile::strict`].
    #[must_use]
    pub fn profile(mut self, profile: ServerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// Sets how many bytes are read of an answer, from 64 KiB (the default) to 16 MiB. A longer answer is cut off there, and
    /// its tokens are lost.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.http.limit_body(bytes);
        self
    }

    /// Sets the meaning of this server's own error codes. Default: only the [known](Self#what-an-answer-means) codes have a
    /// meaning.
    #[must_use]
    pub fn codes(mut self, codes: Codes) -> Self {
        self.codes = codes;
        self
    }

    /// Sets the `User-Agent`, for servers and firewalls that admit only known clients. Default: the `User-Agent` of the
    /// builder given to [`http`](Self::http), or else `evertoken/` and the version of this crate.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] if a header cannot hold the text.
    pub fn user_agent(mut self, agent: impl AsRef<str>) -> Result<Self, BuildError> {
        self.http.user_agent = Some(transport::user_agent(agent.as_ref())?);
        Ok(self)
    }

    /// Builds the HTTP client from `builder`, which sets proxies, certificates, name resolution and the `User-Agent`.
    ///
    /// Redirects, retries, kept connections and decompression are always off. Proxies are off if the token URL is a plain
    /// `http` one: a proxy would carry the token out of the machine.
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if the client cannot be built.
    pub fn http(mut self, builder: ClientBuilder) -> Result<Self, BuildError> {
        self.http.way = Way::http(builder, &self.token_url)?;
        Ok(self)
    }

    /// Sets headers that every request carries. They must not be among those that the endpoint sets itself.
    #[cfg(feature = "config")]
    pub(crate) fn headers(mut self, headers: http::HeaderMap) -> Self {
        self.http.headers = headers;
        self
    }

    /// Sets where tokens are revoked (RFC 7009). Default: none; a logout is then local.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] as in [`new`](Self::new), and if the token URL is `https` and this URL is not.
    pub fn revocation_url(mut self, url: impl AsRef<str>) -> Result<Self, BuildError> {
        let url = private_url("revocation_url", url.as_ref())?;
        // The client of an `https` URL may have proxies, which would see what is sent to loopback by `http`.
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
        let mut request = Request::new(Method::POST, url.clone());
        let headers = request.headers_mut();
        let accepted = HeaderValue::from_static("application/json");
        headers.insert(ACCEPT, accepted);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.extend(self.client.authorization().map(|it| (AUTHORIZATION, it)));
        let secrets = Secrets::of(&[token, self.client.secret()])
            .with_authorization(headers)
            .with_values(&self.http.headers);
        let request = (request, self.client.form(fields));
        let sending = self.http.send(request, window, self.http.deadline());
        Ok((sending.await?, secrets))
    }
}

#[async_trait]
impl TokenEndpoint for OAuth2 {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let scope = self.scope.to_string();
        let (mut fields, secret, window) = match grant {
            Grant::Refresh { token, window } => {
                let token = token.expose();
                let fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
                (fields, token, window)
            }
            Grant::SignIn { window } => {
                let Some(sign_in) = &self.sign_in else {
                    return Err(EndpointError::no_credentials());
                };
                (sign_in.fields(), sign_in.secret(), window)
            }
        };
        if !self.scope.is_empty() {
            fields.push(("scope", &scope));
        }
        let sent = self.post(&self.token_url, secret, &fields, Some(window));
        let (reply, secrets) = sent.await?;
        classify::exchange(reply, &self.codes, secrets)
    }

    fn can_sign_in(&self) -> bool {
        self.sign_in.is_some()
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let Some(url) = &self.revocation_url else {
            let why = "cannot revoke the token: no revocation URL is configured";
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
        self.http.timeout
    }

    fn key(&self) -> Key {
        let mut issuer = self.token_url.clone();
        // A query may hold a credential, and a key is printed.
        if let Some(query) = self.token_url.query() {
            issuer.set_query(Some(&Digest::of(query).to_string()));
        }
        let key = Key::new(issuer, &self.client.id).scope(self.scope.clone());
        match &self.sign_in {
            Some(SignIn::Password { username, .. }) => key.subject(username),
            _ => key,
        }
    }
}

/// Shows no secret, and no part of a URL or of an HTTP client that may hold one.
impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("origin", &self.token_url.origin().ascii_serialization())
            .field("path", &self.token_url.path())
            .field("client_id", &self.client.id)
            .field("client_auth", &self.client.auth())
            .field("scope", &self.scope)
            .field("sign_in", &self.sign_in)
            .field("timeout", &self.http.timeout)
            .field("profile", &self.profile)
            .field("body_limit", &self.http.body_limit)
            .field("codes", &self.codes)
            .field("user_agent", &self.http.user_agent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_https_endpoint_refuses_a_revocation_url_of_plain_http() -> Result<(), BuildError> {
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
    fn the_key_names_the_issuer_the_client_and_the_scope() -> Result<(), BuildError> {
        let endpoint = OAuth2::new("https://ID.example.org/token", "importer")?.scope("b a");
        let key = Key::new("https://id.example.org/token", "importer").scope("a b");
        assert_eq!(endpoint.key(), key);
        Ok(())
    }

    fn form(client: &Client) -> String {
        let form = client.form(&[("refresh_token", "a/+ b")]);
        String::from_utf8(form.to_vec()).unwrap()
    }

    #[test]
    fn a_request_names_the_client_once() {
        let mut client = Client::public("odd:id".into());
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b&client_id=odd%3Aid");
        client.secret = Some(Zeroizing::new("p+ss w%rd/&=".into()));
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b");
        let header = client.authorization().unwrap();
        assert!(header.is_sensitive());
        // The encoded pair is `odd%3Aid:p%2Bss+w%25rd%2F%26%3D`.
        let pair = "b2RkJTNBaWQ6cCUyQnNzK3clMjVyZCUyRiUyNiUzRA==";
        assert_eq!(header, format!("Basic {pair}"));
        client.auth = Some(ClientAuth::Post);
        assert_eq!(
            form(&client),
            "refresh_token=a%2F%2B+b&client_id=odd%3Aid&client_secret=p%2Bss+w%25rd%2F%26%3D"
        );
        client.secret = None;
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b&client_id=odd%3Aid");
    }

    #[test]
    fn no_buffer_of_a_secret_grows() {
        let text = "\u{ff}&=".repeat(1000);
        let form = Client::public(text.clone()).form(&[(&text, &text), ("", "")]);
        let room = form_room(&text, &text) + form_room("client_id", &text) + form_room("", "");
        assert_eq!(form.capacity(), room);
        assert_eq!(form_encoded(&text).capacity(), form_room("", &text));
    }
}
