//! `tokens.call(..)` over reqwest, as in its documentation.

use evertoken::TokenManager;
use reqwest::Client;

use super::{Answer, Call, Failure, Way};

#[derive(Clone)]
pub(crate) struct ByCall {
    tokens: TokenManager,
    http: Client,
}

impl Way for ByCall {
    fn new(tokens: &TokenManager) -> Self {
        Self {
            tokens: tokens.clone(),
            http: Client::new(),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let method = call.method.clone();
        let answer = self.tokens.call(method, &call.url, |credential| {
            let request = call.request(&self.http).build();
            async move {
                let mut request = request?;
                credential.put(request.headers_mut());
                self.http.execute(request).await
            }
        });
        Ok(answer.await?.into())
    }
}
