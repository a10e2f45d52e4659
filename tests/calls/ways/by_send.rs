//! `tokens.send(..)` with the user's own client.

use evertoken::TokenManager;
use reqwest::Client;

use super::{Answer, Call, Failure, Way};

#[derive(Clone)]
pub(crate) struct BySend {
    tokens: TokenManager,
    http: Client,
}

impl Way for BySend {
    fn new(tokens: &TokenManager) -> Self {
        Self {
            tokens: tokens.clone(),
            http: Client::new(),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        Ok(self.tokens.send(call.request(&self.http)).await?.into())
    }
}
