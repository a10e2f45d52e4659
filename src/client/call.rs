//! One call of an API with a token, whatever the HTTP client: the rule for rejected tokens is here, and nowhere else.
//!
//! A retry policy of HTTP middleware asks "did it fail?". Here the question is what the answer proves:
//! a rejection proves that the request was not acted upon, so it may be sent once more with another
//! token; a redirect, a reset or a 500 proves nothing, so it is the caller's. A token goes to the
//! configured origins only, and a rejection counts only from the origin that the token was sent to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use crate::clock::{Clock, SystemClock};
use crate::endpoint::retry_after;
use crate::error::Error;
use crate::manager::{Calls, TokenManager};
use crate::snapshot::Token;
use crate::state::Rejection;

/// An answer of an API, as far as the rule for rejected tokens has to look at it.
pub trait ApiAnswer: Sized {
    /// Its status.
    fn status(&self) -> StatusCode;

    /// Its headers.
    fn headers(&self) -> &HeaderMap;

    /// The URL that answered. Default: `None`, for a client that follows no redirects.
    fn url(&self) -> Option<&Url> {
        None
    }

    /// How long to wait before the next request, where it says so (`Retry-After`, RFC 9110 section 10.2.3): in seconds, or
    /// as a date by the answer's own `Date`.
    fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers(), SystemClock.wall())
    }

    /// Whether its body begins with this text, and the answer as it was. Asked only where an API tells a rejection from
    /// other answers of its status by nothing but the text (Okapi). Default: no.
    fn begins_with(self, text: &str) -> impl Future<Output = (Self, bool)> + Send
    where
        Self: Send,
    {
        let _ = text;
        async { (self, false) }
    }
}

/// Of a client that follows no redirects, such as hyper's. Where an API tells a rejection by its text (Okapi), or the client
/// does follow redirects, wrap the answer in a type of your own.
impl<B> ApiAnswer for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

/// Why a call brought no answer. It is an error if `E` is one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// There is no token.
    #[error(transparent)]
    Token(Error),
    /// The request could not be built or sent.
    #[error("the request failed")]
    Request(#[source] E),
}

/// What a request is sent with: the token, or nothing where its URL gets none.
#[derive(Clone)]
pub struct Credential {
    calls: Arc<Calls>,
    given: Option<(Token, HeaderValue)>,
}

impl Credential {
    /// The token; `None` where the request is to be sent without one.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.given.as_ref().map(|(token, _)| token)
    }

    /// Puts the token where the API looks for it, in the place of whatever is there: `Authorization: Bearer` (RFC 6750
    /// section 2.1), or what the [profile](crate::ApiProfile) or the builder says. Does nothing where there is none.
    pub fn put(&self, headers: &mut HeaderMap) {
        if let Some((_, value)) = &self.given {
            let Calls { api, channel, .. } = &*self.calls;
            api.authorize(headers, channel, value.clone());
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}

/// How a request got to where it was answered.
pub(super) enum Route {
    Straight,
    /// Something else had answered first. `carried` says whether the request that was answered in the end had the token,
    /// where that is known.
    Redirected {
        carried: Option<bool>,
    },
}

/// A request that is sent once.
pub(super) trait Attempt: Sized {
    type Answer: ApiAnswer + Send;
    type Error;

    /// Whether the client is one of this crate's making.
    const IS_OURS: bool;

    /// Sends it. `keeps` asks for the next attempt, which is there if the request can be sent again.
    async fn send(
        self,
        asked: &Asked,
        credential: Credential,
        keeps: bool,
    ) -> Result<Answered<Self>, CallError<Self::Error>>;
}

/// What came of an attempt.
pub(super) struct Answered<T: Attempt> {
    pub(super) answer: T::Answer,
    pub(super) route: Route,
    pub(super) next: Option<T>,
}

/// What is asked.
pub(super) struct Asked {
    pub(super) method: Method,
    /// Without what is not sent: its fragment, a user name and a password.
    url: Url,
}

impl Asked {
    pub(super) fn new(method: Method, url: &Url) -> Self {
        let mut url = url.clone();
        url.set_fragment(None);
        // These fail where there is nothing to be taken away.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self { method, url }
    }

    /// The route of an answer of a client that tells nothing but which URL answered. A redirect to the same URL looks like
    /// none.
    pub(super) fn route_to(&self, answered: Option<&Url>) -> Route {
        let is_same = answered.is_none_or(|answered| {
            let mut answered = Self::new(Method::GET, answered).url;
            // A client may have added it.
            if self.url.query().is_none() {
                answered.set_query(None);
            }
            answered == self.url
        });
        match is_same {
            true => Route::Straight,
            false => Route::Redirected { carried: None },
        }
    }

    /// Whether a rejection proves that the request was not acted upon. After a redirect, something else
    /// had answered first.
    fn may_be_repeated(&self, route: &Route) -> bool {
        matches!(route, Route::Straight) || self.method.is_safe()
    }
}

/// Whether a token came to what answered.
#[derive(Clone, Copy, PartialEq)]
enum Reached {
    Yes,
    /// Behind a redirect within the origin, which may have led elsewhere in between: a client takes the token off then.
    Perhaps,
    No,
}

impl TokenManager {
    /// Calls an API with a valid access token, on any HTTP client. `send` builds and sends the request, with the
    /// [credential](Credential) that it is given: each time anew, so that a stream or a multipart form can be sent again as
    /// well.
    ///
    /// If the API rejects the token (see [`ApiProfile`](crate::ApiProfile)), the token is rotated and the request sent once
    /// more. A 503 with `Retry-After` is waited for and the request sent once more, as the profile permits. Every other
    /// answer is returned as it is, and so is that to a request that was sent again for the same reason.
    ///
    /// `url` is the one that `send` sends to. Outside the configured [origins](crate::Builder::origin) it is called without
    /// a token, and so is a path that the profile says needs none.
    ///
    /// **Redirects are the client's own.** One that follows them must not take the token to another origin: reqwest takes
    /// `Authorization` and cookies off then, and puts them on again when that host redirects within itself; a token in a
    /// header of its own it takes anywhere. So use a client that follows none, or
    /// [`TokenClient::call`](crate::TokenClient::call), which never leaves the origins. The answers of a client that does
    /// follow have to say which URL answered ([`ApiAnswer::url`]).
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
    ///         // Built anew for each attempt.
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
        self.drive(Asked::new(method, url), Closure(send)).await
    }

    /// Whether a request to this URL is given a token: its origin is configured, and its path is none that is called
    /// without.
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        self.calls().origins.allow(url) && !self.calls().api.is_tokenless(url.path())
    }

    /// Says that an API accepted this token, for those who use neither [`send`](Self::send) nor [`call`](Self::call). A
    /// token that was accepted before it is rejected is replaced at once; without this, rejections soon after
    /// each other look like an API that rejects every token, and are followed by growing pauses.
    pub fn accepted(&self, token: &Token) {
        self.session.accept(token);
    }

    pub(super) async fn drive<T: Attempt>(
        &self,
        asked: Asked,
        mut attempt: T,
    ) -> Result<T::Answer, CallError<T::Error>> {
        let asked = &asked;
        if !self.allows(&asked.url) {
            let answered = attempt.send(asked, self.credential(None)?, false).await?;
            return Ok(answered.answer);
        }
        if !T::IS_OURS {
            self.warn_of_proxies(&asked.url);
        }
        let mut may_replay = true;
        let mut may_wait = true;
        let mut token = self.token().await.map_err(CallError::Token)?;
        loop {
            let credential = self.credential(Some(&token))?;
            let keeps = may_replay || may_wait;
            let answered = attempt.send(asked, credential, keeps).await?;
            let Answered {
                answer,
                route,
                next,
            } = answered;
            let reached = self.reached(asked, &route, answer.url());
            let (answer, rejected) = match reached {
                Reached::No => (answer, false),
                _ => self.calls().api.judged(answer).await,
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
            if reached != Reached::No && answer.status().is_success() {
                self.session.accept(&token);
            }
            if reached == Reached::Perhaps && answer.status().is_success() {
                self.session.accepted_behind_redirect();
            }
            let pause = self.pause(asked, &route, &answer);
            let (Some(pause), Some(next)) = (pause, next.filter(|_| may_wait)) else {
                return Ok(answer);
            };
            self.sleep(pause).await;
            token = self.token().await.map_err(CallError::Token)?;
            attempt = next;
            may_wait = false;
        }
    }

    /// Whatever executor the caller is on.
    async fn sleep(&self, pause: Duration) {
        let sleep = {
            let runtime = &self.session.shared.runtime;
            let _entered = Handle::try_current().is_err().then(|| runtime.enter());
            tokio::time::sleep(pause)
        };
        sleep.await;
    }

    fn credential<E>(&self, token: Option<&Token>) -> Result<Credential, CallError<E>> {
        let given = token.map(|token| Ok((token.clone(), token.authorization()?)));
        Ok(Credential {
            calls: Arc::clone(self.calls()),
            given: given.transpose().map_err(CallError::Token)?,
        })
    }

    /// Whether the token came to what answered. A client takes `Authorization` and cookies off along a redirect to another
    /// origin; a header of one's own stays.
    fn reached(&self, asked: &Asked, route: &Route, answered: Option<&Url>) -> Reached {
        let is_within = answered.is_none_or(|url| self.calls().origins.allow(url));
        let reached = match route {
            Route::Straight
            | Route::Redirected {
                carried: Some(true),
            } => Reached::Yes,
            Route::Redirected {
                carried: Some(false),
            } => Reached::No,
            Route::Redirected { carried: None } if self.calls().channel.is_taken_off() => {
                match answered.is_some_and(|url| url.origin() == asked.url.origin()) {
                    true => Reached::Perhaps,
                    false => Reached::No,
                }
            }
            Route::Redirected { carried: None } => match is_within {
                true => Reached::Yes,
                false => Reached::No,
            },
        };
        if reached == Reached::No && !is_within {
            tracing::warn!(
                key = %self.session.key,
                "a request with a token was redirected to another origin; send through \
                 TokenManager::client to keep redirects within the origins"
            );
        }
        reached
    }

    /// Tells that the token was rejected. With `replay`, waits for the one to send next; `None` if the
    /// answer is to be returned.
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
        match rejection {
            Rejection::Outdated | Rejection::Rotating | Rejection::Ended if !replay => Ok(None),
            Rejection::Outdated | Rejection::Rotating | Rejection::Ended => {
                let next = self.token().await?;
                Ok((next.pair_id() != token.pair_id()).then_some(next))
            }
            Rejection::TooSoon | Rejection::NotRotatable => Ok(None),
        }
    }

    /// How long to wait before the request is sent once more, if the answer asks for that and the
    /// request may be.
    fn pause(&self, asked: &Asked, route: &Route, answer: &impl ApiAnswer) -> Option<Duration> {
        if answer.status() != StatusCode::SERVICE_UNAVAILABLE || !matches!(route, Route::Straight) {
            return None;
        }
        if !asked.method.is_idempotent() && !self.calls().api.unavailable_is_the_gateways() {
            return None;
        }
        let session = &self.session;
        retry_after(answer.headers(), session.wall())
            .filter(|pause| *pause <= session.settings().wait)
    }
}

/// A user's closure, which builds each request anew.
struct Closure<F>(F);

impl<A, E, F, S> Attempt for Closure<F>
where
    A: ApiAnswer + Send,
    F: FnMut(Credential) -> S,
    S: Future<Output = Result<A, E>>,
{
    type Answer = A;
    type Error = E;

    const IS_OURS: bool = false;

    async fn send(
        mut self,
        asked: &Asked,
        credential: Credential,
        _keeps: bool,
    ) -> Result<Answered<Self>, CallError<E>> {
        let answer = (self.0)(credential).await.map_err(CallError::Request)?;
        Ok(Answered {
            route: asked.route_to(answer.url()),
            answer,
            next: Some(self),
        })
    }
}
