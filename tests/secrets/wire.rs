//! What goes over the wire in a scene, and which of the secrets did.

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{EndpointError, Grant, Issued, RefreshToken, SendWindow, TokenEndpoint};
use parking_lot::Mutex;

use crate::raw_server::Step;
use crate::{known, net};

static USED: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// The secret, which is used from here on.
pub(crate) fn using(secret: &'static str) -> &'static str {
    USED.lock().push(secret);
    secret
}

/// The names of those that no scene has used.
pub(crate) fn unused() -> Vec<&'static str> {
    let used = USED.lock();
    let all = known::ALL.into_iter();
    let unused = all.filter(|(_, secret)| !used.contains(secret));
    unused.map(|(name, _)| name).collect()
}

/// An answer with these headers, a line each, and this body, on a connection of its own.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> Step {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    Step::AnswerAndClose(answer.into())
}

/// A pair as an authorization server issues it.
pub(crate) fn pair(access: &str, refresh: &str) -> Step {
    let body = format!(
        r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":600,"token_type":"Bearer"}}"#
    );
    answer(200, &[], &body)
}

fn window() -> SendWindow {
    SendWindow::new(
        Arc::new(SystemClock),
        SystemClock.now() + Duration::from_secs(3_600),
    )
}

pub(crate) async fn refresh(
    endpoint: &impl TokenEndpoint,
    token: &str,
) -> Result<Issued, EndpointError> {
    let (token, window) = (RefreshToken::new(token), window());
    let grant = Grant::refresh(&token, &window);
    net::debug(&grant);
    endpoint.exchange(grant).await
}

pub(crate) async fn sign_in(endpoint: &impl TokenEndpoint) -> Result<Issued, EndpointError> {
    endpoint.exchange(Grant::sign_in(&window())).await
}
