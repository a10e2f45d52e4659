//! Where pairs come from. An endpoint exchanges a grant for a pair, once for each call. An endpoint never retries, never
//! stores, and never decides when to rotate.
//!
//! Safe rotation depends on one question after a failure: may the server have consumed the refresh token? So
//! [`EndpointError`] is classed by the answer to that question and not by the cause of the failure, and the author of an
//! endpoint has only that question to answer. For a server that answers in the form of RFC 6749,
//! [`Issued::from_response`] answers the question:
//!
//! ```
//! use evertoken::{EndpointError, Grant, Issued, TokenEndpoint, async_trait};
//!
//! #[derive(Debug)]
//! struct Vault {
//!     http: reqwest::Client,
//!     url: String,
//! }
//!
//! #[async_trait]
//! impl TokenEndpoint for Vault {
//!     async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
//!         let Grant::Refresh { token, .. } = grant else {
//!             return Err(EndpointError::refused("unsupported_grant_type"));
//!         };
//!         let secret = token.expose();
//!         let request = self.http.post(&self.url).header("x-vault-token", secret);
//!         let answer = request.send().await.map_err(EndpointError::from_reqwest)?;
//!         // Distinguishes an answer of the server from a page of a proxy, and quotes no secret of the request.
//!         Issued::from_response(answer, &[secret]).await
//!     }
//! }
//! ```

mod error;
#[cfg(feature = "folio")]
mod folio;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod issued;
mod json;
mod oauth2;
mod profile;
mod quote;
mod reply;
mod time;
mod transport;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::error::EndpointError;
#[cfg(feature = "folio")]
pub use self::folio::Folio;
#[cfg(all(feature = "folio", any(feature = "config", feature = "testing")))]
pub(crate) use self::folio::Mode as FolioMode;
pub use self::issued::Issued;
pub(crate) use self::issued::Predecessor;
#[cfg(feature = "testing")]
pub(crate) use self::oauth2::judge_testing as judge_oauth2;
pub use self::oauth2::{Bare400, ClientAuth, Codes, OAuth2, ResponseError};
pub use self::profile::{OldPair, Resend, ResendAfterSilence, ServerProfile, TokenReuse};
pub use self::quote::Quote;
pub(crate) use self::time::retry_after;
#[cfg(all(feature = "folio", feature = "testing"))]
pub(crate) use self::transport::InProcess as InProcessFolio;
#[cfg(feature = "config")]
pub(crate) use self::transport::{http_builder, user_agent};
pub(crate) use self::transport::{sensitive_header, tls};
use crate::clock::{Clock, Timestamp};
use crate::token::{
    AccessToken, Digest, Key, LONGEST_LIFETIME, RefreshToken, TokenPair, Validity, jwt,
};

/// The period in which a leased token may be sent.
///
/// The lease that protects a token expires, and other instances may then act on the token. A request that waited for a
/// connection, or on a machine that slept, must not leave after that.
#[derive(Debug, Clone)]
pub struct SendWindow {
    clock: Arc<dyn Clock>,
    ends_at: Timestamp,
}

impl SendWindow {
    /// Makes a window that ends at `ends_at`, by `clock`. The manager makes the windows of real exchanges; use this
    /// constructor to test your own endpoint.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, ends_at: Timestamp) -> Self {
        Self { clock, ends_at }
    }

    /// Whether the grant may still be sent. If not, the endpoint returns
    /// [`EndpointError::NotSent`](crate::EndpointError::NotSent).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.clock.now() < self.ends_at
    }
}

/// What an endpoint exchanges for a pair.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Grant<'a> {
    /// A refresh token (RFC 6749 section 6). The endpoint sends the token once and never again.
    #[non_exhaustive]
    Refresh {
        /// The single-use token.
        token: &'a RefreshToken,
        /// The period in which the token may be sent. The manager has checked the window before the call. An endpoint
        /// whose connection may take long checks the window again just before the bytes leave.
        window: &'a SendWindow,
    },
    /// The endpoint's own credentials, for a new session.
    #[non_exhaustive]
    SignIn {
        /// The period in which the credentials may be sent.
        window: &'a SendWindow,
    },
}

impl<'a> Grant<'a> {
    /// Makes the grant of a refresh token. Use this constructor to test your own endpoint.
    #[must_use]
    pub const fn refresh(token: &'a RefreshToken, window: &'a SendWindow) -> Self {
        Self::Refresh { token, window }
    }

    /// Makes the grant of the endpoint's own credentials. Use this constructor to test your own endpoint.
    #[must_use]
    pub const fn sign_in(window: &'a SendWindow) -> Self {
        Self::SignIn { window }
    }
}

/// Exchanges grants for pairs.
#[async_trait]
pub trait TokenEndpoint: Debug + Send + Sync + 'static {
    /// Sends the grant once, without any retry, and reads the answer.
    ///
    /// An implementation must return an issued pair whatever else is odd about the answer.
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError>;

    /// Returns the pair that the endpoint has from the start. The pair counts as a [seed](crate::Builder::seed) if the
    /// builder has none; among [`Sessions`](crate::Sessions), as that of the endpoint's own key alone. Default: none.
    fn first_pair(&self) -> Option<TokenPair> {
        None
    }

    /// Whether the endpoint supports [`Grant::SignIn`], so that a lost session can be replaced. The manager asks again
    /// each time: an endpoint that signs in once returns `false` after that. Default: `false`.
    fn can_sign_in(&self) -> bool {
        false
    }

    /// Reports to the server that the pair is no longer needed (RFC 7009). Default: an error.
    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let _ = pair;
        let why = "this endpoint cannot revoke tokens";
        Err(EndpointError::refused_here("unsupported", why))
    }

    /// Returns the behaviour of the server. Default: the strictest.
    fn profile(&self) -> ServerProfile {
        ServerProfile::strict()
    }

    /// Returns the longest time that an exchange may take. After that time the outcome counts as unknown. Default: 30 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Returns the key of the session, as far as the endpoint knows the key. Default: an empty key.
    fn key(&self) -> Key {
        Key::default()
    }
}

/// Implements [`TokenEndpoint`] for a pointer to an endpoint.
macro_rules! pointed_to {
    ($pointer:ident) => {
        #[async_trait]
        impl<E: TokenEndpoint + ?Sized> TokenEndpoint for $pointer<E> {
            async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
                (**self).exchange(grant).await
            }

            fn first_pair(&self) -> Option<TokenPair> {
                (**self).first_pair()
            }

            fn can_sign_in(&self) -> bool {
                (**self).can_sign_in()
            }

            async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
                (**self).revoke(pair).await
            }

            fn profile(&self) -> ServerProfile {
                (**self).profile()
            }

            fn timeout(&self) -> Duration {
                (**self).timeout()
            }

            fn key(&self) -> Key {
                (**self).key()
            }
        }
    };
}

pointed_to!(Arc);
pointed_to!(Box);

/// One access token without an endpoint: an API key, a token of a tenant whose tokens do not expire, or a token of a test.
/// The token is never rotated, and a 401 is returned unchanged.
///
/// A JWT with an `exp` (RFC 7519 section 4.1.4) is served until then; any other token never expires.
///
/// ```
/// use evertoken::{StaticToken, TokenManager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = TokenManager::builder(StaticToken::new("sesame")).build()?;
/// assert_eq!(tokens.authorization().await?, "Bearer sesame");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StaticToken {
    access: AccessToken,
}

impl StaticToken {
    /// Makes an endpoint that issues only this token.
    #[must_use]
    pub fn new(access: impl Into<AccessToken>) -> Self {
        Self {
            access: access.into(),
        }
    }
}

#[async_trait]
impl TokenEndpoint for StaticToken {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let why = "a static token cannot be refreshed; configure a new token";
        Err(EndpointError::refused_here("unsupported", why))
    }

    fn first_pair(&self) -> Option<TokenPair> {
        let mut pair = TokenPair::new(self.access.clone());
        if jwt::times(self.access.expose()).is_none() {
            pair.lifetime.access = Validity::Never;
        }
        Some(pair)
    }

    /// The key names the token: another token is another session, also in a store that outlives both.
    fn key(&self) -> Key {
        Key::new("static", Digest::of(self.access.expose()).to_string())
    }
}
