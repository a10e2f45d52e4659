//! What is known of the API that a token is for: how the API rejects a token, where a request carries the token, and
//! which origins may get one.
//!
//! This module judges answers and prepares requests. It never sends a request and knows no manager, so that the rule
//! for rejected tokens (in the manager's `send`) works with any HTTP client.

mod credential;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Once};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use reqwest::{Response, ResponseBuilderExt};
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

/// The places from which FOLIO reads tokens. FOLIO refuses a request with different tokens in two of these places, so a
/// request carries one token. The cookie of the refresh token is for the login service alone.
#[cfg(feature = "folio")]
static CHANNELS: [Channel; 4] = [
    OKAPI_TOKEN,
    Channel::BEARER,
    Channel::Cookie(Cow::Borrowed("folioAccessToken")),
    Channel::Cookie(Cow::Borrowed("folioRefreshToken")),
];
#[cfg(feature = "folio")]
const OKAPI_TOKEN: Channel = Channel::Header(http::HeaderName::from_static("x-okapi-token"));

/// The ends of the paths that need no token, bring their own token, or take the refresh token's cookie. A request to one
/// of these paths must not wait for a token: the request may be the one that brings the token.
#[cfg(feature = "folio")]
const TOKENLESS: &[&str] = &[
    "/authn/login",
    "/authn/login-with-expiry",
    "/authn/logout",
    "/authn/logout-all",
    "/authn/refresh",
    "/authn/token",
    "/bl-users/forgotten/password",
    "/bl-users/forgotten/username",
    "/bl-users/login",
    "/bl-users/login-with-expiry",
    "/bl-users/password-reset",
    "/bl-users/password-reset/reset",
    "/bl-users/password-reset/validate",
    "/saml/check",
    "/saml/login",
];

/// The same for the paths that only Eureka has.
#[cfg(feature = "folio")]
const TOKENLESS_IN_EUREKA: &[&str] = &[
    "/users-keycloak/forgotten/password",
    "/users-keycloak/forgotten/username",
    "/users-keycloak/password-reset",
    "/users-keycloak/password-reset/reset",
    "/users-keycloak/password-reset/validate",
];

#[cfg(feature = "folio")]
impl ApiProfile {
    /// The profile of FOLIO's interfaces behind Okapi.
    ///
    /// A 401 rejects the token, and so does a 400 whose text begins with `Token missing`: Okapi has dropped a token that
    /// the request carried. The token is sent as `X-Okapi-Token`, unless [`Builder::header`](crate::Builder::header) or
    /// [`Builder::cookie`](crate::Builder::cookie) names another place (`Authorization`, or the cookie
    /// `folioAccessToken`); every other token is removed from the request. Requests of a user without a session (login,
    /// forgotten password or user name, password reset, the check for SAML) and requests to the login service are sent
    /// unchanged.
    #[must_use]
    pub fn okapi() -> Self {
        Self {
            by_text: Some(ByText {
                status: StatusCode::BAD_REQUEST,
                beginning: "Token missing",
            }),
            channel: OKAPI_TOKEN,
            excluded: &CHANNELS,
            tokenless: TOKENLESS.iter().copied().map(Cow::Borrowed).collect(),
            ..Self::default()
        }
    }

    /// The profile of FOLIO's interfaces in Eureka.
    ///
    /// This is [`okapi`](Self::okapi) with two additions. A 503 with `Retry-After` comes from the gateway, which did not
    /// pass the request on. Paths such as `/users-keycloak/forgotten/password` are called without a token as well.
    #[must_use]
    pub fn eureka() -> Self {
        let mut profile = Self::okapi().gateway_unavailable(true);
        let own = TOKENLESS_IN_EUREKA.iter().copied();
        profile.tokenless.extend(own.map(Cow::Borrowed));
        profile
    }
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/plain"))
}

/// The API that a manager's tokens are for.
#[derive(Debug)]
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
        body_begins_with(self, text).await
    }
}

/// Returns the answer, and whether its body begins with `text`. Reads only as many frames as the comparison needs.
async fn body_begins_with(response: Response, text: &str) -> (Response, bool) {
    let url = response.url().clone();
    let (mut head, mut rest) = http::Response::from(response).into_parts();
    let mut read = VecDeque::new();
    let mut missing = text.as_bytes();
    while !missing.is_empty()
        && let Some(frame) = rest.frame().await
    {
        // A frame of trailers has no data.
        let seen = frame.as_ref().map(|it| it.data_ref().cloned());
        let seen = seen.map(Option::unwrap_or_default).ok();
        read.push_back(frame);
        let Some(seen) = seen else { break };
        let common = seen.len().min(missing.len());
        if seen[..common] != missing[..common] {
            break;
        }
        missing = &missing[common..];
    }
    let begins = missing.is_empty();
    let body = reqwest::Body::wrap(Replayed { read, rest });
    // reqwest accepts a URL through the extensions of a builder only.
    let mut built = http::Response::builder().url(url);
    if let Some(extensions) = built.extensions_mut() {
        head.extensions.extend(std::mem::take(extensions));
    }
    let response = http::Response::from_parts(head, body);
    (Response::from(response), begins)
}

/// A body that replays the frames that were read, and continues with the rest.
struct Replayed {
    read: VecDeque<Result<Frame<Bytes>, reqwest::Error>>,
    rest: reqwest::Body,
}

impl Body for Replayed {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Poll::Ready(ready!(Pin::new(&mut self.rest).poll_frame(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().flatten();
        let read: usize = read.filter_map(Frame::data_ref).map(Bytes::len).sum();
        let (read, rest) = (read as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}
