//! A login at the authorization server: the authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636). A program takes a
//! library for this.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::gateway::GatewayError;
use evertoken::testing::HttpServer;
use evertoken::{SealingKeys, TokenPair};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::site::Instance;

/// The client at the authorization server.
pub(crate) const CLIENT: [&str; 2] = ["site", "secret"];

/// What shows that the browser that comes back is the one that went away.
const COOKIE_NAME: &str = "__Host-Http-login";

/// The user who signs in there.
const USER: &str = "ann";

/// The logins at one authorization server. Clones are one.
#[derive(Clone)]
pub(crate) struct Logins {
    shared: Arc<Shared>,
}

struct Shared {
    server: HttpServer,
    redirect_uri: String,
    /// The verifier and the page to return to, by the state.
    pending: Mutex<HashMap<String, (String, String)>>,
}

impl Logins {
    pub(crate) fn new(server: HttpServer, redirect_uri: String) -> Self {
        let shared = Shared {
            server,
            redirect_uri,
            pending: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The address of the authorization endpoint for a login that returns to this page, and the state of the login.
    fn begin(&self, to: String) -> (Url, String) {
        let (state, verifier) = (random(), random());
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let url = format!("{}/authorize", self.shared.server.origin());
        let parameters = [
            ("response_type", "code"),
            ("client_id", CLIENT[0]),
            ("redirect_uri", &self.shared.redirect_uri),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let url = Url::parse_with_params(&url, parameters).expect("an address");
        let mut pending = self.shared.pending.lock();
        pending.insert(state.clone(), (verifier, to));
        (url, state)
    }

    /// The pair for a code.
    async fn exchange(&self, code: &str, verifier: &str) -> TokenPair {
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.shared.redirect_uri),
            ("code_verifier", verifier),
        ];
        let grant = Url::parse_with_params("form:", grant).expect("a form");
        let request = reqwest::Client::new().post(self.shared.server.url());
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(grant.query().unwrap_or_default().to_owned())
            .basic_auth(CLIENT[0], Some(CLIENT[1]));
        let answer = request.send().await.expect("an answer of the server");
        let answer: Value = answer.json().await.expect("JSON");
        TokenPair::from_response(&answer).expect("a pair")
    }
}

fn random() -> String {
    let text = SealingKeys::random_key().expect("the system's random source");
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

pub(crate) fn routes() -> Router<Instance> {
    Router::new()
        .route("/sign-in", get(begin))
        .route("/callback", get(finish))
}

#[derive(Deserialize)]
struct To {
    to: String,
}

async fn begin(State(instance): State<Instance>, Query(To { to }): Query<To>) -> impl IntoResponse {
    let (url, state) = instance.site.logins.begin(to);
    let cookie = format!("{COOKIE_NAME}={state}; Path=/; Secure; HttpOnly; SameSite=Lax");
    ([(SET_COOKIE, cookie)], Redirect::to(url.as_str()))
}

#[derive(Deserialize)]
struct Back {
    code: String,
    state: String,
}

async fn finish(
    State(instance): State<Instance>,
    Query(Back { code, state }): Query<Back>,
    request: HeaderMap,
) -> Result<impl IntoResponse, GatewayError> {
    let own = format!("{COOKIE_NAME}={state}");
    let cookies = request.get_all(COOKIE).iter();
    let mut cookies = cookies.filter_map(|field| field.to_str().ok());
    let is_own = cookies.any(|field| field.split("; ").any(|cookie| cookie == own));
    let pending = instance.site.logins.shared.pending.lock().remove(&state);
    let Some((verifier, to)) = pending.filter(|_| is_own) else {
        let answer = (StatusCode::BAD_REQUEST, "this login is another browser's");
        return Ok(answer.into_response());
    };
    let pair = instance.site.logins.exchange(&code, &verifier).await;
    let signed_in = instance.signed_in(&request, pair, USER).await?;
    Ok((signed_in, Redirect::to(&to)).into_response())
}
