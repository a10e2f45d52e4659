//! The token endpoint as the instances call it: the API knows the user of each new token before an instance has it.

use std::fmt;
use std::time::Duration;

use evertoken::testing::InProcessEndpoint;
use evertoken::{
    EndpointError, Grant, Issued, Key, ServerProfile, TokenEndpoint, TokenPair, async_trait,
};

use crate::api::Api;

/// The endpoint of an authorization server, whose pairs are followed from user to user.
pub(crate) struct Followed {
    inner: InProcessEndpoint,
    api: Api,
}

impl Followed {
    pub(crate) fn new(inner: InProcessEndpoint, api: Api) -> Self {
        Self { inner, api }
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl TokenEndpoint for Followed {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let refresh = match &grant {
            Grant::Refresh { token, .. } => Some(token.expose().to_owned()),
            _ => None,
        };
        let issued = self.inner.exchange(grant).await?;
        if let Some(refresh) = refresh {
            self.api.follow(&refresh, &issued);
        }
        Ok(issued)
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        self.inner.revoke(pair).await
    }

    fn profile(&self) -> ServerProfile {
        self.inner.profile()
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}
