//! `tokens.call(..)` over hyper's client, which follows no redirects.

use evertoken::TokenManager;

use super::hyper::{Hyper, request};
use super::{Answer, Call, Failure, Way};

#[derive(Clone)]
pub(crate) struct ByDriver {
    tokens: TokenManager,
    http: Hyper,
}

impl Way for ByDriver {
    fn new(tokens: &TokenManager) -> Self {
        Self {
            tokens: tokens.clone(),
            http: Hyper::new(),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let answer = self
            .tokens
            .call(call.method.clone(), &call.url, |credential| {
                let mut request = request(&call);
                credential.put(request.headers_mut());
                self.http.send(request)
            });
        Ok(answer.await?.into())
    }
}
