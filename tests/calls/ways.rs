//! The ways to call an API with a token, each behind one trait.

mod by_call;
mod by_client;
mod by_driver;
mod by_following_driver;
mod by_hand;
mod by_send;
mod hyper;

use std::convert::Infallible;

use bytes::Bytes;
use evertoken::TokenManager;
use futures_util::stream;
use http::{HeaderMap, Method};
use reqwest::multipart::Form;
use reqwest::{Client, RequestBuilder};
use url::Url;

pub(crate) use self::by_call::ByCall;
pub(crate) use self::by_client::ByClient;
pub(crate) use self::by_driver::ByDriver;
pub(crate) use self::by_following_driver::ByFollowingDriver;
pub(crate) use self::by_hand::ByHand;
pub(crate) use self::by_send::BySend;

/// A way to call an API.
pub(crate) trait Way: Clone + Send + Sync + 'static {
    /// A way that takes its tokens from this manager.
    fn new(tokens: &TokenManager) -> Self;

    /// Sends the call, with a token if its URL gets one, and returns the answer.
    fn call(&self, call: Call) -> impl Future<Output = Result<Answer, Failure>> + Send;
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

/// A part of a stream for hyper.
fn frame(part: &'static str) -> Result<http_body::Frame<Bytes>, Infallible> {
    Ok(http_body::Frame::data(Bytes::from_static(part.as_bytes())))
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
