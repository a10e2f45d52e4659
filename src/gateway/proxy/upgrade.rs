//! A connection that goes on as a WebSocket: the bytes of both sides pass through.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// The only protocol that is passed on. Through another one, such as a second HTTP, requests would reach the API that no rule of the
/// gateway has seen.
const PROTOCOL: &str = "websocket";

/// Whether a request asks for it. Any other protocol is ignored, as RFC 9110 section 7.8 permits.
pub(super) fn asks(headers: &HeaderMap) -> bool {
    let protocol = headers.get(UPGRADE);
    protocol.is_some_and(|protocol| {
        protocol
            .as_bytes()
            .eq_ignore_ascii_case(PROTOCOL.as_bytes())
    })
}

/// Asks the API for it.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
}

/// Joins the two connections once the browser has the answer. The token counted for the handshake alone, so the connection lasts
/// until one of the two ends it.
pub(super) fn join(answer: reqwest::Response, browser: OnUpgrade) -> Response<reqwest::Body> {
    let mut response = Response::new(reqwest::Body::default());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    super::OF_ANSWER
        .iter()
        .for_each(|name| drop(response.headers_mut().remove(name)));
    tokio::spawn(async move {
        let (api, browser) = match (answer.upgrade().await, browser.await) {
            (Ok(api), Ok(browser)) => (api, browser),
            _ => return tracing::debug!("a connection was closed before its upgrade"),
        };
        let (mut api, mut browser) = (api, TokioIo::new(browser));
        if let Err(error) = copy_bidirectional(&mut browser, &mut api).await {
            tracing::debug!(%error, "a connection of another protocol broke off");
        }
    });
    response
}
