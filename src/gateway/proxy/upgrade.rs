//! A connection that goes on in another protocol, such as a WebSocket: the bytes of both sides pass through.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Asks the API for the protocol that the browser asked for.
pub(super) fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
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
