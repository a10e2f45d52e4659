//! Sends reqwest requests with a token, by the rule of [`TokenManager::call`]: on a client of the caller, or on a client
//! whose redirects never leave the origins.

use std::cell::Cell;

use http::Method;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Request, RequestBuilder, Response};
use url::Url;

use super::{Asked, Attempt, CallError, Closure, Route};
use crate::api::Credential;
use crate::build_error::BuildError;
use crate::endpoint::tls;
use crate::error::Error;
use crate::manager::TokenManager;
use crate::origin::is_plain;

tokio::task_local! {
    /// Whether the last redirect of the request that this task executes kept the scheme, the host and the port; `None`
    /// before the first redirect. At a redirect to another host, reqwest has removed `Authorization` and cookies.
    static KEPT_HOST: Cell<Option<bool>>;
}

/// The number of redirects that reqwest follows by default.
const REDIRECTS_LIMIT: usize = 10;

impl TokenManager {
    /// Sends a request with a valid access token.
    ///
    /// If the API rejects the token (see [`ApiProfile`](crate::ApiProfile)), the manager rotates the token and sends the
    /// request once more, provided that the body can be cloned. A request with a streaming body is sent once; the next
    /// request has the new token. After a 503 with `Retry-After`, the manager waits and sends the request once more, as
    /// far as the profile permits. Every other answer is returned unchanged, and so is the answer to the second request.
    ///
    /// A URL outside the configured [origins](crate::Builder::origin) is called without a token, and so is a path that
    /// the profile names as [tokenless](crate::ApiProfile::tokenless). The token replaces any value that the request
    /// already has in the token's header, or in the token's cookie.
    ///
    /// **The HTTP client follows redirects by its own rules.** reqwest removes the token when a redirect leads to another
    /// host, but restores the token when that host redirects within itself (seen in 0.13.5). If the API may redirect to
    /// hosts that must not see the token, send through [`client`](Self::client), which never leaves the origins.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token), [`Error::Request`] if the request could not be built or sent, and [`Error::NoTls`] for an
    /// `https` URL if reqwest was built without TLS.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let (client, request) = request.build_split();
        let request = request?;
        if self.allows(request.url()) {
            if !is_plain(request.url()) && !tls::is_there() {
                return Err(Error::NoTls);
            }
            if !self.api().channel.is_taken_off() {
                return Err(Error::ForeignClient);
            }
        }
        Ok(self.send_on(client, None, request).await?)
    }

    /// Makes a client that follows redirects within the configured origins only, and returns an answer that leads
    /// elsewhere unchanged. Such a client is required if the token has a header other than `Authorization`: any other
    /// client would carry that header along every redirect.
    ///
    /// ```no_run
    /// # async fn example(tokens: evertoken::TokenManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let http = tokens.client(reqwest::Client::builder)?;
    /// http.send(http.http().get("https://api.example.org/records")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If an origin is plain `http`, which only loopback may be, `builder` is called a second time. That second client
    /// sends to the plain origins and uses no proxy. The two clients have separate pools and cookies, and the first
    /// follows no redirect from `https` to plain `http`.
    ///
    /// # Errors
    ///
    /// [`BuildError::Client`] if reqwest cannot build the client, and [`BuildError::NoTls`] for an `https` origin if reqwest
    /// was built without TLS.
    pub fn client(&self, builder: impl Fn() -> ClientBuilder) -> Result<TokenClient, BuildError> {
        let origins = &self.api().origins;
        if origins.any(|url| !is_plain(url)) && !tls::is_there() {
            return Err(BuildError::NoTls);
        }
        let has_plain = origins.any(is_plain);
        let plain = has_plain.then(|| self.client_of(builder().no_proxy(), true));
        Ok(TokenClient {
            http: self.client_of(builder(), false)?,
            plain: plain.transpose()?,
            tokens: self.clone(),
        })
    }

    /// A client that follows redirects within the origins. A client that may have proxies does not follow a redirect to a
    /// URL where the token would travel in the clear.
    fn client_of(&self, builder: ClientBuilder, takes_plain: bool) -> Result<Client, BuildError> {
        let origins = self.api().origins.clone();
        let policy = Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_LIMIT {
                return attempt.error("too many redirects");
            }
            if !origins.allow(attempt.url()) || (is_plain(attempt.url()) && !takes_plain) {
                return attempt.stop();
            }
            let before = attempt.previous().last();
            let is_same_host = before.is_some_and(|url| url.origin() == attempt.url().origin());
            // Fails for a request that the caller sends without this crate, which needs no record.
            let _ = KEPT_HOST.try_with(|kept| kept.set(Some(is_same_host)));
            attempt.follow()
        });
        Ok(builder.redirect(policy).build()?)
    }

    async fn send_on(
        &self,
        client: Client,
        ours: Option<&TokenClient>,
        request: Request,
    ) -> Result<Response, CallError<reqwest::Error>> {
        let asked = Asked::new(request.method().clone(), request.url());
        self.drive(asked, ours, Built { client, request }).await
    }
}

/// A request that is built. Another attempt needs a clone of the request.
struct Built {
    client: Client,
    request: Request,
}

impl Attempt for Built {
    type Answer = Response;
    type Error = reqwest::Error;

    async fn send(
        mut self,
        credential: Credential,
        keeps: bool,
    ) -> Result<(Response, Option<Self>), reqwest::Error> {
        let spare = keeps.then(|| self.request.try_clone()).flatten();
        credential.put(self.request.headers_mut());
        let answer = self.client.execute(self.request).await?;
        let client = self.client;
        Ok((answer, spare.map(|request| Self { client, request })))
    }
}

/// A reqwest client whose redirects stay within the origins that may get tokens.
#[derive(Debug, Clone)]
pub struct TokenClient {
    http: Client,
    /// The client for origins to which a token travels in the clear, which is loopback.
    plain: Option<Client>,
    tokens: TokenManager,
}

impl TokenClient {
    /// The client to build requests with. A request that is sent without [`send`](Self::send) gets no token.
    #[must_use]
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// As [`TokenManager::send`], on this client, whichever client built the request.
    ///
    /// # Errors
    ///
    /// As [`TokenManager::send`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let (_, request) = request.build_split();
        let request = request?;
        let client = self.http_for(request.url()).clone();
        Ok(self.tokens.send_on(client, Some(self), request).await?)
    }

    /// As [`TokenManager::call`]. `send` also gets the client that is to send to `url`.
    ///
    /// # Errors
    ///
    /// As [`TokenManager::call`].
    pub async fn call<E, F, S>(
        &self,
        method: Method,
        url: &Url,
        mut send: F,
    ) -> Result<Response, CallError<E>>
    where
        F: FnMut(Client, Credential) -> S,
        S: Future<Output = Result<Response, E>>,
    {
        let http = self.http_for(url);
        let attempt = Closure(|credential| send(http.clone(), credential));
        let asked = Asked::new(method, url);
        self.tokens.drive(asked, Some(self), attempt).await
    }

    /// The outcome of a request, and the route of its answer.
    pub(super) async fn watched<T>(&self, sending: impl Future<Output = T>) -> (T, Option<Route>) {
        let watched = async {
            let sent = sending.await;
            (sent, KEPT_HOST.with(Cell::get))
        };
        let (sent, kept_host) = KEPT_HOST.scope(Cell::new(None), watched).await;
        let is_removable = self.tokens.api().channel.is_taken_off();
        let route = kept_host.map_or(Route::Straight, |kept_host| {
            Route::Redirected(Some(kept_host || !is_removable))
        });
        (sent, Some(route))
    }

    /// The client for this URL: the one without proxies if the token would travel in the clear.
    fn http_for(&self, url: &Url) -> &Client {
        let is_ours = is_plain(url) && self.tokens.api().origins.allow(url);
        let plain = self.plain.as_ref().filter(|_| is_ours);
        plain.unwrap_or(&self.http)
    }
}
