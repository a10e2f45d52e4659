//! The authorization endpoint: the authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636). A user signs in by one
//! button, so the server knows no users.
//!
//! A request whose client or redirect URI is not known is answered by a page ([`AuthorizeError`]), and any other at the redirect
//! URI, with a code or an error (RFC 6749 section 4.1.2.1). What a code is good for: `state::codes`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use super::AuthorizationServer;
use super::rules::{Rules, covers};
use super::state::Terms;
use crate::token::Scope;

/// The parameters of an authorization request, from its query or from the page's form.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A parameter without a value counts as omitted, and one that is there twice is an error (RFC 6749 section 3.1).
    fn value(&self, name: &str) -> Result<Option<&str>, ()> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(()),
            (value, None) => Ok(value
                .map(|(_, value)| value.as_str())
                .filter(|it| !it.is_empty())),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Why an authorization request is answered by a page: neither the client nor its redirect URI can be trusted. A redirect would make
/// the server an open redirector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizeError {
    /// There is no `client_id`, or the server does not know that client.
    #[error("the authorization request names no client that the server knows")]
    UnknownClient,
    /// There is no `redirect_uri`, or it is not registered; see
    /// [`redirect_uri`](super::AuthorizationServerBuilder::redirect_uri).
    #[error("the authorization request names no redirect URI that is registered")]
    UnknownRedirectUri,
}

/// An authorization request that is answered at its redirect URI.
pub(super) struct Asked {
    redirect_uri: Url,
    state: Option<String>,
    /// What the code is good for, or the error code that the client gets in place of one.
    terms: Result<Terms, &'static str>,
}

impl Asked {
    /// Reads a request.
    pub(super) fn read(parameters: &Parameters, rules: &Rules) -> Result<Self, AuthorizeError> {
        let client_id = parameters.value("client_id").ok().flatten();
        let is_known = |id: &&str| rules.client.as_ref().is_none_or(|client| client.id == **id);
        let client_id = client_id
            .filter(is_known)
            .ok_or(AuthorizeError::UnknownClient)?;
        let redirect = parameters.value("redirect_uri").ok().flatten();
        let redirect = redirect.ok_or(AuthorizeError::UnknownRedirectUri)?;
        let url = Url::parse(redirect).map_err(|_| AuthorizeError::UnknownRedirectUri)?;
        if !rules
            .redirect_uris
            .iter()
            .any(|registered| is_registered(registered, redirect))
        {
            return Err(AuthorizeError::UnknownRedirectUri);
        }
        let terms = asked_for(parameters, rules);
        Ok(Self {
            redirect_uri: url,
            state: parameters.value("state").ok().flatten().map(str::to_owned),
            terms: terms.map(|(challenge, scope)| Terms {
                client_id: client_id.to_owned(),
                redirect_uri: redirect.to_owned(),
                challenge,
                scope,
            }),
        })
    }

    /// The URL of the client's answer, with this parameter besides `state` and `iss` (RFC 9207).
    fn back(&self, (name, value): (&str, &str), issuer: &str) -> Url {
        let mut url = self.redirect_uri.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair(name, value);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", issuer);
        drop(query);
        url
    }

    /// The URL of the error that the client gets, if there is one.
    pub(super) fn error(&self, issuer: &str) -> Option<Url> {
        let error = self.terms.as_ref().err()?;
        Some(self.back(("error", error), issuer))
    }
}

/// The challenge and the scope of a request, or the error code that it gets.
fn asked_for(
    parameters: &Parameters,
    rules: &Rules,
) -> Result<(String, Option<Scope>), &'static str> {
    let value = |name| parameters.value(name).map_err(|()| "invalid_request");
    value("state")?;
    match value("response_type")? {
        Some("code") => {}
        Some(_) => return Err("unsupported_response_type"),
        None => return Err("invalid_request"),
    }
    let challenge = value("code_challenge")?.unwrap_or_default();
    if value("code_challenge_method")? != Some("S256") || !is_challenge(challenge) {
        return Err("invalid_request");
    }
    let scope = granted(rules, value("scope")?.unwrap_or_default())?;
    Ok((challenge.to_owned(), scope))
}

/// The scope of a sign-in that asks for this one. A server without scopes does not look at it, and a request without one gets all
/// that there is (RFC 6749 section 3.3).
fn granted(rules: &Rules, asked: &str) -> Result<Option<Scope>, &'static str> {
    let asked = Scope::parse(asked);
    match &rules.scope {
        Some(own) if !covers(own, &asked) => Err("invalid_scope"),
        Some(_) if !asked.is_empty() => Ok(Some(asked)),
        own => Ok(own.clone()),
    }
}

/// Whether this is a SHA-256 in base64url.
fn is_challenge(text: &str) -> bool {
    let digest = BASE64_URL_SAFE_NO_PAD.decode(text);
    digest.is_ok_and(|digest| digest.len() == Sha256::output_size())
}

/// Whether a URI is the registered one, to the letter. The port of a loopback address may be another (RFC 8252 section 7.3).
fn is_registered(registered: &str, text: &str) -> bool {
    if registered == text {
        return true;
    }
    let on_loopback = loopback(text);
    on_loopback.is_some() && on_loopback == loopback(registered)
}

/// The host of a loopback URI, and what comes after the port.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let host = ["127.0.0.1", "[::1]"]
        .into_iter()
        .find(|host| authority.starts_with(host))?;
    let port = &authority[host.len()..];
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_host.then_some((host, after))
}

impl AuthorizationServer {
    /// Signs a user in, as the button of the authorization page does: takes the URL of the authorization request, and returns the
    /// URL to which the browser is sent back, with a code for the client, or with an error.
    ///
    /// The token endpoint of [`listen`](Self::listen) takes the code, once.
    ///
    /// ```
    /// use evertoken::testing::AuthorizationServer;
    /// use url::Url;
    ///
    /// let server = AuthorizationServer::builder()
    ///     .client("app", "secret")
    ///     .redirect_uri("http://127.0.0.1/callback")
    ///     .build();
    /// let request = Url::parse_with_params(
    ///     "http://127.0.0.1:8080/authorize",
    ///     [
    ///         ("response_type", "code"),
    ///         ("client_id", "app"),
    ///         // The port of a loopback address is free.
    ///         ("redirect_uri", "http://127.0.0.1:3000/callback"),
    ///         ("state", "af0ifjsldkj"),
    ///         ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    ///         ("code_challenge_method", "S256"),
    ///     ],
    /// )?;
    /// let back = server.authorize(&request)?;
    /// assert_eq!(back.path(), "/callback");
    /// assert!(back.query_pairs().any(|(name, _)| name == "code"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// For a request that is answered by a page, because its client or its redirect URI is not known.
    pub fn authorize(&self, request: &Url) -> Result<Url, AuthorizeError> {
        let parameters = Parameters::parse(request.query().unwrap_or_default().as_bytes());
        let issuer = request.origin().ascii_serialization();
        self.authorized(&parameters, &issuer)
    }

    pub(super) fn authorized(
        &self,
        parameters: &Parameters,
        issuer: &str,
    ) -> Result<Url, AuthorizeError> {
        let (now, mut state) = (self.now(), self.state());
        let asked = Asked::read(parameters, &state.rules)?;
        Ok(match &asked.terms {
            Ok(terms) => {
                let code = state.issue_code(terms.clone(), now);
                asked.back(("code", &code), issuer)
            }
            Err(error) => asked.back(("error", error), issuer),
        })
    }
}
