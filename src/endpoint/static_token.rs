use async_trait::async_trait;

use super::{EndpointError, Grant, Issued, TokenEndpoint};
use crate::token::{AccessToken, Digest, Key, TokenPair, Validity, jwt};

/// One access token and no endpoint: an API key, a token of a tenant that issues none with an expiry, a
/// token from a test. It is never rotated, and a 401 is returned as it is.
///
/// A JWT with an `exp` (RFC 7519 section 4.1.4) is served to its end; any other token never expires.
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
    /// This token, and no other.
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
        let why = "a static token has no endpoint";
        Err(EndpointError::refused_here("unsupported", why))
    }

    fn first_pair(&self) -> Option<TokenPair> {
        let mut pair = TokenPair::new(self.access.clone());
        if jwt::times(self.access.expose()).is_none() {
            pair.lifetime.access = Validity::Never;
        }
        Some(pair)
    }

    /// Another token is another session, also in a store that outlives both.
    fn key(&self) -> Key {
        Key::new("static", Digest::of(self.access.expose()).to_string())
    }
}
