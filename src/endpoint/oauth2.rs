mod answer;

use async_trait::async_trait;

use super::{EndpointError, Grant, Issued, TokenEndpoint};

/// How the client proves who it is (RFC 6749 section 2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// In an `Authorization: Basic` header, form-encoded.
    #[default]
    Basic,
    /// In the body.
    Post,
    /// Not at all: a public client.
    None,
}

/// An OAuth2 token endpoint.
#[derive(Debug)]
pub struct OAuth2;

#[async_trait]
impl TokenEndpoint for OAuth2 {
    async fn exchange(&self, _grant: Grant<'_>) -> Result<Issued, EndpointError> {
        Err(EndpointError::misconfigured("not yet"))
    }
}
