//! The leases of this manager, as far as it remembers them: those that it may have written without sending anything under
//! them, and the one under which it sent a token and read an unclear answer.

use std::time::Duration;

use tokio::time::Instant;

use super::State;
use crate::clock::{LATE, Timestamp};
use crate::endpoint::Grant;
use crate::record::DoubtfulBy;
use crate::record::lease::{Holder, Own};
use crate::token::Digest;

/// A lease whose request is over. Its holder may send the token again soon, because the holder knows that none of its own
/// requests is in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnclearRequest {
    pub(crate) holder: Holder,
    /// The token that was sent.
    pub(crate) digest: Digest,
    pub(crate) by: DoubtfulBy,
    pub(crate) sent: ClockReading,
    /// Whether the lease may still be in the record. The token is as doubtful without it, if a store that lost writes shows the
    /// token without any lease.
    pub(crate) is_held: bool,
}

/// The moment at which a token was sent, or a lease attempted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockReading {
    /// By the clock that counts the time in which the machine sleeps.
    at: Timestamp,
    wall: Duration,
    /// By the clock that stands still while the machine sleeps.
    awake: Instant,
}

impl ClockReading {
    pub(crate) fn new(at: Timestamp, wall: Duration) -> Self {
        Self {
            at,
            wall,
            awake: Instant::now(),
        }
    }

    /// Whether the process has been awake since. A copy of a machine that was made while the request was in flight takes the
    /// broken connection for the end of the request, which goes on in the original.
    pub(crate) fn was_awake(&self, now: Timestamp, wall: Duration) -> bool {
        let awake = self.awake.elapsed() + SLACK;
        now.since(self.at) <= awake && wall.saturating_sub(self.wall) <= awake
    }
}

/// By how much the clocks may drift apart, or the wall clock may be set, while the process is awake.
const SLACK: Duration = Duration::from_secs(5).saturating_add(LATE);

impl State {
    /// This manager's own leases, as the judgement of a record's lease needs them.
    pub(crate) fn own(&self, now: Timestamp, wall: Duration) -> Own<'_> {
        let unclear = self
            .unclear()
            .filter(|unclear| unclear.sent.was_awake(now, wall));
        // A copy of this machine that was made meanwhile remembers the same attempts.
        let is_one = self
            .attempted
            .is_some_and(|attempted| attempted.was_awake(now, wall));
        Own {
            unsent: if is_one { &self.unsent } else { &[] },
            unclear: unclear.map(|unclear| unclear.holder),
        }
    }

    /// Notes a lease that is about to be written, and that may be written even if the store's answer is lost.
    pub(crate) fn attempted(&mut self, lease: Holder, at: ClockReading) {
        if self.unsent.is_empty() {
            self.attempted = Some(at);
        }
        if !self.unsent.contains(&lease) {
            self.unsent.push(lease);
        }
    }

    /// A grant is about to be sent. From here on no lease attempted before counts as one under which nothing was sent, if a store
    /// that lost a write shows it again. A sign-in leaves the doubt about the token in place, because the sign-in may fail.
    pub(crate) fn sending(&mut self, grant: &Grant<'_>) {
        self.unsent.clear();
        if matches!(grant, Grant::Refresh { .. }) {
            self.unclear = None;
        }
    }

    /// The request under a lease is over, and its answer was unclear.
    pub(crate) fn sent(&mut self, unclear: UnclearRequest) {
        self.unclear = Some(Box::new(unclear));
    }

    /// The lease whose request is over, if there is one.
    pub(crate) fn unclear(&self) -> Option<UnclearRequest> {
        self.unclear.as_deref().copied()
    }

    /// The lease whose request is over does not belong to this manager any more.
    pub(crate) fn lost(&mut self, lease: Holder) {
        if let Some(unclear) = self
            .unclear
            .as_mut()
            .filter(|unclear| unclear.holder == lease)
        {
            unclear.is_held = false;
        }
    }

    /// Forgets a lease that is known to be gone from the record.
    pub(crate) fn forget_lease(&mut self, lease: Holder) {
        self.unsent.retain(|attempted| *attempted != lease);
        self.unclear.take_if(|unclear| unclear.holder == lease);
    }
}
