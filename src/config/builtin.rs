mod codes;
mod folio;
mod postgres;
mod redis;

use std::fmt;
use std::path::PathBuf;

use reqwest::ClientBuilder;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::error::ConfigError;
use super::registry::Registry;
use super::scalar::{PositiveSpan, Scopes, Span, path};
use super::secret::Secret;
use crate::endpoint::{
    ClientAuth, Codes, OAuth2, OldPair, Resend, ResendAfterSilence, ServerProfile, StaticToken,
};
use crate::error::BuildError;
use crate::store::{FileStore, GroupAccess};
use crate::strategy::{BackgroundTimer, OnExpiry, OnRequest, OptimisticEarly};

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Everything that comes with the crate, by its name.
pub(super) fn register(registry: Registry) -> Registry {
    registry
        .strategy("on-request", on_request)
        .strategy("background-timer", background_timer)
        .strategy("optimistic-early", optimistic_early)
        .endpoint_by_http("oauth2", oauth2)
        .endpoint_by_http("folio", folio::endpoint)
        .endpoint("static", static_token)
        .default_store("memory")
        .store("file", file_store)
        .store("redis", redis::store)
        .store("postgres", postgres::store)
}

#[derive(Deserialize)]
struct AtFraction {
    at_fraction: Option<Fraction>,
}

fn on_request(parameters: AtFraction) -> Result<OnRequest, Boxed> {
    let strategy = OnRequest::default();
    Ok(match parameters.at_fraction {
        Some(Fraction(fraction)) => strategy.at_fraction(fraction),
        None => strategy,
    })
}

fn background_timer(parameters: AtFraction) -> Result<BackgroundTimer, Boxed> {
    let strategy = BackgroundTimer::default();
    Ok(match parameters.at_fraction {
        Some(Fraction(fraction)) => strategy.at_fraction(fraction),
        None => strategy,
    })
}

/// A share of a lifetime. None of it would mean to rotate again and again.
struct Fraction(f64);

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fraction = f64::deserialize(deserializer)?;
        if fraction > 0.0 && fraction <= 1.0 {
            return Ok(Self(fraction));
        }
        Err(D::Error::custom("must be more than 0 and at most 1"))
    }
}

#[derive(Deserialize)]
struct Early {
    window: Option<PositiveSpan>,
    on_expiry: Option<OnExpiry>,
}

fn optimistic_early(parameters: Early) -> Result<OptimisticEarly, Boxed> {
    let mut strategy = OptimisticEarly::default();
    if let Some(PositiveSpan(window)) = parameters.window {
        strategy = strategy.window(window);
    }
    if let Some(choice) = parameters.on_expiry {
        strategy = strategy.on_expiry(choice);
    }
    Ok(strategy)
}

#[derive(Deserialize)]
struct OAuth2Parameters {
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
    user_agent: Option<String>,
    sign_in: Option<SignIn>,
}

fn oauth2(parameters: OAuth2Parameters, http: ClientBuilder) -> Result<OAuth2, Boxed> {
    let OAuth2Parameters {
        token_url,
        client_id,
        client_secret,
        client_auth,
        scope,
        revocation_url,
        timeout,
        body_limit,
        server,
        codes,
        user_agent,
        sign_in,
    } = parameters;
    let mut endpoint = OAuth2::with_http(token_url, client_id, http)?
        .profile(server)
        .codes(codes);
    if let Some(secret) = client_secret {
        let secret = secret.read_at("client_secret")?;
        endpoint = endpoint.client_secret(secret.as_str());
    }
    if let Some(auth) = client_auth {
        endpoint = endpoint.client_auth(auth);
    }
    if let Some(Scopes(scope)) = scope {
        endpoint = endpoint.scope(scope);
    }
    if let Some(url) = revocation_url {
        endpoint = endpoint.revocation_url(url)?;
    }
    if let Some(Span(timeout)) = timeout {
        endpoint = endpoint.timeout(timeout);
    }
    if let Some(bytes) = self::body_limit(body_limit, OAuth2::BODY_LIMITS)? {
        endpoint = endpoint.body_limit(bytes);
    }
    if let Some(agent) = user_agent {
        endpoint = endpoint.user_agent(agent)?;
    }
    Ok(match sign_in {
        None => endpoint,
        Some(SignIn::Client) => endpoint.sign_in_as_client(),
        Some(SignIn::Password(Login { username, password })) => {
            let password = password.read_at("sign_in.password")?;
            endpoint.sign_in_with_password(username, password.as_str())
        }
    })
}

/// What is asked for, if it is between the limits.
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
struct Directory {
    #[serde(deserialize_with = "path")]
    path: PathBuf,
    #[serde(default)]
    group: GroupAccess,
}

async fn file_store(directory: Directory) -> Result<FileStore, ConfigError> {
    FileStore::with_group(directory.path, directory.group)
        .map_err(|error| ConfigError::not_made("path", error.into()))
}

#[derive(Deserialize)]
struct Static {
    token: Secret,
}

fn static_token(parameters: Static) -> Result<StaticToken, ConfigError> {
    let token = parameters.token.read_at("token")?;
    Ok(StaticToken::new(token.as_str()))
}

/// What a configuration says of a server.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServerKeys {
    resend: Option<Resend>,
    resend_after_silence: Option<ResendAfterSilence>,
    old_pair: Option<OldPair>,
}

impl ServerKeys {
    fn over(self, known: ServerProfile) -> ServerProfile {
        let silence = self.resend_after_silence;
        ServerProfile {
            resend: self.resend.unwrap_or(known.resend),
            resend_after_silence: silence.unwrap_or(known.resend_after_silence),
            old_pair: self.old_pair.unwrap_or(known.old_pair),
        }
    }
}

/// Of a table, in a configuration: `resend`, `resend_after_silence`, `old_pair`.
impl<'de> Deserialize<'de> for ServerProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = ServerKeys::deserialize(deserializer)?;
        Ok(keys.over(Self::strict()))
    }
}
