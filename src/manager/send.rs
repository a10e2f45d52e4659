//! Sends one request with a token, through any HTTP client. The rule for rejected tokens is here and nowhere else.
//!
//! A retry policy of HTTP middleware asks whether a request failed. This module asks what an answer proves. A rejection
//! proves that the API did not act on the request, so the request may be sent once more with another token. A redirect,
//! a reset or a 500 proves nothing, so the caller gets it. A token goes to the configured origins only, and a rejection
//! counts only if it comes from the origin that got the token.

mod client;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;

pub use self::client::TokenClient;
use super::TokenManager;
use crate::api::{ApiAnswer, Credential};
use crate::endpoint::retry_after;
use crate::error::Error;
use crate::origin::may_be_proxied;
use crate::snapshot::Token;
use crate::state::Rejection;

/// The reason why a call returned no answer of the API. `CallError<E>` is an error if `E` is one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The manager has no token for the request, and the request was not sent.
    #[error(transparent)]
    Token(Error),
    /// The caller's request could not be built or sent, or got no answer.
    #[error("the caller's request could not be built or sent, or got no answer")]
    Request(#[source] E),
}

impl From<CallError<reqwest::Error>> for Error {
    fn from(error: CallError<reqwest::Error>) -> Self {
        match error {
            CallError::Token(error) => error,
            CallError::Request(error) => error.into(),
        }
    }
}

/// The way from a request to its answer.
enum Route {
    Straight,
    /// A redirect came first. The value is whether the last request carried the token; `None` if that is not known.
    Redirected(Option<bool>),
}

/// A request that can be sent.
pub(crate) trait Attempt: Sized {
    type Answer: ApiAnswer + Send;
    type Error;

    /// Sends the request. With `keeps`, also returns the next attempt, unless the request cannot be sent again.
    async fn send(
        self,
        credential: Credential,
        keeps: bool,
    ) -> Result<(Self::Answer, Option<Self>), Self::Error>;
}

/// The method and the URL of a request.
pub(crate) struct Asked {
    method: Method,
    /// The URL without its fragment, user name and password, which no request line carries.
    url: Url,
}

impl Asked {
    pub(crate) fn new(method: Method, url: &Url) -> Self {
        let mut url = url.clone();
        url.set_fragment(None);
        // Both calls fail for a URL that has neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self { method, url }
    }

    /// The route of an answer, for a client that reports only the URL that answered. A redirect to the same URL goes
    /// unnoticed.
    fn route_to(&self, answered: Option<&Url>) -> Route {
        let is_same = answered.is_none_or(|answered| {
            let mut answered = Self::new(Method::GET, answered).url;
            // The client may have added the query.
            if self.url.query().is_none() {
                answered.set_query(None);
            }
            answered == self.url
        });
        match is_same {
            true => Route::Straight,
            false => Route::Redirected(None),
        }
    }

    /// Whether a rejection proves that the API did not act on the request. After a redirect, another server has answered
    /// first, so only a safe method may be sent again.
    fn may_be_repeated(&self, route: &Route) -> bool {
        matches!(route, Route::Straight) || self.method.is_safe()
    }
}

/// Whether the token reached the server that answered.
#[derive(Clone, Copy, PartialEq)]
enum Reached {
    Yes,
    /// The answer came through redirects that end in the same origin. If the redirects left the origin in between, the
    /// client has removed the token.
    Perhaps,
    No,
}

impl TokenManager {
    /// Calls an API with a valid access token, through any HTTP client.
    ///
    /// `send` builds and sends one request with the given [credential](Credential). `send` runs anew for each request, so a
    /// stream or a multipart form can be sent again. `url` is the URL to which `send` sends.
    ///
    /// If the API rejects the token (see [`ApiProfile`](crate::ApiProfile)), the manager rotates the token and `send` runs
    /// once more. After a 503 with `Retry-After`, the manager waits and `send` runs once more, as far as the profile permits.
    /// Every other answer is returned unchanged, and so is a second answer of the same kind.
    ///
    /// A URL outside the configured [origins](crate::Builder::origin) is called without a token, and so is a path that the
    /// profile names as [tokenless](crate::ApiProfile::tokenless).
    ///
    /// **The HTTP client follows redirects by its own rules.** A client that follows a redirect must not carry the token to
    /// another origin. reqwest removes `Authorization` and cookies at such a redirect, but restores them when the other host
    /// redirects within itself; reqwest carries a token in any other header everywhere. So use a client that follows no
    /// redirects, or [`TokenClient::call`](crate::TokenClient::call), which never leaves the origins. The answers of a client
    /// that follows redirects must report the URL that answered ([`ApiAnswer::url`]).
    ///
    /// ```no_run
    /// use evertoken::{CallError, TokenManager};
    /// use http::Method;
    ///
    /// # async fn example(tokens: TokenManager, file: Vec<u8>) -> Result<(), CallError<reqwest::Error>> {
    /// let policy = reqwest::redirect::Policy::none();
    /// let http = reqwest::Client::builder().redirect(policy).build().expect("a client");
    /// let url = "https://api.example.org/files".parse().expect("a URL");
    /// let answer = tokens
    ///     .call(Method::POST, &url, |credential| {
    ///         // Each attempt builds its own request.
    ///         let request = http.post(url.clone()).body(file.clone()).build();
    ///         let http = &http;
    ///         async move {
    ///             let mut request = request?;
    ///             credential.put(request.headers_mut());
    ///             http.execute(request).await
    ///         }
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError::Token`] as [`token`](Self::token), and [`CallError::Request`] with the error of `send`.
    pub async fn call<A, E, F, S>(
        &self,
        method: Method,
        url: &Url,
        send: F,
    ) -> Result<A, CallError<E>>
    where
        A: ApiAnswer + Send,
        F: FnMut(Credential) -> S,
        S: Future<Output = Result<A, E>>,
    {
        self.drive(Asked::new(method, url), None, Closure(send))
            .await
    }

    /// Whether a request to this URL gets a token: its origin is configured, and its path is not
    /// [tokenless](crate::ApiProfile::tokenless).
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        self.api().allows(url)
    }

    /// Reports that an API accepted this token. Needed only by a caller that uses neither [`send`](Self::send) nor
    /// [`call`](Self::call).
    ///
    /// The manager replaces a token at once if the token is rejected after it was accepted. Without this report,
    /// rejections in quick succession look like an API that rejects every token, and growing pauses follow.
    pub fn accepted(&self, token: &Token) {
        self.session.accept(token);
    }

    /// Sends a request by the rule of [`call`](Self::call). `ours` is the client of this crate that sends the request;
    /// `None` if a client of the caller does.
    pub(crate) async fn drive<T: Attempt>(
        &self,
        asked: Asked,
        ours: Option<&TokenClient>,
        mut attempt: T,
    ) -> Result<T::Answer, CallError<T::Error>> {
        let asked = &asked;
        if !self.allows(&asked.url) {
            let sent = attempt.send(self.credential(None)?, false).await;
            return sent.map(|(answer, _)| answer).map_err(CallError::Request);
        }
        if ours.is_none() && may_be_proxied(&asked.url) {
            self.warn_of_proxies(&asked.url);
        }
        let mut may_replay = true;
        let mut may_wait = true;
        let mut token = self.token().await.map_err(CallError::Token)?;
        loop {
            let credential = self.credential(Some(&token))?;
            let keeps = may_replay || may_wait;
            let sending = attempt.send(credential, keeps);
            let (sent, watched) = match ours {
                Some(client) => client.watched(sending).await,
                None => (sending.await, None),
            };
            let (answer, next) = sent.map_err(CallError::Request)?;
            let route = watched.unwrap_or_else(|| asked.route_to(answer.url()));
            let reached = self.reached(asked, &route, answer.url());
            let (answer, rejected) = match reached {
                Reached::No => (answer, false),
                _ => self.api().profile.judged(answer).await,
            };
            if rejected {
                if reached == Reached::Perhaps && !self.session.counts_behind_redirect(&token) {
                    return Ok(answer);
                }
                let next = next.filter(|_| may_replay && asked.may_be_repeated(&route));
                let newer = self.after_rejection(&token, reached, next.is_some()).await;
                let (Some(next), Some(newer)) = (next, newer.map_err(CallError::Token)?) else {
                    return Ok(answer);
                };
                (attempt, token) = (next, newer);
                may_replay = false;
                continue;
            }
            if answer.status().is_success() && reached != Reached::No {
                self.session.accept(&token);
                if reached == Reached::Perhaps {
                    self.session.lock().accepted_behind_redirect();
                }
            }
            let pause = self.pause(asked, &route, &answer);
            let (Some(pause), Some(next)) = (pause, next.filter(|_| may_wait)) else {
                return Ok(answer);
            };
            super::with_timer(&self.session.shared, || tokio::time::sleep(pause)).await;
            token = self.token().await.map_err(CallError::Token)?;
            attempt = next;
            may_wait = false;
        }
    }

    fn credential<E>(&self, token: Option<&Token>) -> Result<Credential, CallError<E>> {
        let given = token.map(|token| Ok((token.clone(), token.authorization()?)));
        let given = given.transpose().map_err(CallError::Token)?;
        Ok(Credential::new(Arc::clone(self.api()), given))
    }

    /// Warns once that a client of the caller may send a token for loopback through a proxy. Such a client reveals neither
    /// its proxies nor that it has none.
    fn warn_of_proxies(&self, url: &Url) {
        let key = &self.session.key;
        self.api().proxy_warning.call_once(|| {
            tracing::warn!(
                %key,
                "a token for {host} may go through a proxy of the environment: name {host} in NO_PROXY, or send through \
                 TokenManager::client",
                host = url.host_str().unwrap_or_default()
            );
        });
    }

    /// Whether the token reached the server that answered. A client removes `Authorization` and cookies when a redirect
    /// leads to another origin; any other header stays.
    fn reached(&self, asked: &Asked, route: &Route, answered: Option<&Url>) -> Reached {
        let is_within = answered.is_none_or(|url| self.api().origins.allow(url));
        let is_removable = self.api().channel.is_taken_off();
        let is_same_origin = answered.is_some_and(|url| url.origin() == asked.url.origin());
        let reached = match route {
            Route::Straight | Route::Redirected(Some(true)) => Reached::Yes,
            Route::Redirected(None) if is_removable && is_same_origin => Reached::Perhaps,
            Route::Redirected(None) if !is_removable && is_within => Reached::Yes,
            Route::Redirected(_) => Reached::No,
        };
        if reached == Reached::No && !is_within {
            tracing::warn!(
                key = %self.session.key,
                "a redirect led a request with a token to another origin; send through \
                 TokenManager::client to keep redirects within the origins"
            );
        }
        reached
    }

    /// Reports the rejection of the token. With `replay`, waits for the token of the next attempt. Returns `None` if the
    /// caller gets the answer.
    async fn after_rejection(
        &self,
        token: &Token,
        reached: Reached,
        replay: bool,
    ) -> Result<Option<Token>, Error> {
        let rejection = self.reject(token);
        if reached == Reached::Perhaps && rejection == Rejection::Rotating {
            self.session.rejected_behind_redirect(token);
        }
        let may_replay = match rejection {
            Rejection::Outdated | Rejection::Rotating | Rejection::Ended => replay,
            Rejection::TooSoon | Rejection::NotRotatable => false,
        };
        if !may_replay {
            return Ok(None);
        }
        let next = self.token().await?;
        Ok((next.pair_id() != token.pair_id()).then_some(next))
    }

    /// The wait before the request is sent once more; `None` unless the answer asks for a wait and the request may be sent
    /// again.
    fn pause(&self, asked: &Asked, route: &Route, answer: &impl ApiAnswer) -> Option<Duration> {
        let is_asked = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        let may_repeat =
            asked.method.is_idempotent() || self.api().profile.unavailable_is_the_gateways;
        if !is_asked || !may_repeat || !matches!(route, Route::Straight) {
            return None;
        }
        let pause = retry_after(answer.headers(), self.session.wall());
        pause.filter(|pause| *pause <= self.session.settings().wait)
    }
}

/// A closure of the caller, which builds each request anew.
struct Closure<F>(F);

impl<A, E, F, S> Attempt for Closure<F>
where
    A: ApiAnswer + Send,
    F: FnMut(Credential) -> S,
    S: Future<Output = Result<A, E>>,
{
    type Answer = A;
    type Error = E;

    async fn send(mut self, credential: Credential, _keeps: bool) -> Result<(A, Option<Self>), E> {
        let answer = (self.0)(credential).await?;
        Ok((answer, Some(self)))
    }
}
