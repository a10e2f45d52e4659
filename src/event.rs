//! Events of a session, for subscribers.
//!
//! A slow subscriber never delays a rotation: it loses the oldest events, and learns how many.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::{EndReason, Error};
use crate::store::StoreError;
use crate::token::PairId;

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
        /// The time since the start of the rotation that found the pair; zero if no rotation was under way.
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
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { receiver }
    }

    /// Waits for the next event. Returns `None` when the manager is dropped and every event was read.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Returns the next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                None
            }
        }
    }
}
