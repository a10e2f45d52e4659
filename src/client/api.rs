#[cfg(feature = "folio")]
mod folio;

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, StatusCode};

use super::call::ApiAnswer;
use super::channel::Channel;

/// How an API behaves towards tokens, and what stands in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiProfile {
    reject_on: Vec<StatusCode>,
    by_text: Option<ByText>,
    unavailable_is_the_gateways: bool,
    /// Where the token is, if the builder does not say.
    channel: Channel,
    /// What must not hold a token beside that.
    excluded: &'static [Channel],
    /// How paths end that are called without a token.
    tokenless: Vec<Cow<'static, str>>,
}

/// A rejection that only its plain text tells from other answers of its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByText {
    status: StatusCode,
    beginning: &'static str,
}

impl ApiProfile {
    /// The statuses by which the API rejects a token. Default: 401 (RFC 6750 section 3.1). Some servers
    /// say 403 (django-oauth-toolkit); where 403 also means "not permitted", leave it out, or every such
    /// answer costs a rotation.
    #[must_use]
    pub fn reject_on(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.reject_on = statuses.into_iter().collect();
        self
    }

    /// A 503 with `Retry-After` comes from a gateway that did not pass the request on, so that any
    /// method may be sent once more. Default: no; then only idempotent methods (RFC 9110 section 9.2.2)
    /// are.
    #[must_use]
    pub fn gateway_unavailable(mut self, is_the_gateways: bool) -> Self {
        self.unavailable_is_the_gateways = is_the_gateways;
        self
    }

    /// One more path that is called as the request is, without waiting for a token and without putting one in: what
    /// users call who have no session, such as a sign-in. It is meant with whatever is in front of it (`/users/sign-in`
    /// is `/api/users/sign-in` too), in whole segments, and without what is below it. Default: none.
    #[must_use]
    pub fn tokenless(mut self, path: impl AsRef<str>) -> Self {
        let path = path.as_ref().trim_matches('/');
        self.tokenless.push(format!("/{path}").into());
        self
    }

    /// The answer as it was, and whether it rejects the token.
    pub(super) async fn judged<A: ApiAnswer + Send>(&self, answer: A) -> (A, bool) {
        let status = answer.status();
        if self.reject_on.contains(&status) {
            return (answer, true);
        }
        match self.by_text {
            Some(by) if by.status == status && is_plain_text(answer.headers()) => {
                answer.begins_with(by.beginning).await
            }
            _ => (answer, false),
        }
    }

    pub(super) fn unavailable_is_the_gateways(&self) -> bool {
        self.unavailable_is_the_gateways
    }

    /// Whether a request to this path is sent without a token.
    pub(super) fn is_tokenless(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.tokenless.iter().any(|end| path.ends_with(&**end))
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Puts the token into its channel, and takes others out of theirs.
    pub(super) fn authorize(&self, headers: &mut HeaderMap, channel: &Channel, value: HeaderValue) {
        for other in self.excluded {
            other.clear(headers);
        }
        channel.put(headers, value);
    }
}

impl Default for ApiProfile {
    fn default() -> Self {
        Self {
            reject_on: vec![StatusCode::UNAUTHORIZED],
            by_text: None,
            unavailable_is_the_gateways: false,
            channel: Channel::BEARER,
            excluded: &[],
            tokenless: Vec::new(),
        }
    }
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/plain"))
}
