//! A sign-in in a browser (OpenID Connect, authorization code with PKCE), with `openidconnect`.

use std::error::Error;

use evertoken::{OAuth2, TokenManager, TokenPair};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, CsrfToken, IssuerUrl, Nonce, PkceCodeChallenge, RedirectUrl,
    Scope, TokenResponse,
};
use url::Url;

use crate::http;

/// Signs in at the server `issuer`, for the API at `api`. `browse` opens a URL in the user's browser, and returns the code
/// and the state with which the browser comes back to this program.
pub async fn sign_in(
    issuer: &str,
    api: &str,
    browse: impl AsyncFnOnce(Url) -> (String, String),
) -> Result<TokenManager, Box<dyn Error>> {
    let client = http::client()?;
    let send = |request| http::send(&client, request);
    let issuer = IssuerUrl::new(issuer.to_owned())?;
    let server = CoreProviderMetadata::discover_async(issuer, &send).await?;
    let token_url = server
        .token_endpoint()
        .ok_or("the server has no token endpoint")?
        .to_string();
    let login = CoreClient::from_provider_metadata(server, ClientId::new("uploader".into()), None)
        .set_redirect_uri(RedirectUrl::new("http://127.0.0.1/back".into())?);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let (url, sent_state, nonce) = login
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("offline_access".into()))
        .set_pkce_challenge(challenge)
        .url();
    let (code, state) = browse(url).await;
    if state != *sent_state.secret() {
        return Err("the browser came back from another sign-in".into());
    }
    let response = login
        .exchange_code(AuthorizationCode::new(code))?
        .set_pkce_verifier(verifier)
        .request_async(&send)
        .await?;
    let id_token = response.id_token().ok_or("the server issued no ID token")?;
    id_token.claims(&login.id_token_verifier(), &nonce)?;

    let endpoint = OAuth2::new(token_url, "uploader")?;
    let manager = TokenManager::builder(endpoint).origin(api);
    Ok(manager.seed(TokenPair::from_response(&response)?).build()?)
}
