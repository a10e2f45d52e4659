//! `tokens.client(..)`, whose redirects stay within the origins.

use evertoken::{TokenClient, TokenManager};
use reqwest::Client;

use super::{Answer, Call, Failure, Way};

#[derive(Clone)]
pub(crate) struct ByClient(TokenClient);

impl Way for ByClient {
    fn new(tokens: &TokenManager) -> Self {
        Self(tokens.client(Client::builder).unwrap())
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        Ok(self.0.send(call.request(self.0.http())).await?.into())
    }
}
