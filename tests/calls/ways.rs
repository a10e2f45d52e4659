//! The ways to call an API with a token, each behind one trait.

mod hyper;

use std::convert::Infallible;

use evertoken::{TokenClient, TokenManager};
use futures_util::stream;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use reqwest::multipart::Form;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use url::Url;

pub(crate) use self::hyper::{ByDriver, ByFollowingDriver};

/// A way to call an API.
pub(crate) trait Way: Clone + Send + Sync + 'static {
    /// A way that takes its tokens from this manager.
    fn new(tokens: &TokenManager) -> Self;

    /// Sends the call, with a token if its URL gets one, and returns the answer.
    fn call(&self, call: Call) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// The status of the answer to the call.
    fn status(&self, call: Call) -> impl Future<Output = u16> + Send {
        async { self.call(call).await.unwrap().status }
    }
}

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The answer to a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

/// A call of an API.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Empty,
    Text(&'static str),
    /// A stream of these parts, which a client reads once.
    Stream(&'static [&'static str]),
    /// A multipart form with this file.
    Form(&'static str),
}

impl Call {
    pub(crate) fn get(url: impl AsRef<str>) -> Self {
        Self::new(Method::GET, url, Body::Empty)
    }

    pub(crate) fn post(url: impl AsRef<str>) -> Self {
        Self::new(Method::POST, url, Body::Text("record"))
    }

    pub(crate) fn new(method: Method, url: impl AsRef<str>, body: Body) -> Self {
        let url = url.as_ref().parse().unwrap();
        Self { method, url, body }
    }

    /// The call as a request of reqwest.
    fn request(&self, http: &Client) -> RequestBuilder {
        let request = http.request(self.method.clone(), self.url.clone());
        match &self.body {
            Body::Empty => request,
            Body::Text(text) => request.body(*text),
            Body::Stream(parts) => {
                let parts = parts.iter().copied();
                let parts = stream::iter(parts.map(Ok::<_, Infallible>));
                request.body(reqwest::Body::wrap_stream(parts))
            }
            Body::Form(file) => request.multipart(Form::new().text("file", *file)),
        }
    }
}

impl From<reqwest::Response> for Answer {
    fn from(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
        }
    }
}

impl<B> From<http::Response<B>> for Answer {
    fn from(response: http::Response<B>) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
        }
    }
}

/// `tokens.send(..)` with the user's own client.
#[derive(Clone)]
pub(crate) struct BySend {
    tokens: TokenManager,
    http: Client,
}

impl Way for BySend {
    fn new(tokens: &TokenManager) -> Self {
        Self {
            tokens: tokens.clone(),
            http: Client::new(),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        Ok(self.tokens.send(call.request(&self.http)).await?.into())
    }
}

/// `tokens.client(..)`, whose redirects stay within the origins.
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

/// `tokens.call(..)` over reqwest, as in its documentation.
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

/// A hand-written loop with `allows()`, `token()`, `accepted()` and `reject()`.
///
/// The client follows no redirects: a loop sees only the last answer of a redirect, so the loop cannot know whether the
/// token reached the server that rejected it.
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

/// Makes tests of cases for any way (`async fn case<W: Way>()`): one test for each way that is named.
macro_rules! ways {
    (#[$test:meta] $case:ident: $($name:ident $way:ident),+) => {
        mod $case {
            $(
                #[$test]
                async fn $name() {
                    super::$case::<crate::ways::$way>().await;
                }
            )+
        }
    };
    (#[$test:meta] every way: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! {
                #[$test]
                $case: by_send BySend, by_client ByClient, by_call ByCall, by_driver ByDriver,
                    by_following_driver ByFollowingDriver, by_hand ByHand
            }
        )+
    };
    // The crate applies the rule in these ways.
    (#[$test:meta] ready ways: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! {
                #[$test]
                $case: by_send BySend, by_client ByClient, by_call ByCall, by_driver ByDriver,
                    by_following_driver ByFollowingDriver
            }
        )+
    };
    // These ways build the request anew for each attempt.
    (#[$test:meta] building ways: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! {
                #[$test]
                $case: by_call ByCall, by_driver ByDriver, by_following_driver ByFollowingDriver,
                    by_hand ByHand
            }
        )+
    };
    // These ways get a request that is already built.
    (#[$test:meta] given ways: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! { #[$test] $case: by_send BySend, by_client ByClient }
        )+
    };
    (#[$test:meta] ways without redirects: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! { #[$test] $case: by_driver ByDriver, by_hand ByHand }
        )+
    };
    (#[$test:meta] ways that follow redirects within origins: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! {
                #[$test]
                $case: by_send BySend, by_client ByClient, by_call ByCall,
                    by_following_driver ByFollowingDriver
            }
        )+
    };
    (#[$test:meta] ways that follow redirects to anywhere: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! {
                #[$test]
                $case: by_send BySend, by_call ByCall, by_following_driver ByFollowingDriver
            }
        )+
    };
    (#[$test:meta] ways that stay within origins: $($case:ident),+ $(,)?) => {
        $(
            crate::ways::ways! {
                #[$test]
                $case: by_client ByClient, by_driver ByDriver, by_hand ByHand
            }
        )+
    };
}
pub(crate) use ways;
