//! A hand-written loop with `allows()`, `token()`, `accepted()` and `reject()`.
//!
//! The client follows no redirects: a loop sees only the last answer of a redirect, so the loop cannot know whether the
//! token reached the server that rejected it.

use evertoken::TokenManager;
use http::StatusCode;
use http::header::AUTHORIZATION;
use reqwest::Client;
use reqwest::redirect::Policy;

use super::{Answer, Call, Failure, Way};

#[derive(Clone)]
pub(crate) struct ByHand {
    tokens: TokenManager,
    http: Client,
}

impl Way for ByHand {
    fn new(tokens: &TokenManager) -> Self {
        Self {
            tokens: tokens.clone(),
            http: Client::builder().redirect(Policy::none()).build().unwrap(),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let tokens = &self.tokens;
        if !tokens.allows(&call.url) {
            return Ok(call.request(&self.http).send().await?.into());
        }
        let mut token = tokens.token().await?;
        let mut is_repeated = false;
        loop {
            let request = call.request(&self.http);
            let request = request.header(AUTHORIZATION, token.authorization()?);
            let response = request.send().await?;
            if response.status().is_success() {
                tokens.accepted(&token);
            }
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response.into());
            }
            tokens.reject(&token);
            if is_repeated {
                return Ok(response.into());
            }
            let next = tokens.token().await?;
            // The manager serves the rejected token on if another token would not help.
            if next.pair_id() == token.pair_id() {
                return Ok(response.into());
            }
            token = next;
            is_repeated = true;
        }
    }
}
