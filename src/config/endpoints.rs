//! The endpoints `oauth2`, `folio` and `static`, with the keys of their servers.

use std::collections::HashSet;
use std::fmt;

use reqwest::ClientBuilder;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::http::HttpKeys;
use crate::build_error::BuildError;
use crate::endpoint::{
    Bare400, ClientAuth, Codes, OAuth2, OldPair, Resend, ResendAfterSilence, ServerProfile,
    StaticToken, TokenReuse,
};
use crate::parameters::{ConfigError, Scopes, Secret, Span, set};

type Boxed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
pub(super) struct OAuth2Parameters {
    token_url: String,
    client_id: String,
    client_secret: Option<Secret>,
    client_auth: Option<ClientAuth>,
    scope: Option<Scopes>,
    revocation_url: Option<String>,
    timeout: Option<Span>,
    body_limit: Option<usize>,
    #[serde(default)]
    server: ServerProfile,
    #[serde(default)]
    codes: Codes,
    #[serde(default)]
    http: HttpKeys,
    sign_in: Option<SignIn>,
}

pub(super) fn oauth2(keys: OAuth2Parameters, http: ClientBuilder) -> Result<OAuth2, Boxed> {
    let (http, headers) = keys.http.client(http, &[])?;
    let mut endpoint = OAuth2::with_http(keys.token_url, keys.client_id, http)?
        .headers(headers)
        .profile(keys.server)
        .codes(keys.codes);
    if let Some(secret) = keys.client_secret {
        endpoint = endpoint.client_secret(secret.read_at("client_secret")?.as_str());
    }
    endpoint = set(endpoint, keys.client_auth, OAuth2::client_auth);
    endpoint = set(endpoint, keys.scope.map(|scope| scope.0), OAuth2::scope);
    endpoint = set(endpoint, keys.timeout.map(|span| span.0), OAuth2::timeout);
    let limit = body_limit(keys.body_limit, OAuth2::BODY_LIMITS)?;
    endpoint = set(endpoint, limit, OAuth2::body_limit);
    if let Some(url) = keys.revocation_url {
        endpoint = endpoint.revocation_url(url)?;
    }
    Ok(match keys.sign_in {
        None => endpoint,
        Some(SignIn::Client) => endpoint.sign_in_as_client(),
        Some(SignIn::Password(Login { username, password })) => {
            let password = password.read_at("sign_in.password")?;
            endpoint.sign_in_with_password(username, password.as_str())
        }
    })
}

/// The configured limit, if it lies in the range.
fn body_limit(
    bytes: Option<usize>,
    (least, most): (usize, usize),
) -> Result<Option<usize>, BuildError> {
    if bytes.is_some_and(|bytes| !(least..=most).contains(&bytes)) {
        let problem = format!("must be from {least} to {most} bytes");
        return Err(BuildError::invalid("body_limit", problem));
    }
    Ok(bytes)
}

enum SignIn {
    Client,
    Password(Login),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: Secret,
}

impl<'de> Deserialize<'de> for SignIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SignInVisitor)
    }
}

struct SignInVisitor;

impl<'de> Visitor<'de> for SignInVisitor {
    type Value = SignIn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""client-credentials", or a table of `username` and `password`"#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SignIn, E> {
        match text {
            "client-credentials" => Ok(SignIn::Client),
            _ => Err(E::invalid_value(Unexpected::Other("a string"), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<SignIn, A::Error> {
        Login::deserialize(MapAccessDeserializer::new(access)).map(SignIn::Password)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Okapi,
    Eureka,
}

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "folio"),
    expect(dead_code, reason = "without the feature too, a wrong key is reported")
)]
pub(super) struct FolioParameters {
    mode: Mode,
    url: String,
    tenant: String,
    timeout: Option<Span>,
    body_limit: Option<usize>,
    #[serde(default)]
    server: ServerKeys,
    #[serde(default)]
    http: HttpKeys,
    sign_in: Option<Login>,
}

#[cfg(feature = "folio")]
pub(super) fn folio(
    keys: FolioParameters,
    http: ClientBuilder,
) -> Result<crate::endpoint::Folio, Boxed> {
    use super::http::FOLIO_RESERVED;
    use crate::endpoint::{Folio, FolioMode, TokenEndpoint};

    let mode = match keys.mode {
        Mode::Okapi => FolioMode::Okapi,
        Mode::Eureka => FolioMode::Eureka,
    };
    let (http, headers) = keys.http.client(http, &FOLIO_RESERVED)?;
    let endpoint = Folio::with_http(mode, keys.url, keys.tenant, http)?.headers(headers);
    let known = TokenEndpoint::profile(&endpoint);
    let endpoint = endpoint.profile(keys.server.over(known));
    let endpoint = set(endpoint, keys.timeout.map(|span| span.0), Folio::timeout);
    let limit = body_limit(keys.body_limit, Folio::BODY_LIMITS)?;
    let endpoint = set(endpoint, limit, Folio::body_limit);
    Ok(match keys.sign_in {
        None => endpoint,
        Some(Login { username, password }) => {
            let password = password.read_at("sign_in.password")?;
            endpoint.sign_in_with_password(username, password.as_str())
        }
    })
}

#[cfg(not(feature = "folio"))]
pub(super) fn folio(_: FolioParameters, _: ClientBuilder) -> Result<StaticToken, ConfigError> {
    Err(ConfigError::without_feature("kind", "`folio` ", "folio"))
}

#[derive(Deserialize)]
pub(super) struct Static {
    token: Secret,
}

pub(super) fn static_token(keys: Static) -> Result<StaticToken, ConfigError> {
    let token = keys.token.read_at("token")?;
    Ok(StaticToken::new(token.as_str()))
}

/// The keys of a server. A missing key leaves what the endpoint knows of the server.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServerKeys {
    resend: Option<Resend>,
    resend_after_silence: Option<ResendAfterSilence>,
    old_pair: Option<OldPair>,
    reuse: Option<TokenReuse>,
}

impl ServerKeys {
    fn over(self, known: ServerProfile) -> ServerProfile {
        let profile = set(known, self.resend, ServerProfile::resend);
        let silence = self.resend_after_silence;
        let profile = set(profile, silence, ServerProfile::resend_after_silence);
        let profile = set(profile, self.old_pair, ServerProfile::old_pair);
        set(profile, self.reuse, ServerProfile::reuse)
    }
}

/// In a configuration, a table of `resend`, `resend_after_silence`, `old_pair` and `reuse`.
impl<'de> Deserialize<'de> for ServerProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = ServerKeys::deserialize(deserializer)?;
        Ok(keys.over(Self::strict()))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CodeKeys {
    dead: Vec<String>,
    later: Vec<String>,
    user: Vec<String>,
    client: Vec<String>,
    bare_400: Bare400,
}

/// In a configuration, a table of `dead`, `later`, `user`, `client` and `bare_400`.
impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = CodeKeys::deserialize(deserializer)?;
        let mut seen = HashSet::new();
        for code in [&keys.dead, &keys.later, &keys.user, &keys.client]
            .into_iter()
            .flatten()
        {
            if code.is_empty() {
                return Err(D::Error::custom("an error code must not be empty"));
            }
            if !seen.insert(code) {
                let problem = format!("the code `{code}` appears twice; keep it in one list");
                return Err(D::Error::custom(problem));
            }
        }
        Ok(Self::default()
            .dead(keys.dead)
            .later(keys.later)
            .user(keys.user)
            .client(keys.client)
            .bare_400(keys.bare_400))
    }
}
