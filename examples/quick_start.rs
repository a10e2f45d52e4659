//! Three requests, each after the last access token has expired: `cargo run --example quick_start`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, ImportApi};
use evertoken::{OAuth2, OnRequest, TokenManager};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An application uses existing servers, and its first pair comes from a sign-in.
    let server = AuthorizationServer::builder()
        .client("importer", "secret")
        .access_ttl(Duration::from_millis(500))
        .build();
    let token_endpoint = server.listen().await?;
    let api = ImportApi::builder(&server).build().listen().await?;
    let first = server.issue();

    let endpoint = OAuth2::new(token_endpoint.url(), "importer")?.client_secret("secret");
    let tokens = TokenManager::builder(endpoint)
        .strategy(OnRequest::default())
        .seed(first)
        .origin(api.origin())
        .build()?;

    let http = reqwest::Client::new();
    for _ in 0..3 {
        let response = tokens.send(http.post(api.url()).body("a record")).await?;
        println!(
            "{}, after {} rotations",
            response.status(),
            server.rotations()
        );
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    tokens.shutdown().await?;
    Ok(())
}
