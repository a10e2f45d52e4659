//! The places at the token endpoint, which the sessions of one builder share: how many rotations exchange a token at a time,
//! and which one is next.
//!
//! A place that is given back goes to the first rotation that waits, and is free only while none waits. A rotation that is
//! dropped leaves the queue, and a place that is dropped is given back, so neither a panic nor the end of a runtime loses one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Session;
use crate::clock::Timestamp;

/// The places at the token endpoint. Nothing is woken while they are locked.
#[derive(Debug)]
pub(crate) struct Gate(Mutex<Places>);

#[derive(Debug)]
struct Places {
    free: usize,
    /// How many rotations have waited.
    count: u64,
    waiting: BTreeMap<Turn, oneshot::Sender<Place>>,
}

/// The order of the rotations that wait. Among equals the first one to come is the first one to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    urgency: Urgency,
    count: u64,
}

/// How urgent a rotation is. The least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// A lease of this instance stands on the token already, and its time runs.
    Leased,
    /// The access token expires at this time, or expired then.
    Expires(Timestamp),
}

impl Gate {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Places {
            free: places,
            count: 0,
            waiting: BTreeMap::new(),
        })))
    }

    /// Takes a place if one is free. Otherwise the rotation waits in the queue until its ticket is dropped.
    pub(crate) fn enter(self: &Arc<Self>, urgency: Urgency) -> Result<Place, Ticket> {
        let mut places = self.0.lock();
        if places.free > 0 {
            places.free -= 1;
            return Ok(Place(Arc::clone(self)));
        }
        places.count += 1;
        let turn = Turn {
            urgency,
            count: places.count,
        };
        let (call, called) = oneshot::channel();
        places.waiting.insert(turn, call);
        Err(Ticket {
            gate: Arc::clone(self),
            turn,
            called,
        })
    }
}

/// A place at the token endpoint. It is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.0.0.lock();
        let Some((_, first)) = places.waiting.pop_first() else {
            places.free += 1;
            return;
        };
        drop(places);
        // If that rotation has just left, the place comes back unused, and is given to the next one.
        drop(first.send(Self(Arc::clone(&self.0))));
    }
}

/// A rotation in the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    turn: Turn,
    called: oneshot::Receiver<Place>,
}

impl Ticket {
    /// Returns the place when it is this rotation's turn. The future may be dropped and made again.
    pub(crate) async fn called(&mut self) -> Option<Place> {
        (&mut self.called).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.gate.0.lock().waiting.remove(&self.turn);
        // The destructor of a sender wakes the receiver, so it runs with the gate unlocked.
        drop(left);
    }
}

impl Session {
    /// How urgent it is to rotate the pair of this session. A session without a token, or whose token does not say when it
    /// expires, counts as one that expires now. So does one whose token an API rejected, unless the token expired before.
    pub(crate) fn urgency(&self) -> Urgency {
        let now = self.now();
        let state = self.lock();
        let expires_at = state.held().and_then(|held| held.schedule.expires_at);
        let expires_at = expires_at.unwrap_or(now);
        Urgency::Expires(match state.usable(now) {
            Some(_) => expires_at,
            None => expires_at.min(now),
        })
    }
}

#[cfg(test)]
mod tests;
