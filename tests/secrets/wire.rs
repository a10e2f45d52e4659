//! The traffic of a scene, and the secrets that reached a peer.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use evertoken::{EndpointError, Grant, Issued, RefreshToken, TokenEndpoint};
use parking_lot::Mutex;

use crate::exchanges::{HOUR, window};
use crate::raw_server::{RawServer, Request, Step};
use crate::{known, net};

static USED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Marks each secret in this text as used: a server received the secret, the crate read it from an answer, or user code
/// was called with it. A scene that only writes a secret down does not test the secret.
pub(crate) fn reached(text: &str) {
    let all = known::ALL.into_iter();
    let seen = all.filter(|(_, secret)| known::forms(secret).iter().any(|it| text.contains(it)));
    USED.lock().extend(seen.map(|(name, _)| name));
}

/// The names of the secrets that no scene has used.
pub(crate) fn unused() -> Vec<&'static str> {
    let used = USED.lock();
    let all = known::ALL.into_iter().map(|(name, _)| name);
    all.filter(|name| !used.contains(name)).collect()
}

/// A server that records which secrets it received, and which of its answers were requested.
pub(crate) struct Server {
    inner: RawServer,
    answers: Vec<String>,
}

impl Server {
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = Vec::from_iter(steps);
        let answers = steps.iter().map(|step| match step {
            Step::Answer(bytes) | Step::AnswerAndClose(bytes) | Step::Stall(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Step::Close => String::new(),
        });
        Self {
            answers: answers.collect(),
            inner: RawServer::start(steps).await,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.inner.url(path)
    }

    /// Ends the server and returns all requests. Secrets in the requests and in the sent answers count as used.
    pub(crate) async fn end(self) -> Vec<Request> {
        let requests = self.inner.requests().await;
        // Each request gets one answer, in their order.
        self.answers[..requests.len().min(self.answers.len())]
            .iter()
            .for_each(|answer| reached(answer));
        for request in &requests {
            reached(request.line());
            reached(request.body());
            for name in ["authorization", "cookie", "x-okapi-token"] {
                let value = request.header(name).unwrap_or_default();
                reached(value);
                let basic = value.strip_prefix("Basic ").unwrap_or_default();
                let decoded = BASE64_STANDARD.decode(basic).expect("RFC 7617");
                reached(&String::from_utf8_lossy(&decoded));
            }
        }
        requests
    }
}

/// An answer with these headers (one per line) and this body, on a connection of its own.
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

pub(crate) async fn refresh(
    endpoint: &impl TokenEndpoint,
    token: &str,
) -> Result<Issued, EndpointError> {
    let (token, window) = (RefreshToken::new(token), window(HOUR));
    let grant = Grant::refresh(&token, &window);
    net::debug(&grant);
    endpoint.exchange(grant).await
}
