//! A web application whose users sign in with `openidconnect`, and whose gateway goes on with the pair.

use std::error::Error;
use std::sync::Arc;

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
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::http;

type Provider = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What a sign-in has to know again when the browser comes back. It waits in a cookie, so any instance can finish the sign-in.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    to: String,
}

/// What the name of the cookie begins with. Each tab may have a login of its own under way, so each login has a cookie of its own.
const PENDING: &str = "__Host-Http-login-";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

struct Login {
    provider: Provider,
    client: reqwest::Client,
    gateway: Gateway,
    keys: SealingKeys,
}

/// The routes of the sign-in at the provider `issuer`. The browser comes back to `callback`, the URL of `/callback`.
pub async fn login(
    issuer: &str,
    callback: &str,
    gateway: Gateway,
    keys: SealingKeys,
) -> Result<Router, Box<dyn Error>> {
    let client = http::client()?;
    let send = |request| http::send(&client, request);
    let issuer = IssuerUrl::new(issuer.to_owned())?;
    let metadata = CoreProviderMetadata::discover_async(issuer, &send).await?;
    let provider =
        CoreClient::from_provider_metadata(metadata, ClientId::new("uploader".into()), None)
            .set_redirect_uri(RedirectUrl::new(callback.to_owned())?);
    let login = Login {
        provider,
        client,
        gateway,
        keys,
    };
    Ok(Router::new()
        .route("/login", get(begin))
        .route("/callback", get(finish))
        .with_state(Arc::new(login)))
}

async fn begin(State(login): State<Arc<Login>>, uri: Uri) -> Result<Response, StatusCode> {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let (url, state, nonce) = login
        .provider
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("offline_access".into()))
        .set_pkce_challenge(challenge)
        .url();
    let to = parameter(&uri, "to").unwrap_or_default();
    let name = name(state.secret());
    let pending = login.seal(&Pending {
        state,
        nonce,
        verifier,
        to,
    });
    let pending = pending.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    let cookie = format!("{name}={pending}; Max-Age=600; {ATTRIBUTES}");
    Ok(([(SET_COOKIE, cookie)], Redirect::to(url.as_str())).into_response())
}

async fn finish(
    State(login): State<Arc<Login>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let state = parameter(&uri, "state").unwrap_or_default();
    let pending = login.pending(&headers, &state);
    let pending = pending.ok_or(StatusCode::BAD_REQUEST)?;
    let code = parameter(&uri, "code").ok_or(StatusCode::UNAUTHORIZED)?;
    let code = AuthorizationCode::new(code);
    let send = |request| {
        let client = login.client.clone();
        async move { http::send(&client, request).await }
    };
    let response = login
        .provider
        .exchange_code(code)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .set_pkce_verifier(pending.verifier)
        .request_async(&send)
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    let id_token = response.id_token().ok_or(StatusCode::BAD_GATEWAY)?;
    let claims = id_token.claims(&login.provider.id_token_verifier(), &pending.nonce);
    let subject = claims.map_err(|_| StatusCode::BAD_GATEWAY)?.subject();

    let pair = TokenPair::from_response(&response).map_err(|_| StatusCode::BAD_GATEWAY)?;
    let signed_in = login.gateway.sign_in(&headers, pair);
    let signed_in = match signed_in.upstream(None, subject.as_str()).await {
        Ok(signed_in) => signed_in,
        Err(error) => return Ok(error.into_response()),
    };
    let over = [(
        SET_COOKIE,
        format!("{}=; Max-Age=0; {ATTRIBUTES}", name(&state)),
    )];
    Ok((over, signed_in, Redirect::to(local_path(&pending.to))).into_response())
}

impl Login {
    fn seal(&self, pending: &Pending) -> Option<String> {
        let key = self.gateway.sessions().key();
        let plain = serde_json::to_vec(pending).ok()?;
        let sealed = self.keys.seal(&AssociatedData::new(PENDING, &key), &plain);
        Some(BASE64_URL_SAFE_NO_PAD.encode(sealed.ok()?))
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
        (pending.state.secret() == state).then_some(pending)
    }
}

/// The name of a login's cookie.
fn name(state: &str) -> String {
    let state = state.get(..8).unwrap_or_default();
    format!("{PENDING}{state}")
}

fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}
