//! The requests of `oauth2` and `openidconnect`, sent by the reqwest that evertoken has.

use oauth2::{HttpRequest, HttpResponse};
use reqwest::{Client, redirect::Policy};

/// A client that follows no redirect: a sign-in sends its secrets to no other address.
pub fn client() -> reqwest::Result<Client> {
    Client::builder().redirect(Policy::none()).build()
}

/// Sends a request of the library once.
pub async fn send(http: &Client, request: HttpRequest) -> reqwest::Result<HttpResponse> {
    let answer = http.execute(request.try_into()?).await?;
    let mut response = HttpResponse::default();
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await?.into();
    Ok(response)
}
