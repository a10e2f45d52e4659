//! An upload that outlives its access tokens, and shares one login with every other process that runs it.
use evertoken::{FileStore, OAuth2, TokenManager, TokenPair};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let first = TokenPair::from_refresh_token(std::env::var("REFRESH_TOKEN")?);
    let tokens = TokenManager::builder(OAuth2::new("https://id.example.org/token", "uploader")?)
        .store(FileStore::new("login")?) // this directory is what the processes share
        .seed(first) // spent once; from then on, the pair in the store counts
        .origin("https://api.example.org") // the token goes nowhere else
        .build()?;
    let http = reqwest::Client::new();
    for number in 1..=100_000 {
        let record = http.put(format!("https://api.example.org/records/{number}"));
        tokens.send(record).await?.error_for_status()?; // adds a valid token, and waits out an outage
    }
    Ok(tokens.shutdown().await?)
}
