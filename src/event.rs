//! What happened to a session, for whoever subscribed. Nobody who listens slowly, or not at all, holds
//! a rotation up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::{EndReason, Error};
use crate::store::StoreError;
use crate::token::PairId;

/// What happened to a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// This manager was issued a pair: it rotated, or signed in.
    #[non_exhaustive]
    Rotated {
        /// The new pair's.
        pair_id: PairId,
        /// How long it took from sending the request, for the first time if it was sent again, until callers got the pair.
        took: Duration,
        /// Whether it came of a sign-in, and not of the refresh token of the pair before.
        is_sign_in: bool,
    },
    /// A pair was taken from the store: another instance rotated it, or an earlier process stored it.
    #[non_exhaustive]
    Adopted {
        /// The pair's.
        pair_id: PairId,
        /// How long the rotation that found it had been under way; zero if none was.
        waited: Duration,
    },
    /// The user signed in anew, see [`TokenManager::replace`](crate::TokenManager::replace).
    #[non_exhaustive]
    Replaced {
        /// The new pair's.
        pair_id: PairId,
    },
    /// A new pair could not be stored. Sent once for each; storing it is tried on until it succeeds.
    #[non_exhaustive]
    Unpersisted {
        /// Why.
        error: StoreError,
    },
    /// The session ends soon unless it is used, or whatever is done. Sent once for each pair, 60 s before
    /// (see [`Builder::expiring_before`](crate::Builder::expiring_before)), where the times are known.
    #[non_exhaustive]
    Expiring {
        /// How soon.
        left: Duration,
    },
    /// An attempt to rotate brought no pair: one event for each. The current token is served as long as it is valid; callers
    /// without one wait for the next attempt, unless the failure cannot pass by itself.
    #[non_exhaustive]
    Failed {
        /// What failed, and how long the pause before the next attempt is.
        error: Error,
    },
    /// The session is over. Sent once for each end; for a session that nothing can prolong 200 ms before
    /// (see [`Builder::ended_before`](crate::Builder::ended_before)), and its token is served to its end.
    #[non_exhaustive]
    Ended {
        /// Why.
        reason: EndReason,
        /// Where it expired, or its outcome is unknown: what failed last, if anything has.
        source: Option<Arc<Error>>,
    },
    /// This subscriber was too slow: the oldest events it had not read are gone.
    #[non_exhaustive]
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// The events from the moment of [`subscribe`](crate::TokenManager::subscribe) on.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` when the manager is gone and everything was read.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next event if there is one already.
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
