//! Sends a user's reqwest calls with a token, and replays the one that found it rejected. It never
//! replays anything else.
//!
//! A retry policy of HTTP middleware asks "did it fail?". Here the question is what the answer proves:
//! a rejection proves that the request was not acted upon, so it may be sent once more with another
//! token; a redirect, a reset or a 500 proves nothing, so it is the caller's. A token goes to the
//! configured origins only, and a rejection counts only from the origin that the token was sent to.

mod api;
mod channel;
mod peek;

use std::cell::Cell;
use std::time::Duration;

use http::{HeaderValue, Method};
use reqwest::{Client, ClientBuilder, Request, RequestBuilder, Response};
use url::Url;

pub use self::api::ApiProfile;
pub(crate) use self::channel::Channel;
use crate::endpoint::retry_after;
use crate::error::{BuildError, Error};
use crate::manager::TokenManager;
use crate::served::Token;
use crate::state::Rejection;

tokio::task_local! {
    /// Whether a client of our own followed a redirect for the request that this task executes.
    static FOLLOWED: Cell<bool>;
}

/// As many redirects as reqwest follows by itself.
const REDIRECTS_LIMIT: usize = 10;

impl TokenManager {
    /// Sends a request with a valid access token.
    ///
    /// If the API rejects the token (see [`ApiProfile`]), the token is rotated and the request sent once
    /// more, provided that its body can be cloned; a streaming body is sent once, and the next request
    /// has the new token. A 503 with `Retry-After` is waited for and the request sent once more, as the
    /// profile permits. Every other answer is returned as it is, and so is the answer to the second
    /// request.
    ///
    /// A URL outside the configured [origins](crate::Builder::origin) is called without a token, and so
    /// is a path that the profile says needs none. A value that the request already has in the token's
    /// header is replaced; of its cookies, the one that is the token's.
    ///
    /// **Redirects are the client's own.** reqwest takes the token off when it follows one to another
    /// host, but puts it on again when that host redirects within itself (seen in 0.13.5). Where the API
    /// may redirect to hosts that must not see the token, send through [`client`](Self::client), which
    /// never leaves the origins.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token), and [`Error::Request`] if the request could not be built or sent.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let (client, request) = request.build_split();
        let request = request?;
        if !self.calls.channel.is_taken_off() && self.takes_token(request.url()) {
            return Err(Error::ForeignClient);
        }
        self.send_on(&client, request).await
    }

    /// A client of our own making, which follows redirects within the configured origins only, and
    /// returns the answer that leads elsewhere as it is. Needed where the token has a header of its own,
    /// which any other client would send along a redirect to anywhere.
    ///
    /// ```no_run
    /// # async fn example(tokens: evertoken::TokenManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let http = tokens.client(reqwest::Client::builder())?;
    /// http.send(http.http().get("https://api.example.org/records")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if reqwest cannot build it.
    pub fn client(&self, builder: ClientBuilder) -> Result<TokenClient, BuildError> {
        let origins = self.calls.origins.clone();
        let policy = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_LIMIT {
                attempt.error("too many redirects")
            } else if origins.allow(attempt.url()) {
                // Without a request of ours there is nobody to tell.
                let _ = FOLLOWED.try_with(|followed| followed.set(true));
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let http = builder.redirect(policy).build()?;
        Ok(TokenClient {
            http,
            tokens: self.clone(),
        })
    }

    async fn send_on(&self, client: &Client, mut request: Request) -> Result<Response, Error> {
        if !self.takes_token(request.url()) {
            return Ok(client.execute(request).await?);
        }
        let mut may_replay = true;
        let mut may_wait = true;
        let mut token = self.token().await?;
        loop {
            let spare = if may_replay || may_wait {
                request.try_clone()
            } else {
                None
            };
            let exchange = Exchange::of(&request);
            self.authorize(&mut request, &token)?;
            let (response, followed) = FOLLOWED
                .scope(Cell::new(false), async {
                    let response = client.execute(request).await;
                    (response, FOLLOWED.with(Cell::get))
                })
                .await;
            let response = response?;
            let exchange = exchange.judged(&response, followed);
            let reached = self.token_reached(&exchange, response.url());
            if !reached && !self.calls.origins.allow(response.url()) {
                tracing::warn!(
                    key = %self.session.key,
                    "a request with a token was redirected to another origin; send through \
                     TokenManager::client to keep redirects within the origins"
                );
            }
            let (response, rejected) = match reached {
                true => self.calls.api.judged(response).await,
                false => (response, false),
            };
            if rejected {
                let spare = spare.filter(|_| may_replay && exchange.may_be_repeated());
                let next = self.after_rejection(&token, spare.is_some()).await?;
                let (Some(spare), Some(next)) = (spare, next) else {
                    return Ok(response);
                };
                request = spare;
                token = next;
                may_replay = false;
                continue;
            }
            if reached && response.status().is_success() {
                self.session.accept(&token);
            }
            match (self.pause(&exchange, &response), spare) {
                (Some(pause), Some(spare)) if may_wait => {
                    tokio::time::sleep(pause).await;
                    request = spare;
                    token = self.token().await?;
                    may_wait = false;
                }
                _ => return Ok(response),
            }
        }
    }

    fn authorize(&self, request: &mut Request, token: &Token) -> Result<(), Error> {
        let value: HeaderValue = token.authorization()?;
        let calls = &self.calls;
        calls
            .api
            .authorize(request.headers_mut(), &calls.channel, value);
        Ok(())
    }

    fn takes_token(&self, url: &Url) -> bool {
        self.calls.origins.allow(url) && !self.calls.api.is_tokenless(url.path())
    }

    /// Whether the token came to the URL that answered. reqwest takes `Authorization` and cookies off
    /// along a redirect to another origin; a header of one's own stays, and our client follows within
    /// the configured ones.
    fn token_reached(&self, exchange: &Exchange, answered: &Url) -> bool {
        if self.calls.channel.is_taken_off() {
            answered.origin() == exchange.url.origin()
        } else {
            self.calls.origins.allow(answered)
        }
    }

    /// Tells that the token was rejected. With `replay`, waits for the one to send next; `None` if the
    /// answer is to be returned.
    async fn after_rejection(&self, token: &Token, replay: bool) -> Result<Option<Token>, Error> {
        match self.reject(token) {
            Rejection::Outdated | Rejection::Rotating | Rejection::Ended if !replay => Ok(None),
            Rejection::Outdated | Rejection::Rotating | Rejection::Ended => {
                let next = self.token().await?;
                Ok((next.identity() != token.identity()).then_some(next))
            }
            Rejection::TooSoon | Rejection::NotRotatable => Ok(None),
        }
    }

    /// How long to wait before the request is sent once more, if the answer asks for that and the
    /// request may be.
    fn pause(&self, exchange: &Exchange, response: &Response) -> Option<Duration> {
        if response.status() != http::StatusCode::SERVICE_UNAVAILABLE || exchange.was_redirected {
            return None;
        }
        if !exchange.method.is_idempotent() && !self.calls.api.unavailable_is_the_gateways() {
            return None;
        }
        let session = &self.session;
        retry_after(response.headers(), session.wall())
            .filter(|pause| *pause <= session.settings().wait)
    }
}

/// What was asked, for judging the answer.
struct Exchange {
    method: Method,
    /// Without its fragment.
    url: Url,
    /// Whether something else answered first. Of another client than ours only the URLs can tell, so
    /// there a redirect to the same URL looks like none.
    was_redirected: bool,
}

impl Exchange {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            url: without_fragment(request.url()),
            was_redirected: false,
        }
    }

    fn judged(self, response: &Response, followed: bool) -> Self {
        Self {
            was_redirected: followed || without_fragment(response.url()) != self.url,
            ..self
        }
    }

    /// Whether a rejection proves that the request was not acted upon. After a redirect, something else
    /// had answered first.
    fn may_be_repeated(&self) -> bool {
        !self.was_redirected || self.method.is_safe()
    }
}

/// A fragment is not sent, and the URL of an answer has lost it.
fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

/// A client whose redirects stay within the origins that may be given tokens.
#[derive(Debug, Clone)]
pub struct TokenClient {
    http: Client,
    tokens: TokenManager,
}

impl TokenClient {
    /// The client to build requests with. Sent by itself, it adds no token.
    #[must_use]
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// As [`TokenManager::send`], on this client, whichever client the request was built with.
    ///
    /// # Errors
    ///
    /// As [`TokenManager::send`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let (_, request) = request.build_split();
        self.tokens.send_on(&self.http, request?).await
    }
}
