//! What is known of a session at one moment, for whoever asks.

use std::time::Duration;

use crate::endpoint::EndpointError;
use crate::error::{EndReason, Error};
use crate::store::StoreError;
use crate::token::PairId;

/// A session at one moment, see [`TokenManager::status`](crate::TokenManager::status).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The pair that is held; `None` before the first use, and after a logout.
    pub pair_id: Option<PairId>,
    /// Why the session is over, if it is. Its access token may be served on to its end.
    pub end: Option<EndReason>,
    /// For how long the access token will be served; `None` if there is none, and if its expiry is unknown
    /// or never comes.
    pub access_expires_in: Option<Duration>,
    /// For how long the refresh token is good; `None` likewise.
    pub refresh_expires_in: Option<Duration>,
    /// Whether a rotation is under way.
    pub is_rotating: bool,
    /// Whether the pair that is held is not stored yet.
    pub is_unpersisted: bool,
    /// How many pairs this manager has rotated to since it was built: one for each
    /// [`Event::Rotated`](crate::Event::Rotated), also for those that a slow subscriber missed. Pairs of other
    /// instances are not counted.
    pub rotations: u64,
    /// How many attempts to store a pair have failed since the manager was built.
    pub store_failures: u64,
    /// What went wrong at the last rotation, if none has succeeded since.
    pub failure: Option<Error>,
}

/// What became of a logout, see [`TokenManager::logout`](crate::TokenManager::logout). This manager serves
/// no token any more in any case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Logout {
    /// Whether the store says so, so that other instances and later processes know. If not, it is tried on
    /// in the background.
    pub stored: Result<(), StoreError>,
    /// Whether the server was told. Without a revocation endpoint it cannot be:
    /// [`EndpointError::Refused`]. A server that is not reached, or asks to be called later, is told in the
    /// background for as long as the manager lives, a day at most.
    pub revoked: Result<(), EndpointError>,
}

/// What is known so far of a logout.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogoutProgress {
    pub(crate) stored: Option<Result<(), StoreError>>,
    pub(crate) revoked: Option<Result<(), EndpointError>>,
}

impl Logout {
    /// Whether the session is over everywhere.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stored.is_ok() && self.revoked.is_ok()
    }
}
