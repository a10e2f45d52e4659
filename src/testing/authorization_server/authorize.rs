//! The authorization endpoint: the authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636). A user signs in by one
//! button, so the server knows no users.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use super::AuthorizationServer;
use super::rules::{Rules, covers};
use crate::clock::Timestamp;
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

/// An authorization request that is answered at the redirect URI: with a code, or with an error code of RFC 6749 section 4.1.2.1.
pub(super) struct Asked {
    client_id: String,
    redirect_uri: Url,
    /// The redirect URI as the request has it, which the grant has to repeat.
    redirect_text: String,
    state: Option<String>,
    terms: Result<Terms, &'static str>,
}

/// What holds for the code that a request gets.
#[derive(Clone)]
struct Terms {
    /// The digest of the verifier.
    challenge: String,
    /// The scope of the pair.
    scope: Option<Scope>,
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
        Ok(Self {
            client_id: client_id.to_owned(),
            redirect_uri: url,
            redirect_text: redirect.to_owned(),
            state: parameters.value("state").ok().flatten().map(str::to_owned),
            terms: Terms::read(parameters, rules),
        })
    }

    /// The URL of the client's answer, with these parameters besides `state` and `iss` (RFC 9207).
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

    /// The error that the client gets, if there is one.
    pub(super) fn error(&self, issuer: &str) -> Option<Url> {
        let error = self.terms.as_ref().err()?;
        Some(self.back(("error", error), issuer))
    }
}

impl Terms {
    /// The terms, or the error code of the request.
    fn read(parameters: &Parameters, rules: &Rules) -> Result<Self, &'static str> {
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
        Ok(Self {
            challenge: challenge.to_owned(),
            scope: rules.granted(value("scope")?.unwrap_or_default())?,
        })
    }
}

impl Rules {
    /// The scope for a user's sign-in that asks for this one. A server without scopes does not look at it, and without a request
    /// for a scope the session has all of it (RFC 6749 section 3.3).
    fn granted(&self, asked: &str) -> Result<Option<Scope>, &'static str> {
        let asked = Scope::parse(asked);
        match &self.scope {
            Some(own) if !covers(own, &asked) => Err("invalid_scope"),
            Some(_) if !asked.is_empty() => Ok(Some(asked)),
            own => Ok(own.clone()),
        }
    }
}

/// Whether this is a SHA-256 in base64url.
fn is_challenge(text: &str) -> bool {
    let digest = BASE64_URL_SAFE_NO_PAD.decode(text);
    digest.is_ok_and(|digest| digest.len() == Sha256::output_size())
}

/// Whether a verifier has the form that RFC 7636 section 4.1 requires.
fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
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

/// The codes that were issued. They are kept after their use, because a second use ends the session of the first one.
#[derive(Default)]
pub(super) struct AuthorizationCodes(HashMap<String, Code>);

struct Code {
    client_id: String,
    redirect_text: String,
    terms: Terms,
    expires_at: Timestamp,
    is_used: bool,
    /// The family that the code began.
    family: Option<usize>,
}

impl AuthorizationCodes {
    fn issue(&mut self, code: String, asked: &Asked, terms: &Terms, expires_at: Timestamp) {
        let issued = Code {
            client_id: asked.client_id.clone(),
            redirect_text: asked.redirect_text.clone(),
            terms: terms.clone(),
            expires_at,
            is_used: false,
            family: None,
        };
        self.0.insert(code, issued);
    }

    /// Uses a code up, and returns the scope of the pair. The error is the family that a second use ends, if there is one.
    pub(super) fn redeem(
        &mut self,
        grant: &CodeGrant,
        client_id: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Scope>, Option<usize>> {
        let code = self.0.get_mut(&grant.code).ok_or(None)?;
        if code.is_used {
            return Err(code.family);
        }
        code.is_used = true;
        let digest = Sha256::digest(grant.verifier.as_bytes());
        let is_good = now < code.expires_at
            && client_id.is_none_or(|id| id == code.client_id)
            && grant.redirect_uri == code.redirect_text
            && is_verifier(&grant.verifier)
            && BASE64_URL_SAFE_NO_PAD.encode(digest) == code.terms.challenge;
        is_good.then(|| code.terms.scope.clone()).ok_or(None)
    }

    pub(super) fn began(&mut self, code: &str, family: usize) {
        if let Some(code) = self.0.get_mut(code) {
            code.family = Some(family);
        }
    }
}

/// What a client presents for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
pub(super) struct CodeGrant {
    pub(super) code: String,
    pub(super) redirect_uri: String,
    pub(super) verifier: String,
}

impl AuthorizationServer {
    /// Signs a user in, as the button of the authorization page does: takes the URL of the authorization request, and returns the
    /// URL to which the browser is sent back, with a code for the client, or with an error.
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
        let terms = match &asked.terms {
            Ok(terms) => terms,
            Err(error) => return Ok(asked.back(("error", error), issuer)),
        };
        let code = state.mint("code");
        let expires_at = now + state.rules.code_ttl;
        state.codes.issue(code.clone(), &asked, terms, expires_at);
        Ok(asked.back(("code", &code), issuer))
    }
}

/// How long a code lives, unless the builder says otherwise (RFC 6749 section 4.1.2 recommends ten minutes at most).
pub(super) const CODE_TTL: Duration = Duration::from_secs(60);
