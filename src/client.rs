//! Sends a user's reqwest calls with a token, by the rule of [`call`].

mod api;
mod body_prefix;
mod call;
mod channel;
mod proxies;

use std::cell::Cell;

use http::{HeaderMap, Method};
use reqwest::{Client, ClientBuilder, Request, RequestBuilder, Response, StatusCode};
use url::Url;

pub use self::api::ApiProfile;
use self::call::{Answered, Asked, Attempt, Route};
pub use self::call::{ApiAnswer, CallError, Credential};
pub(crate) use self::channel::Channel;
use self::proxies::is_plain;
use crate::error::{BuildError, Error};
use crate::manager::TokenManager;

tokio::task_local! {
    /// What redirects a client of our own followed for the request that this task executes.
    static FOLLOWED: Cell<Followed>;
}

#[derive(Clone, Copy)]
enum Followed {
    None,
    /// The last one led to the same scheme, host and port as the request before it, or to another: reqwest takes
    /// `Authorization` and cookies off then.
    Last {
        is_same_host: bool,
    },
}

impl Followed {
    fn route(self, is_taken_off: bool) -> Route {
        match self {
            Self::None => Route::Straight,
            Self::Last { is_same_host } => Route::Redirected {
                // A header of one's own stays.
                carried: Some(is_same_host || !is_taken_off),
            },
        }
    }
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
        if self.allows(request.url()) && !self.calls().channel.is_taken_off() {
            return Err(Error::ForeignClient);
        }
        let asked = Asked::new(request.method().clone(), request.url());
        let attempt = OnForeign { client, request };
        Ok(self.drive(asked, attempt).await?)
    }

    /// A client of our own making, which follows redirects within the configured origins only, and
    /// returns the answer that leads elsewhere as it is. Needed where the token has a header of its own,
    /// which any other client would send along a redirect to anywhere.
    ///
    /// ```no_run
    /// # async fn example(tokens: evertoken::TokenManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let http = tokens.client(reqwest::Client::builder)?;
    /// http.send(http.http().get("https://api.example.org/records")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where an origin is a plain `http` one, which is on loopback, `builder` is asked for a second client, which goes there and
    /// through no proxy. The two have pools and cookies of their own, and the first follows no redirect from `https` to plain
    /// `http`.
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if reqwest cannot build it.
    pub fn client(&self, builder: impl Fn() -> ClientBuilder) -> Result<TokenClient, BuildError> {
        let plain = match self.calls().origins.any(is_plain) {
            true => Some(self.client_of(builder().no_proxy(), true)?),
            false => None,
        };
        Ok(TokenClient {
            http: self.client_of(builder(), false)?,
            plain,
            tokens: self.clone(),
        })
    }

    /// A client that follows redirects within the origins. One that may have proxies does not follow to where a token goes
    /// in the clear.
    fn client_of(&self, builder: ClientBuilder, takes_plain: bool) -> Result<Client, BuildError> {
        let origins = self.calls().origins.clone();
        let policy = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_LIMIT {
                attempt.error("too many redirects")
            } else if origins.allow(attempt.url()) && (takes_plain || !is_plain(attempt.url())) {
                // Without a request of ours nothing asks.
                let before = attempt.previous().last();
                let is_same_host = before.is_some_and(|before| {
                    before.scheme() == attempt.url().scheme()
                        && before.host_str() == attempt.url().host_str()
                        && before.port_or_known_default() == attempt.url().port_or_known_default()
                });
                let last = Followed::Last { is_same_host };
                let _ = FOLLOWED.try_with(|followed| followed.set(last));
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        Ok(builder.redirect(policy).build()?)
    }
}

impl From<CallError<reqwest::Error>> for Error {
    fn from(error: CallError<reqwest::Error>) -> Self {
        match error {
            CallError::Token(error) => error,
            CallError::Request(error) => error.into(),
        }
    }
}

impl ApiAnswer for Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn url(&self) -> Option<&Url> {
        Some(self.url())
    }

    async fn begins_with(self, text: &str) -> (Self, bool) {
        body_prefix::begins_with(self, text).await
    }
}

/// A request of a user's on a client that is not ours; it is sent again if its body can be cloned.
struct OnForeign {
    client: Client,
    request: Request,
}

impl Attempt for OnForeign {
    type Answer = Response;
    type Error = reqwest::Error;

    const IS_OURS: bool = false;

    async fn send(
        mut self,
        asked: &Asked,
        credential: Credential,
        keeps: bool,
    ) -> Result<Answered<Self>, CallError<reqwest::Error>> {
        let spare = if keeps {
            self.request.try_clone()
        } else {
            None
        };
        credential.put(self.request.headers_mut());
        let answer = self.client.execute(self.request).await;
        let answer = answer.map_err(CallError::Request)?;
        Ok(Answered {
            route: asked.route_to(Some(answer.url())),
            answer,
            next: spare.map(|request| Self {
                client: self.client,
                request,
            }),
        })
    }
}

/// The same on a client of ours.
struct OnOurs<'a> {
    client: &'a TokenClient,
    request: Request,
}

impl Attempt for OnOurs<'_> {
    type Answer = Response;
    type Error = reqwest::Error;

    const IS_OURS: bool = true;

    async fn send(
        mut self,
        _asked: &Asked,
        credential: Credential,
        keeps: bool,
    ) -> Result<Answered<Self>, CallError<reqwest::Error>> {
        let spare = if keeps {
            self.request.try_clone()
        } else {
            None
        };
        credential.put(self.request.headers_mut());
        let http = self.client.http_for(self.request.url());
        let (answer, route) = self.client.watched(http.execute(self.request)).await;
        Ok(Answered {
            answer: answer.map_err(CallError::Request)?,
            route,
            next: spare.map(|request| Self { request, ..self }),
        })
    }
}

/// A user's closure that sends with a client of ours.
struct ClosureOnOurs<'a, F> {
    client: &'a TokenClient,
    http: &'a Client,
    send: F,
}

impl<E, F, S> Attempt for ClosureOnOurs<'_, F>
where
    F: FnMut(Client, Credential) -> S,
    S: Future<Output = Result<Response, E>>,
{
    type Answer = Response;
    type Error = E;

    const IS_OURS: bool = true;

    async fn send(
        mut self,
        _asked: &Asked,
        credential: Credential,
        _keeps: bool,
    ) -> Result<Answered<Self>, CallError<E>> {
        let sending = (self.send)(self.http.clone(), credential);
        let (answer, route) = self.client.watched(sending).await;
        Ok(Answered {
            answer: answer.map_err(CallError::Request)?,
            route,
            next: Some(self),
        })
    }
}

/// A client whose redirects stay within the origins that may be given tokens.
#[derive(Debug, Clone)]
pub struct TokenClient {
    http: Client,
    /// For origins to which tokens go in the clear, which is loopback.
    plain: Option<Client>,
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
        let request = request?;
        let asked = Asked::new(request.method().clone(), request.url());
        let attempt = OnOurs {
            client: self,
            request,
        };
        Ok(self.tokens.drive(asked, attempt).await?)
    }

    /// As [`TokenManager::call`], with the client that is to send to `url`.
    ///
    /// # Errors
    ///
    /// As [`TokenManager::call`].
    pub async fn call<E, F, S>(
        &self,
        method: Method,
        url: &Url,
        send: F,
    ) -> Result<Response, CallError<E>>
    where
        F: FnMut(Client, Credential) -> S,
        S: Future<Output = Result<Response, E>>,
    {
        let attempt = ClosureOnOurs {
            client: self,
            http: self.http_for(url),
            send,
        };
        self.tokens.drive(Asked::new(method, url), attempt).await
    }

    /// What comes of a request, and the route of its answer.
    async fn watched<T>(&self, sending: impl Future<Output = T>) -> (T, Route) {
        let watched = async {
            let sent = sending.await;
            (sent, FOLLOWED.with(Cell::get))
        };
        let (sent, followed) = FOLLOWED.scope(Cell::new(Followed::None), watched).await;
        (
            sent,
            followed.route(self.tokens.calls().channel.is_taken_off()),
        )
    }

    /// The one without proxies, for what would carry a token in the clear.
    fn http_for(&self, url: &Url) -> &Client {
        let is_ours = is_plain(url) && self.tokens.calls().origins.allow(url);
        let plain = self.plain.as_ref().filter(|_| is_ours);
        plain.unwrap_or(&self.http)
    }
}
