//! What subscribers and callers learn of a session: its events, its state at one moment, and the outcome of a logout.
//!
//! A slow subscriber never delays a rotation: it loses the oldest events, and learns how many.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::endpoint::EndpointError;
use crate::error::{EndReason, Error};
use crate::store::StoreError;
use crate::token::{Key, PairId};

/// A change of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The server issued a pair to this manager, by a rotation or a sign-in.
    #[non_exhaustive]
    Rotated {
        /// The name of the new pair.
        pair_id: PairId,
        /// The time from the first sending of the request until callers got the pair.
        took: Duration,
        /// Whether the pair came from a sign-in, and not from the refresh token of the previous pair.
        is_sign_in: bool,
    },
    /// The manager took over a pair from the store: another instance or an earlier process stored the pair.
    #[non_exhaustive]
    Adopted {
        /// The name of the pair.
        pair_id: PairId,
        /// How long this manager's rotation had been under way when it found the pair in the store; zero if none was.
        waited: Duration,
    },
    /// The user signed in again, see [`TokenManager::replace`](crate::TokenManager::replace).
    #[non_exhaustive]
    Replaced {
        /// The name of the new pair.
        pair_id: PairId,
    },
    /// A new pair could not be stored. Sent once for each pair. The manager tries to store the pair until that
    /// succeeds.
    #[non_exhaustive]
    Unpersisted {
        /// The error of the store.
        error: StoreError,
    },
    /// The session ends soon. Use may prolong a session, except one with an absolute end. Sent once for each pair, 60 s
    /// before the end (see [`Builder::expiring_before`](crate::Builder::expiring_before)), if the times are known.
    #[non_exhaustive]
    Expiring {
        /// The time until the end.
        left: Duration,
    },
    /// An attempt to rotate failed. Sent once for each attempt. Callers get the current token as long as the token is
    /// valid. Without a valid token, callers wait for the next attempt, unless the failure is lasting.
    #[non_exhaustive]
    Failed {
        /// The failure, with the pause before the next attempt.
        error: Error,
    },
    /// The session has ended. Sent once for each end. For a session that cannot be prolonged, the event is sent 200 ms
    /// before the end (see [`Builder::ended_before`](crate::Builder::ended_before)), and callers get the token until
    /// its end.
    #[non_exhaustive]
    Ended {
        /// The reason of the end.
        reason: EndReason,
        /// The last failure, if the session expired or the outcome of its last rotation is unknown.
        source: Option<Arc<Error>>,
    },
    /// This subscriber was too slow, and lost the oldest events that it had not read.
    #[non_exhaustive]
    Lagged {
        /// The number of lost events.
        missed: u64,
    },
}

/// A subscription. It receives the events after [`subscribe`](crate::TokenManager::subscribe).
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// Waits for the next event. Returns `None` when the manager is dropped and every event was read.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(RecvError::Closed) => None,
        }
    }

    /// Returns the next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

/// An event of one of many sessions, see [`Sessions::subscribe`](crate::Sessions::subscribe).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionsEvent {
    /// A session changed.
    #[non_exhaustive]
    Session {
        /// The key of the session.
        key: Arc<Key>,
        /// The change.
        event: Event,
    },
    /// This subscriber was too slow, and lost the oldest events of any session that it had not read.
    #[non_exhaustive]
    Lagged {
        /// The number of lost events.
        missed: u64,
    },
}

impl From<(Arc<Key>, Event)> for SessionsEvent {
    fn from((key, event): (Arc<Key>, Event)) -> Self {
        Self::Session { key, event }
    }
}

/// A subscription to every session. It receives the events after [`subscribe`](crate::Sessions::subscribe).
#[derive(Debug)]
pub struct SessionsEvents(pub(crate) broadcast::Receiver<(Arc<Key>, Event)>);

impl SessionsEvents {
    /// Waits for the next event. Returns `None` when the sessions and all managers of them are dropped and every event was
    /// read.
    pub async fn recv(&mut self) -> Option<SessionsEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event.into()),
            Err(RecvError::Lagged(missed)) => Some(SessionsEvent::Lagged { missed }),
            Err(RecvError::Closed) => None,
        }
    }

    /// Returns the next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<SessionsEvent> {
        match self.0.try_recv() {
            Ok(event) => Some(event.into()),
            Err(TryRecvError::Lagged(missed)) => Some(SessionsEvent::Lagged { missed }),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

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
