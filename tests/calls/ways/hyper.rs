//! The ways over hyper's client, which follows no redirects.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use evertoken::{ApiAnswer, Credential, TokenManager};
use futures_util::stream;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use url::Url;

use super::{Answer, Body, Call, Failure, Way};

type Sent = BoxBody<Bytes, Infallible>;

#[derive(Clone)]
struct Hyper(Client<HttpConnector, Sent>);

impl Hyper {
    fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    async fn send(&self, request: Request<Sent>) -> Result<Response<Incoming>, Error> {
        self.0.request(request).await
    }
}

/// The boundary between the parts of a form.
const BOUNDARY: &str = "calls-boundary";

/// The call as a request of hyper, without a token.
fn request(call: &Call) -> Request<Sent> {
    let request = Request::builder()
        .method(call.method.clone())
        .uri(call.url.as_str());
    let (request, body) = match &call.body {
        Body::Empty => (request, Empty::new().boxed()),
        Body::Text(text) => (request, Full::from(*text).boxed()),
        Body::Stream(parts) => {
            let frames = parts
                .iter()
                .map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
            (request, StreamBody::new(stream::iter(frames)).boxed())
        }
        Body::Form(file) => {
            let form = format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{file}\r\n--{BOUNDARY}--\r\n"
            );
            let kind = format!("multipart/form-data; boundary={BOUNDARY}");
            (
                request.header("content-type", kind),
                Full::from(form).boxed(),
            )
        }
    };
    request.body(body).unwrap()
}

/// `tokens.call(..)` over hyper's client, which follows no redirects.
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

/// `tokens.call(..)` over a client that follows redirects to any host, and reports which URL answered.
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
