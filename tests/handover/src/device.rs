//! A sign-in by a code on another device (RFC 8628), with `oauth2`.

use std::error::Error;

use evertoken::{OAuth2, TokenManager, TokenPair};
use oauth2::basic::BasicClient;
use oauth2::{
    ClientId, DeviceAuthorizationUrl, Scope, StandardDeviceAuthorizationResponse, TokenUrl,
};

use crate::http;

/// Signs in at the server `id`, for the API at `api`. `show` shows the user where to enter which code.
pub async fn sign_in(
    id: &str,
    api: &str,
    show: impl Fn(&str, &str),
) -> Result<TokenManager, Box<dyn Error>> {
    let token_url = format!("{id}/token");
    let login = BasicClient::new(ClientId::new("uploader".into()))
        .set_device_authorization_url(DeviceAuthorizationUrl::new(format!("{id}/device"))?)
        .set_token_uri(TokenUrl::new(token_url.clone())?);
    let client = http::client()?;
    let send = |request| http::send(&client, request);
    let device: StandardDeviceAuthorizationResponse = login
        .exchange_device_code()
        .add_scope(Scope::new("records.write".into()))
        .request_async(&send)
        .await?;
    show(device.verification_uri(), device.user_code().secret());
    let response = login
        .exchange_device_access_token(&device)
        .request_async(&send, tokio::time::sleep, None)
        .await?;

    let endpoint = OAuth2::new(token_url, "uploader")?;
    let manager = TokenManager::builder(endpoint).origin(api);
    Ok(manager.seed(TokenPair::from_response(&response)?).build()?)
}
