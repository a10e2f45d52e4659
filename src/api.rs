//! What is known of the API that a token is for: how the API rejects a token, where a request carries the token, and
//! which origins may get one.
//!
//! This module judges answers and prepares requests. It never sends a request and knows no manager, so that the rule
//! for rejected tokens (in the manager's `send`) works with any HTTP client.

mod body_prefix;
mod credential;
#[cfg(feature = "folio")]
mod folio;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, StatusCode};
use reqwest::Response;
use url::Url;

pub(crate) use self::credential::Channel;
pub use self::credential::Credential;
use crate::clock::{Clock, SystemClock};
use crate::endpoint::retry_after;
use crate::origin::Origins;

/// How an API and the gateway in front of it treat tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiProfile {
    reject_on: Vec<StatusCode>,
    by_text: Option<ByText>,
    pub(crate) unavailable_is_the_gateways: bool,
    /// Where a request carries the token, unless the builder names another place.
    channel: Channel,
    /// The other places that must not hold a token.
    excluded: &'static [Channel],
    /// The ends of the paths that are called without a token.
    tokenless: Vec<Cow<'static, str>>,
}

/// A rejection that differs from other answers of the same status by its plain text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByText {
    status: StatusCode,
    beginning: &'static str,
}

impl ApiProfile {
    /// Sets the statuses by which the API rejects a token. Default: 401 (RFC 6750 section 3.1).
    ///
    /// Some servers reject with a 403 (django-oauth-toolkit). Where a 403 also means "not permitted", leave 403 out:
    /// otherwise each such answer costs a rotation.
    #[must_use]
    pub fn reject_on(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.reject_on = statuses.into_iter().collect();
        self
    }

    /// Sets whether a 503 with `Retry-After` comes from a gateway that did not pass the request on. A request of any
    /// method is then sent once more. Default: `false`; only requests of idempotent methods (RFC 9110 section 9.2.2) are
    /// sent once more.
    #[must_use]
    pub fn gateway_unavailable(mut self, is_the_gateways: bool) -> Self {
        self.unavailable_is_the_gateways = is_the_gateways;
        self
    }

    /// Adds a path that is called without a token, and without waiting for a token: a path for users without a session,
    /// such as a sign-in. Default: none.
    ///
    /// `path` matches the end of a URL's path in whole segments: `/users/sign-in` also matches `/api/users/sign-in`, but
    /// not the paths below `/users/sign-in`.
    #[must_use]
    pub fn tokenless(mut self, path: impl AsRef<str>) -> Self {
        let path = path.as_ref().trim_matches('/');
        self.tokenless.push(format!("/{path}").into());
        self
    }

    /// Returns the answer unchanged, and whether the answer rejects the token.
    pub(crate) async fn judged<A: ApiAnswer + Send>(&self, answer: A) -> (A, bool) {
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

    /// Puts the token into `channel`, and clears the other places where the API looks for a token.
    fn authorize(&self, headers: &mut HeaderMap, channel: &Channel, value: HeaderValue) {
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

/// The API that a manager's tokens are for.
pub(crate) struct Api {
    pub(crate) origins: Origins,
    pub(crate) profile: ApiProfile,
    pub(crate) channel: Channel,
    /// Limits the warning of a proxy to one for each manager.
    pub(crate) proxy_warning: Once,
}

impl Api {
    /// An API of these origins. `channel` overrides the place that the profile names for the token.
    pub(crate) fn new(origins: Origins, profile: ApiProfile, channel: Option<Channel>) -> Self {
        Self {
            origins,
            channel: channel.unwrap_or_else(|| profile.channel.clone()),
            profile,
            proxy_warning: Once::new(),
        }
    }

    /// The API of a manager without origins. All such managers share one value.
    pub(crate) fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Api>> =
            LazyLock::new(|| Arc::new(Api::new(Origins::default(), ApiProfile::default(), None)));
        Arc::clone(&NONE)
    }

    /// Whether a request to this URL carries a token.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        let path = url.path().trim_end_matches('/');
        let mut tokenless = self.profile.tokenless.iter();
        self.origins.allow(url) && !tokenless.any(|end| path.ends_with(&**end))
    }
}

/// An answer of an API, as far as the rule for rejected tokens looks at it.
pub trait ApiAnswer: Sized {
    /// The status of the answer.
    fn status(&self) -> StatusCode;

    /// The headers of the answer.
    fn headers(&self) -> &HeaderMap;

    /// The URL that answered. Default: `None`, for a client that follows no redirects.
    fn url(&self) -> Option<&Url> {
        None
    }

    /// How long the server asks the client to wait before the next request (`Retry-After`, RFC 9110 section 10.2.3). The
    /// header holds a number of seconds, or a date that is read by the `Date` of the answer.
    fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers(), SystemClock.wall())
    }

    /// Returns the answer unchanged, and whether its body begins with `text`. Default: `false`.
    ///
    /// The manager calls this only for an API whose rejections differ from other answers of the same status by nothing
    /// but the text (Okapi).
    fn begins_with(self, text: &str) -> impl Future<Output = (Self, bool)> + Send
    where
        Self: Send,
    {
        let _ = text;
        async { (self, false) }
    }
}

/// An answer of a client that follows no redirects, such as hyper's. Wrap the answer in your own type if the client does
/// follow redirects, or if the API rejects tokens by text (Okapi).
impl<B> ApiAnswer for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

impl ApiAnswer for Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn url(&self) -> Option<&Url> {
        Some(self.url())
    }

    async fn begins_with(self, text: &str) -> (Self, bool) {
        body_prefix::begins_with(self, text).await
    }
}
