//! The state of a session at one moment, and the outcome of a logout.

use std::time::Duration;

use crate::endpoint::EndpointError;
use crate::error::{EndReason, Error};
use crate::store::StoreError;
use crate::token::PairId;

/// A session at one moment, see [`TokenManager::status`](crate::TokenManager::status).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The name of the held pair; `None` before the first use, and after a logout.
    pub pair_id: Option<PairId>,
    /// The reason of the end, if the session has ended. Callers may get its access token until the token expires.
    pub end: Option<EndReason>,
    /// The time for which callers get the access token; `None` without an access token, and if the token's expiry is
    /// unknown or the token never expires.
    pub access_expires_in: Option<Duration>,
    /// The remaining lifetime of the refresh token; `None` without a refresh token, and if the token's expiry is unknown
    /// or the token never expires.
    pub refresh_expires_in: Option<Duration>,
    /// Whether a rotation is under way.
    pub is_rotating: bool,
    /// Whether the held pair is not stored yet.
    pub is_unpersisted: bool,
    /// The number of pairs that the server issued to this manager: one for each
    /// [`Event::Rotated`](crate::Event::Rotated), including events that a slow subscriber lost. Pairs of other
    /// instances are not counted.
    pub rotations: u64,
    /// The number of failed attempts to store a pair since the manager was built.
    pub store_failures: u64,
    /// The failure of the last rotation, if no rotation has succeeded since.
    pub failure: Option<Error>,
}

/// The outcome of a logout, see [`TokenManager::logout`](crate::TokenManager::logout). Whatever the outcome, this
/// manager does not serve a token any more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Logout {
    /// Whether the end is stored, so that other instances and later processes learn of it. After an error, the
    /// manager tries to store the end in the background.
    pub stored: Result<(), StoreError>,
    /// Whether the server revoked the tokens. Without a revocation endpoint, the error is
    /// [`EndpointError::Refused`]. If the server was not reached, or requested a later call, the manager repeats the
    /// revocation in the background for as long as the manager lives, at most for a day.
    pub revoked: Result<(), EndpointError>,
}

/// The outcome of a logout so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogoutProgress {
    pub(crate) stored: Option<Result<(), StoreError>>,
    pub(crate) revoked: Option<Result<(), EndpointError>>,
}

impl Logout {
    /// Whether the end is stored and the server revoked the tokens.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stored.is_ok() && self.revoked.is_ok()
    }
}
