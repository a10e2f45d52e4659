//! The login: the authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636) against a server whose addresses are known.
//! A program takes a library for this; `tests/handover/src/web.rs` is the same with `openidconnect`. What waits for the browser to
//! come back is in a sealed cookie, so any instance can finish the login.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Router, routing::get};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::gateway::local_path;
use evertoken::seal::{AssociatedData, Sealer as _, SealingKeys};
use evertoken::{Gateway, TokenPair};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

/// Where users sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    authorization_url: String,
    token_url: String,
    client_id: String,
    client_secret: String,
    /// The address of `/callback`, as it is registered at the server.
    redirect_uri: String,
    #[serde(default)]
    scope: Option<String>,
    /// The key that seals what waits for the browser to come back, the same on all instances.
    pub(crate) pending_key: String,
}

/// What a login has to know again when the browser comes back.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: String,
    verifier: String,
    to: String,
}

/// What the name of the cookie begins with. Each tab may have a login of its own under way, so each login has a cookie of its own.
const PENDING: &str = "__Host-Http-login-";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

struct Login {
    provider: Provider,
    gateway: Gateway,
    keys: SealingKeys,
    http: reqwest::Client,
}

pub(crate) fn routes(
    provider: Provider,
    gateway: Gateway,
    keys: SealingKeys,
) -> anyhow::Result<Router> {
    let policy = reqwest::redirect::Policy::none();
    let login = Login {
        http: reqwest::Client::builder().redirect(policy).build()?,
        provider,
        gateway,
        keys,
    };
    Ok(Router::new()
        .route("/login", get(begin))
        .route("/callback", get(finish))
        .with_state(Arc::new(login)))
}

async fn begin(State(login): State<Arc<Login>>, uri: Uri) -> Result<Response, Failed> {
    let pending = Pending {
        state: random()?,
        verifier: random()?,
        to: parameter(&uri, "to").unwrap_or_default(),
    };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
    let mut url = Url::parse(&login.provider.authorization_url)?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &login.provider.client_id)
        .append_pair("redirect_uri", &login.provider.redirect_uri)
        .append_pair("state", &pending.state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if let Some(scope) = &login.provider.scope {
        url.query_pairs_mut().append_pair("scope", scope);
    }
    let cookie = format!(
        "{}={}; Max-Age=600; {ATTRIBUTES}",
        name(&pending.state),
        login.seal(&pending)?
    );
    Ok(([(SET_COOKIE, cookie)], Redirect::to(url.as_str())).into_response())
}

async fn finish(
    State(login): State<Arc<Login>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let pending = login
        .pending(&headers, &parameter(&uri, "state").unwrap_or_default())
        .context("this login is not under way here")?;
    let code = parameter(&uri, "code").context("the server refused the login")?;
    let request = login.http.post(&login.provider.token_url);
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(login.grant(&code, &pending))
        .basic_auth(
            &login.provider.client_id,
            Some(&login.provider.client_secret),
        );
    let answer = request.send().await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;

    let pair = TokenPair::from_response(&answer)?;
    let signed_in = match login.gateway.sign_in(&headers, pair).await {
        Ok(signed_in) => signed_in,
        Err(error) => return Ok(error.into_response()),
    };
    let over = format!("{}=; Max-Age=0; {ATTRIBUTES}", name(&pending.state));
    let over = [(SET_COOKIE, over)];
    Ok((over, signed_in, Redirect::to(local_path(&pending.to))).into_response())
}

impl Login {
    /// The body of the request for the pair.
    fn grant(&self, code: &str, pending: &Pending) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.provider.redirect_uri)
            .append_pair("code_verifier", &pending.verifier)
            .finish()
    }

    fn seal(&self, pending: &Pending) -> anyhow::Result<String> {
        let key = self.gateway.sessions().key();
        let bound = AssociatedData::new(PENDING, &key);
        let sealed = self.keys.seal(&bound, &serde_json::to_vec(pending)?)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The login of this state, which the browser began.
    fn pending(&self, headers: &HeaderMap, state: &str) -> Option<Pending> {
        let name = name(state);
        let key = self.gateway.sessions().key();
        let fields = headers.get_all(COOKIE).iter();
        let mut pairs = fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split("; "));
        let value = pairs.find_map(|pair| pair.strip_prefix(&*name)?.strip_prefix('='))?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(value).ok()?;
        let plain = self.keys.open(&AssociatedData::new(PENDING, &key), &sealed);
        let pending: Pending = serde_json::from_slice(&plain.ok()?).ok()?;
        (pending.state == state).then_some(pending)
    }
}

/// The name of a login's cookie.
fn name(state: &str) -> String {
    let state = state.get(..8).unwrap_or_default();
    format!("{PENDING}{state}")
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    let found = pairs.find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.into_owned())
}

/// A login that failed, as a page of one line.
struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let text = format!("The login failed: {}. Start again at /login.\n", self.0);
        (StatusCode::BAD_REQUEST, text).into_response()
    }
}
