//! `tokens.call(..)` over a client that follows redirects to any host, and reports which URL answered.

use std::io;

use evertoken::{ApiAnswer, Credential, TokenManager};
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use url::Url;

use super::hyper::{Hyper, request};
use super::{Answer, Body, Call, Failure, Way};

#[derive(Clone)]
pub(crate) struct ByFollowingDriver {
    tokens: TokenManager,
    http: Hyper,
}

/// An answer, and the URL that answered.
struct Landed {
    response: Response<Incoming>,
    url: Url,
}

impl ApiAnswer for Landed {
    fn status(&self) -> StatusCode {
        self.response.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    fn url(&self) -> Option<&Url> {
        Some(&self.url)
    }
}

impl Way for ByFollowingDriver {
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
                follow(&self.http, call.clone(), credential)
            });
        Ok(answer.await?.response.into())
    }
}

/// Follows redirects as clients do (RFC 9110 section 15.4): the first redirect to another origin removes the token, and no
/// later redirect restores it.
async fn follow(http: &Hyper, mut call: Call, credential: Credential) -> io::Result<Landed> {
    let mut carries = true;
    for _ in 0..10 {
        let mut sent = request(&call);
        if carries {
            credential.put(sent.headers_mut());
        }
        assert_eq!(sent.headers().contains_key(AUTHORIZATION), {
            carries && credential.token().is_some()
        });
        let response = http.send(sent).await.map_err(io::Error::other)?;
        let location = response.headers().get(LOCATION);
        let Some(location) = location.filter(|_| response.status().is_redirection()) else {
            let url = call.url;
            return Ok(Landed { response, url });
        };
        let location = location.to_str().map_err(io::Error::other)?;
        let next = call.url.join(location).map_err(io::Error::other)?;
        carries &= next.origin() == call.url.origin();
        call.url = next;
        if !matches!(response.status().as_u16(), 307 | 308) {
            call.method = Method::GET;
            call.body = Body::Empty;
        }
    }
    Err(io::Error::other("too many redirects"))
}
