//! A backend for a browser: it stands between a browser and an API, keeps the session of the browser alive, and puts the token on
//! what it passes on. It takes the feature `gateway`.
//!
//! The gateway knows HTTP and cookies, and decides nothing about a session: [`Sessions`] accepts what a browser presents. It signs
//! nobody in: a login by another library ends in [`Gateway::sign_in`]. [The page on gateways](crate::_guide::gateway) leads from a
//! new program to a running one.
//!
//! ```no_run
//! use evertoken::gateway::{Gateway, GatewayError};
//! use evertoken::{SealingKeys, Sessions, TokenPair};
//! use http::HeaderMap;
//!
//! # fn build(sessions: Sessions) -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::builder(&sessions)
//!     .sealer(SealingKeys::from_file("cookie-keys")?)
//!     .on_signed_out(|page| format!("/login?to={}", page.return_to()))
//!     .build()?;
//! // Any framework of tower takes these: the layer goes around everything, the other two are services.
//! let (layer, routes) = (gateway.layer(), gateway.session_routes());
//! let api = gateway.proxy("https://api.example.org")?;
//! # Ok(())
//! # }
//!
//! /// The end of a login: the cookies are set by the response.
//! async fn signed_in(
//!     gateway: &Gateway,
//!     request: &HeaderMap,
//!     pair: TokenPair,
//!     response: &mut HeaderMap,
//! ) -> Result<(), GatewayError> {
//!     gateway.sign_in(request, pair).await?.apply(response);
//!     Ok(())
//! }
//! ```

mod axum;
mod builder;
mod caching;
mod content;
mod cookie;
mod cross_site;
mod error;
mod layer;
mod proxy;
mod request;
mod session_routes;
mod sign_in;
mod visit;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

pub use self::builder::GatewayBuilder;
use self::builder::Login;
use self::content::{Content, Envelope};
pub use self::cookie::SameSite;
use self::cookie::{Cookies, Numbers};
pub use self::cross_site::CrossSite;
pub use self::error::GatewayError;
pub use self::layer::{GatewayFuture, GatewayLayer, GatewayService};
pub use self::proxy::Proxy;
pub use self::request::{Page, local_path};
pub use self::session_routes::SessionRoutes;
pub use self::sign_in::{SignIn, SignedIn};
use crate::build_error::BuildError;
use crate::origin::Origins;
use crate::sessions::{Presentation, Sessions};
use crate::token::TokenPair;

/// Where the pairs of browsers are, and how instances share a rotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize))]
#[cfg_attr(feature = "config", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Mode {
    /// The cookies have the pair, and a store that all instances share has it too. One instance rotates, and the others get its
    /// pair by the store. No token is spent twice, so this mode suits the strictest server.
    #[default]
    Synchronised,
    /// The cookies have the pair, and the instances share nothing. A rotation begins while the access token is valid, so an
    /// instance that comes second goes on with that. For a server that spares the session when a token is spent twice
    /// ([`TokenReuse::Refused`](crate::TokenReuse::Refused) or [`Answered`](crate::TokenReuse::Answered)).
    Stateless,
    /// The cookies have the pair, and the server answers a token for some time again
    /// ([`TokenReuse::Answered`](crate::TokenReuse::Answered)), so each instance gets a pair of its own.
    Grace,
    /// The cookies have the id of the session, which rotations do not change and a sign-in does. The pair stays in the store that
    /// all instances share.
    Opaque,
}

impl Mode {
    fn shares_store(self) -> bool {
        matches!(self, Self::Synchronised | Self::Opaque)
    }

    fn holds_pair(self) -> bool {
        self != Self::Opaque
    }
}

/// A backend for a browser. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    sessions: Sessions,
    mode: Mode,
    envelope: Envelope,
    cookies: Cookies,
    /// The origins whose pages may send every request.
    origins: Origins,
    policy: Option<Arc<str>>,
    login: Option<Login>,
}

impl Gateway {
    /// Starts to build a gateway for the browsers of these sessions.
    pub fn builder(sessions: &Sessions) -> GatewayBuilder {
        GatewayBuilder::new(sessions)
    }

    /// The sessions of the browsers.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// The layer around a whole application. Routes that take a `POST` of another site, such as a provider's notice, are outside.
    #[must_use]
    pub fn layer(&self) -> GatewayLayer {
        GatewayLayer::new(self.clone())
    }

    /// The routes of a session, as a service to be nested under a path such as `/session`. Each answers in JSON:
    ///
    /// | request | answer |
    /// |---|---|
    /// | `GET /` | `{"signed_in":true,"next_heartbeat_in":240}`, or `{"signed_in":false}` |
    /// | `POST /heartbeat` | the same for a user who is signed in; the browser gets the next pair if the strategy wants one |
    /// | `POST /logout` | `{"signed_in":false}`; the session ends, and the browser's cookies and cache are deleted |
    ///
    /// A page that sends a heartbeat when the last one asked for it (in seconds) keeps an idle session alive.
    #[must_use]
    pub fn session_routes(&self) -> GatewayService<SessionRoutes> {
        GatewayService::new(self.clone(), SessionRoutes::new(self.clone()))
    }

    /// A service that passes requests on to an API with the token of the session, to be nested under a path such as `/api`.
    ///
    /// A request whose token the API rejects is sent once more with the next token, as [`TokenManager::send`] does. A body of more
    /// than 64 KB is not kept for that, and sent once. No cookie, no `Authorization` and no `X-Forwarded-*` of the browser reaches the
    /// API, and no `Set-Cookie` of the API reaches the browser. Answers of any length pass through as they come, and so does a
    /// WebSocket.
    ///
    /// [`TokenManager::send`]: crate::TokenManager::send
    ///
    /// # Errors
    ///
    /// If `upstream` is not a URL with a scheme, a host and perhaps a path, at one of the [origins](crate::Builder::origin) that may
    /// get tokens.
    pub fn proxy(&self, upstream: impl AsRef<str>) -> Result<GatewayService<Proxy>, BuildError> {
        let proxy = Proxy::new(self, upstream.as_ref())?;
        Ok(GatewayService::new(self.clone(), proxy))
    }

    /// Begins the session of a user who has signed in, with the pair of the sign-in. `request` is the header of the request that
    /// this answers: the browser's cookies of earlier sign-ins are deleted. The result has to become a part of the response.
    ///
    /// # Errors
    ///
    /// As [`Sessions::sign_in`]; [`GatewayError::CookieTooLong`].
    pub fn sign_in(&self, request: &HeaderMap, pair: TokenPair) -> SignIn {
        SignIn::new(self, request, pair)
    }

    /// The lines that give a browser this content, and delete what it has of a longer one.
    fn lines(
        &self,
        content: &Content,
        presentation: &Presentation,
        has: &[Option<Numbers>],
    ) -> Result<Vec<HeaderValue>, GatewayError> {
        let sealed = self.shared.envelope.seal(content);
        let (tag, value) = sealed.map_err(|source| GatewayError::NotSealed { source })?;
        let has = has.iter().flatten().find(|has| has.tag == tag);
        let max_age = presentation.lasts_for(self.shared.mode.holds_pair());
        let lines = self.shared.cookies.set(tag, &value, max_age, has.copied());
        lines.ok_or(GatewayError::CookieTooLong)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("sessions", &self.shared.sessions)
            .field("mode", &self.shared.mode)
            .finish_non_exhaustive()
    }
}
