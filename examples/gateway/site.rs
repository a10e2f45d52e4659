//! The authorization server and the API of the example, on loopback, and the configuration of a gateway for them.

use std::collections::BTreeMap;
use std::future::IntoFuture as _;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::any};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::ValueEnum;
use evertoken::seal::{AssociatedData, Sealer as _, SealingKeys};
use evertoken::testing::{AccessCheck, AuthorizationServer, Browser, HttpServer, Reuse};
use evertoken::{OAuth2, TokenEndpoint as _};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::store::Location;

/// How long a server with a grace answers a token again.
const GRACE: Duration = Duration::from_secs(60);

/// The address to which the server sends browsers back, on any port.
const CALLBACK: &str = "http://127.0.0.1:8080/callback";

/// A mode of the gateway, by its name in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// The cookies have the pair, and a shared store has it too
    Synchronised,
    /// The cookies have the pair, and the instances share nothing
    Stateless,
    /// The same, at a server that answers a spent token again
    Grace,
    /// The cookies have the session's id
    Opaque,
}

impl Mode {
    pub(crate) fn shares_store(self) -> bool {
        matches!(self, Self::Synchronised | Self::Opaque)
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// What the server does with a token that is spent twice, and the word of the configuration for it.
    fn reuse(self) -> (Reuse, &'static str) {
        match self {
            Self::Synchronised | Self::Opaque => (Reuse::RevokeFamily, "revokes"),
            Self::Stateless => (Reuse::Refuse, "refused"),
            Self::Grace => (Reuse::Linked { window: GRACE }, "answered"),
        }
    }

    fn refresh(self) -> &'static str {
        match self {
            Self::Synchronised | Self::Opaque => "",
            Self::Stateless => {
                "coordination = \"none\"\nstrategy = { kind = \"optimistic-early\", window = \"2s\" }"
            }
            Self::Grace => "coordination = \"none\"",
        }
    }
}

/// The servers of a run.
pub(crate) struct Site {
    pub(crate) server: AuthorizationServer,
    token_endpoint: HttpServer,
    api: String,
    mode: Mode,
    cookie_key: String,
    pending_key: String,
}

impl Site {
    pub(crate) async fn open(mode: Mode, access_ttl: Duration) -> anyhow::Result<Self> {
        let (reuse, _) = mode.reuse();
        let server = AuthorizationServer::builder()
            .client("app", "secret")
            .redirect_uri(CALLBACK)
            .access_ttl(access_ttl)
            .latency(Duration::from_millis(20))
            .reuse(reuse);
        // Solution 2 of issue 322 has pairs whose tokens live equally long.
        let server = match mode {
            Mode::Stateless => server.refresh_ttl(access_ttl),
            _ => server,
        };
        let server = server.build();
        Ok(Self {
            token_endpoint: server.listen().await.context("cannot listen")?,
            api: api(server.clone()).await?,
            server,
            mode,
            cookie_key: SealingKeys::random_key()?.to_string(),
            pending_key: SealingKeys::random_key()?.to_string(),
        })
    }

    /// Whether the server exchanges the refresh token that a browser has in its cookies; `None` if it has none. The cookies are
    /// opened as an instance opens them.
    pub(crate) fn is_live(&self, browser: &Browser) -> anyhow::Result<Option<bool>> {
        const NAME: &str = "__Host-Http-session-";
        let keys = SealingKeys::from_text(&self.cookie_key)?;
        // The parts of each sign-in, by its tag. A browser may have two for a while, of which the last one counts.
        let mut values = BTreeMap::<String, String>::new();
        for name in browser.names() {
            if let Some((tag, _)) = name
                .strip_prefix(NAME)
                .and_then(|rest| rest.split_once('-'))
            {
                let part = browser.value(&name).unwrap_or_default();
                *values.entry(tag.to_owned()).or_default() += &part;
            }
        }
        let mut contents = Vec::new();
        for (tag, value) in values {
            // The number of parts stands before the value.
            let sealed = BASE64_URL_SAFE_NO_PAD.decode(value.get(1..).unwrap_or_default())?;
            let key = OAuth2::new(self.token_endpoint.url(), "app")?
                .key()
                .label(tag);
            let plain = keys.open(&AssociatedData::new(AssociatedData::COOKIE, &key), &sealed)?;
            contents.push(serde_json::from_slice::<serde_json::Value>(&plain)?);
        }
        let last = contents
            .iter()
            .max_by_key(|content| content["signed_in"].as_u64());
        let refresh = last.and_then(|last| last["pair"]["pair"]["refresh_token"].as_str());
        Ok(refresh.map(|refresh| self.server.is_live_refresh(refresh)))
    }

    /// The configuration of an instance whose browsers see it at `address`.
    pub(crate) fn configuration(&self, store: Option<&Location>, address: &str) -> String {
        let store = match store.filter(|_| self.mode.shares_store()) {
            None => "kind = \"memory\"".to_owned(),
            Some(Location::File(path)) => format!("kind = \"file\"\npath = {path:?}"),
            Some(Location::Redis(url)) => format!("kind = \"redis\"\nurl = {url:?}"),
            Some(Location::Postgres(url)) => format!("kind = \"postgres\"\nurl = {url:?}"),
        };
        let (_, reuse) = self.mode.reuse();
        let (mode, refresh) = (self.mode.name(), self.mode.refresh());
        let (token_url, api) = (self.token_endpoint.url(), &self.api);
        let authorization_url = format!("{}/authorize", self.token_endpoint.origin());
        let (cookie_key, pending_key) = (&self.cookie_key, &self.pending_key);
        format!(
            r#"
[endpoint]
token_url = "{token_url}"
client_id = "app"
client_secret = "secret"
server = {{ reuse = "{reuse}" }}
[http]
origins = ["{api}"]
[store]
{store}
[refresh]
{refresh}
[sessions.policy]
retired_for = "30s"
[gateway]
mode = "{mode}"
keys = "{cookie_key}"
login = "/login?to={{return_to}}"
[application]
api = "{api}"
[application.provider]
authorization_url = "{authorization_url}"
token_url = "{token_url}"
client_id = "app"
client_secret = "secret"
redirect_uri = "http://{address}/callback"
pending_key = "{pending_key}"
"#
        )
    }
}

/// An API that accepts the server's tokens.
async fn api(server: AuthorizationServer) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let routes = Router::new().fallback(any(answer)).with_state(server);
    tokio::spawn(axum::serve(listener, routes).into_future());
    Ok(origin)
}

async fn answer(
    State(server): State<AuthorizationServer>,
    headers: HeaderMap,
) -> (StatusCode, &'static str) {
    let bearer = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
    match token.map(|token| server.check(token)) {
        Some(AccessCheck::Live) => (StatusCode::OK, "an order"),
        _ => (StatusCode::UNAUTHORIZED, "no valid token"),
    }
}
