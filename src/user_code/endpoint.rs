use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{UserCodeError, caught, guarded};
use crate::endpoint::{EndpointError, Grant, Issued, ServerProfile, TokenEndpoint};
use crate::token::{Key, TokenPair};

/// A user's endpoint, as the crate calls it.
#[derive(Debug)]
pub(crate) struct UserEndpoint {
    code: Arc<dyn TokenEndpoint>,
    /// Its last answer, in place of one that does not come.
    can_sign_in: AtomicBool,
}

impl UserEndpoint {
    pub(crate) fn new(code: Arc<dyn TokenEndpoint>) -> Self {
        Self {
            code,
            can_sign_in: AtomicBool::new(false),
        }
    }

    pub(crate) async fn exchange(
        &self,
        grant: Grant<'_>,
        limit: Duration,
    ) -> Result<Issued, EndpointError> {
        let exchanging = async { self.code.exchange(grant).await };
        settled(guarded(limit, exchanging).await)
    }

    pub(crate) async fn revoke(
        &self,
        pair: &TokenPair,
        limit: Duration,
    ) -> Result<(), EndpointError> {
        let revoking = async { self.code.revoke(pair).await };
        settled(guarded(limit, revoking).await)
    }

    /// Whether it can sign in now; after a panic, what it answered last.
    pub(crate) fn can_sign_in(&self) -> bool {
        match caught("TokenEndpoint::can_sign_in", || self.code.can_sign_in()) {
            Some(answer) => {
                self.can_sign_in.store(answer, Ordering::Relaxed);
                answer
            }
            None => self.can_sign_in.load(Ordering::Relaxed),
        }
    }

    /// The rest is asked once, while the manager is built.
    pub(crate) fn profile(&self) -> Option<ServerProfile> {
        caught("TokenEndpoint::profile", || self.code.profile())
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        caught("TokenEndpoint::timeout", || self.code.timeout())
    }

    pub(crate) fn key(&self) -> Option<Key> {
        caught("TokenEndpoint::key", || self.code.key())
    }

    pub(crate) fn first_pair(&self) -> Option<Option<TokenPair>> {
        caught("TokenEndpoint::first_pair", || self.code.first_pair())
    }
}

/// A token that was handed to user code which did not come back may be spent.
fn settled<T>(answer: Result<Result<T, EndpointError>, UserCodeError>) -> Result<T, EndpointError> {
    answer.unwrap_or_else(|error| Err(EndpointError::unknown(error)))
}
