//! The end of a login: a session begins, and the browser gets its cookies.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::Gateway;
use super::content::{Content, Held};
use super::cookie::{LONGEST_VALUE, Tag};
use super::error::{GatewayError, NO_STORE};
use super::session_routes::CLEAR_SITE_DATA;
use crate::clock::Clock as _;
use crate::sessions::{self, SessionId};
use crate::token::TokenPair;

/// What a browser has loaded ahead is for the user before: it would be shown after the next click.
const LOADED_AHEAD: HeaderValue = HeaderValue::from_static("\"prefetchCache\", \"prerenderCache\"");

/// The future of [`Gateway::sign_in`].
#[must_use = "the user is signed in when this was awaited, and the response has the cookies"]
pub struct SignIn {
    gateway: Gateway,
    sign_in: sessions::SignIn,
    /// The length of both tokens in bytes.
    tokens: usize,
    /// The cookies of the request, which are those of earlier sign-ins. Behind the layer there are none, and the layer deletes
    /// them.
    request: HeaderMap,
}

impl SignIn {
    pub(super) fn new(gateway: &Gateway, request: &HeaderMap, pair: TokenPair) -> Self {
        let access = pair.access.as_ref().map_or(0, |token| token.expose().len());
        let refresh = pair
            .refresh
            .as_ref()
            .map_or(0, |token| token.expose().len());
        let sign_in = gateway.shared.sessions.sign_in(pair);
        let sign_in = match &gateway.shared.policy {
            Some(policy) => sign_in.policy(policy),
            None => sign_in,
        };
        let mut cookies = HeaderMap::new();
        for field in request.get_all(http::header::COOKIE) {
            cookies.append(http::header::COOKIE, field.clone());
        }
        Self {
            gateway: gateway.clone(),
            sign_in,
            tokens: access + refresh,
            request: cookies,
        }
    }

    /// Names the provider's session and user, as [`SignIn::upstream`](crate::SignIn::upstream) does.
    pub fn upstream<'a>(
        mut self,
        sid: impl Into<Option<&'a str>>,
        subject: impl Into<Option<&'a str>>,
    ) -> Self {
        self.sign_in = self.sign_in.upstream(sid, subject);
        self
    }

    /// Sets the policy of the session, in place of the gateway's.
    pub fn policy(mut self, name: impl AsRef<str>) -> Self {
        self.sign_in = self.sign_in.policy(name);
        self
    }

    async fn signed_in(self) -> Result<SignedIn, GatewayError> {
        let gateway = &self.gateway;
        let holds_pair = gateway.shared.mode.holds_pair();
        // Known before the session begins: base64 alone makes four bytes of three.
        if holds_pair && self.tokens > LONGEST_VALUE / 4 * 3 {
            return Err(GatewayError::CookieTooLong);
        }
        let id = self.sign_in.await?;
        let presentation = gateway.shared.sessions.present(&id).await?;
        let held = match holds_pair {
            true => presentation.pair().map(|pair| Held::Pair(Arc::new(pair))),
            false => Some(Held::Id(id.clone())),
        };
        let held = held.ok_or(GatewayError::SignedOut { source: None })?;
        let content = Content {
            signed_in: now(gateway),
            held,
        };
        let lines = match gateway.lines(&content, &presentation, &[]) {
            Ok(lines) => lines,
            Err(error) => {
                // The browser cannot hold the session, so the session has no user.
                drop(presentation.tokens().logout().await);
                return Err(error);
            }
        };
        let others = &gateway.shared.cookies;
        let others = others.delete_others(&self.request, Some(Tag::of(&id)));
        let lines = [others, lines].concat();
        Ok(SignedIn { id, lines })
    }
}

fn now(gateway: &Gateway) -> u64 {
    let clock = &gateway.shared.sessions.group().shared.clock;
    u64::try_from(clock.wall().as_millis()).unwrap_or(u64::MAX)
}

impl IntoFuture for SignIn {
    type Output = Result<SignedIn, GatewayError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.signed_in())
    }
}

/// Without the tokens and the cookies.
impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").finish_non_exhaustive()
    }
}

/// A user that is signed in: what the response has to set. In axum it is a part of the response:
/// `(signed_in, Redirect::to("/"))`. Elsewhere, [`apply`](Self::apply) adds it to the header.
#[derive(Clone)]
#[must_use = "the browser is signed in by the response that has this"]
pub struct SignedIn {
    id: SessionId,
    lines: Vec<HeaderValue>,
}

impl SignedIn {
    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Adds the cookies to the header of a response, deletes those of earlier sign-ins of the browser, has the browser forget what it
    /// has loaded ahead, and forbids caches to keep the response.
    pub fn apply(self, headers: &mut HeaderMap) {
        for line in self.lines {
            headers.append(SET_COOKIE, line);
        }
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.append(CLEAR_SITE_DATA, LOADED_AHEAD);
    }
}

/// Without the cookies.
impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
