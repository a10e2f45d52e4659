//! hyper's client, which follows no redirects.

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;

use super::{Body, Call, frame};

type Sent = BoxBody<Bytes, std::convert::Infallible>;

#[derive(Clone)]
pub(super) struct Hyper(Client<HttpConnector, Sent>);

impl Hyper {
    pub(super) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    pub(super) async fn send(&self, request: Request<Sent>) -> Result<Response<Incoming>, Error> {
        self.0.request(request).await
    }
}

/// The boundary between the parts of a form.
const BOUNDARY: &str = "calls-boundary";

/// The call as a request of hyper, without a token.
pub(super) fn request(call: &Call) -> Request<Sent> {
    let request = Request::builder()
        .method(call.method.clone())
        .uri(call.url.as_str());
    let (request, body) = match &call.body {
        Body::Empty => (request, Empty::new().boxed()),
        Body::Text(text) => (request, Full::from(*text).boxed()),
        Body::Stream(parts) => {
            let frames = parts.iter().copied().map(frame);
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
