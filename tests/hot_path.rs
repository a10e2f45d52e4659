//! A token that is quiet costs one load and one comparison: no lock, no wait, no allocation.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{Error, TokenManager, TokenPair};
use futures_util::FutureExt;

async fn warm() -> Result<TokenManager, Box<dyn std::error::Error>> {
    let server = AuthorizationServer::builder().build();
    let pair = TokenPair::new("x".repeat(1_000)).expires_in(Duration::from_secs(3_600));
    let tokens = TokenManager::builder(server.endpoint())
        .seed(pair)
        .build()?;
    tokens.token().await?;
    Ok(tokens)
}

#[tokio::test]
async fn a_warm_authorization_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = warm().await?;
    // The first call of a thread deals it a copy of the header.
    tokens.authorization().await?;
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let header = tokens
                .authorization()
                .now_or_never()
                .expect("does not wait");
            assert!(header.is_ok_and(|header| header.len() == 1_007));
        }
    });
    assert_eq!(counted.count_total, 0);
    Ok(())
}

#[tokio::test]
async fn a_warm_token_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = warm().await?;
    let counted = allocation_counter::measure(|| {
        let token = tokens.token().now_or_never().expect("does not wait");
        assert!(token.is_ok_and(|token| token.expose().len() == 1_000));
        assert!(tokens.try_token().is_ok());
    });
    assert_eq!(counted.count_total, 0);
    Ok(())
}

/// The count is the counter's to make: it does see an allocation.
#[tokio::test]
async fn a_cold_authorization_is_seen_to_allocate() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = warm().await?;
    let counted = allocation_counter::measure(|| {
        let copied: Result<Vec<u8>, Error> = tokens
            .authorization()
            .now_or_never()
            .expect("does not wait")
            .map(|header| header.as_bytes().to_vec());
        assert!(copied.is_ok());
    });
    assert_eq!(counted.count_total, 1);
    Ok(())
}
