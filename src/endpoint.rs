//! Where pairs come from. An endpoint exchanges a grant for a pair, once per call; it never retries,
//! never stores and never decides when.
//!
//! Everything that makes rotation safe hangs on one question after a failure: may the server have
//! consumed the refresh token? So [`EndpointError`] is classed by its answer and not by its cause,
//! and an endpoint of one's own has only that question to think about. For a server that answers in the form of RFC 6749,
//! [`Issued::from_response`] answers it:
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
//!         // Tells an answer of the server's from a page of a proxy's, and quotes no secret of the request.
//!         Issued::from_response(answer, &[secret]).await
//!     }
//! }
//! ```

mod coding;
mod encoded;
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
mod redact;
mod response;
mod retry_after;
mod send_once;
mod static_token;
mod time;
mod transport;
mod window;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::error::EndpointError;
#[cfg(feature = "folio")]
pub use self::folio::Folio;
#[cfg(all(feature = "folio", feature = "testing"))]
pub(crate) use self::folio::InProcess as InProcessFolio;
#[cfg(all(feature = "folio", any(feature = "config", feature = "testing")))]
pub(crate) use self::folio::Mode as FolioMode;
pub use self::issued::Issued;
pub(crate) use self::issued::Predecessor;
#[cfg(feature = "testing")]
pub(crate) use self::oauth2::judge_testing as judge_oauth2;
pub use self::oauth2::{Bare400, ClientAuth, Codes, OAuth2};
pub use self::profile::{OldPair, Resend, ResendAfterSilence, ServerProfile};
pub use self::quote::Quote;
pub(crate) use self::retry_after::{retry_after, server_time};
pub use self::static_token::StaticToken;
#[cfg(feature = "config")]
pub(crate) use self::transport::builder as http_builder;
pub use self::window::SendWindow;
use crate::token::{Key, LONGEST_LIFETIME, RefreshToken, TokenPair};

/// What is exchanged for a pair.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Grant<'a> {
    /// A refresh token (RFC 6749 section 6). It is sent once and never again by the endpoint.
    #[non_exhaustive]
    Refresh {
        /// The single-use token.
        token: &'a RefreshToken,
        /// Until when it may be sent. Worth a look just before the bytes leave, if connecting can
        /// take long; the manager has looked before the call.
        window: &'a SendWindow,
    },
    /// The endpoint's own credentials, for a new session.
    #[non_exhaustive]
    SignIn {
        /// Until when they may be sent.
        window: &'a SendWindow,
    },
}

impl<'a> Grant<'a> {
    /// A refresh token, as a test of an endpoint of your own may present it.
    #[must_use]
    pub const fn refresh(token: &'a RefreshToken, window: &'a SendWindow) -> Self {
        Self::Refresh { token, window }
    }

    /// The endpoint's own credentials, likewise.
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
    /// A pair that was issued must be returned whatever else is odd about the answer.
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError>;

    /// A pair that the endpoint has from the start. It counts as a [seed](crate::Builder::seed) where none
    /// is given. Default: none.
    fn first_pair(&self) -> Option<TokenPair> {
        None
    }

    /// Whether [`Grant::SignIn`] is supported, so that a lost session can be replaced. It is asked again and again: an
    /// endpoint that signs in once says no after that.
    fn can_sign_in(&self) -> bool {
        false
    }

    /// Tells the server that the pair is no longer needed (RFC 7009).
    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let _ = pair;
        let why = "this endpoint cannot revoke";
        Err(EndpointError::refused_here("unsupported", why))
    }

    /// What is known of the server. Default: the strictest.
    fn profile(&self) -> ServerProfile {
        ServerProfile::strict()
    }

    /// The longest an exchange may take; after it the outcome counts as unknown. Default: 30 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// What a session at this endpoint is, as far as the endpoint knows. Default: an empty key.
    fn key(&self) -> Key {
        Key::default()
    }
}

/// Whatever points to an endpoint is one.
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
