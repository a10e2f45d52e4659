//! Passes requests of a browser on to an API: the token on, the cookies off.
//!
//! What the API answers reaches the browser unchanged but for what is between two neighbours, and for what would reach into the
//! gateway's own origin: cookies, and the clearing of them.

mod passed;
mod upgrade;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Body;
use reqwest::redirect::Policy;
use tower_service::Service;
use url::Url;

use self::passed::{PassedBody, Passing};
use super::Gateway;
use super::error::GatewayError;
use super::visit::Visit;
use crate::build_error::BuildError;
use crate::endpoint::tls;
use crate::manager::Asked;
use crate::origin::{is_plain, private_url};
use crate::sessions::Presentation;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a connection to the API may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The fields that hold between two neighbours alone (RFC 9110 section 7.6.1).
static OF_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The fields of a request that the gateway does not pass on, besides those of the connection. A browser may write what it wants
/// into `Forwarded` and the like, which an API may believe.
static OF_REQUEST: [HeaderName; 10] = [
    AUTHORIZATION,
    COOKIE,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// The fields of an answer that the gateway does not pass on.
static OF_ANSWER: [HeaderName; 2] = [SET_COOKIE, HeaderName::from_static("clear-site-data")];

/// Passes requests on to an API, see [`Gateway::proxy`](super::Gateway::proxy).
#[derive(Debug, Clone)]
pub struct Proxy {
    upstream: Url,
    http: reqwest::Client,
}

impl Proxy {
    pub(super) fn new(gateway: &Gateway, upstream: &str) -> Result<Self, BuildError> {
        let invalid = |problem: &str| BuildError::invalid("upstream", problem);
        let upstream = private_url("upstream", upstream)?;
        if upstream.query().is_some() || upstream.fragment().is_some() {
            return Err(invalid("must have neither a query nor a fragment"));
        }
        let api = &gateway.shared.sessions.group().shared.api;
        if !api.origins.allow(&upstream) {
            return Err(invalid(
                "is not at an origin that may get tokens; add its origin to those of the sessions",
            ));
        }
        if !is_plain(&upstream) && !tls::is_there() {
            return Err(BuildError::NoTls);
        }
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if is_plain(&upstream) {
            http = http.no_proxy();
        }
        let http = http.build()?;
        Ok(Self { upstream, http })
    }

    /// The URL of a request at the API; `None` if its path leads out of the API's.
    fn target(&self, uri: &Uri) -> Option<Url> {
        let base = self.upstream.path().trim_end_matches('/');
        let mut url = self.upstream.clone();
        // Removes `.` and `..`, also where they are encoded.
        url.set_path(&format!("{base}{}", uri.path()));
        url.set_query(uri.query());
        let rest = url.path().strip_prefix(base)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(url)
    }

    async fn pass<B>(
        &self,
        mut request: Request<B>,
        presentation: &Presentation,
    ) -> Result<Response<reqwest::Body>, GatewayError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // The one answers with the request's fields, the token among them, and the other has no path.
        if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
            let allowed = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
            return Err(GatewayError::MethodNotAllowed { allowed });
        }
        let url = self.target(request.uri()).ok_or(GatewayError::NotFound)?;
        let asks = upgrade::asks(request.headers());
        let upgrade = asks.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        remove_connection(&mut headers);
        OF_REQUEST
            .iter()
            .for_each(|name| drop(headers.remove(name)));
        if asks {
            upgrade::ask(&mut headers);
        }
        let body = PassedBody::read(body).await.map_err(broken)?;
        let asked = Asked::new(parts.method.clone(), &url);
        let passing = Passing {
            http: self.http.clone(),
            method: parts.method,
            url,
            headers,
            body,
        };
        let answer = presentation.tokens().drive(asked, None, passing).await?;
        let mut response = match upgrade {
            Some(browser) if answer.status() == http::StatusCode::SWITCHING_PROTOCOLS => {
                return Ok(upgrade::join(answer, browser));
            }
            _ => Response::<reqwest::Body>::from(answer),
        };
        let headers = response.headers_mut();
        remove_connection(headers);
        OF_ANSWER.iter().for_each(|name| drop(headers.remove(name)));
        Ok(response)
    }
}

/// The browser's body broke off, so nothing was sent, or not all of it.
fn broken(source: BoxError) -> GatewayError {
    tracing::debug!(%source, "the body of a browser's request broke off");
    GatewayError::BodyBrokeOff
}

/// Removes the fields of one connection, and those that it names.
fn remove_connection(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter();
    let named: Vec<HeaderName> = named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
    OF_CONNECTION
        .iter()
        .for_each(|name| drop(headers.remove(name)));
}

impl<B> Service<Request<B>> for Proxy
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<reqwest::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let proxy = self.clone();
        let visit = request.extensions().get::<Arc<Visit>>().cloned();
        Box::pin(async move {
            let passed = async {
                let visit = visit.ok_or(GatewayError::NoLayer)?;
                let presentation = visit.presentation().await?;
                proxy.pass(request, presentation).await
            };
            Ok(passed.await.unwrap_or_else(|error| error.to_response()))
        })
    }
}
