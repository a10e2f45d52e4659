//! The leases of this manager, as far as it remembers them: which it may have written without sending, and under which
//! it has sent and read no clear answer.

use std::time::Duration;

use tokio::time::Instant;

use super::State;
use crate::clock::{LATE, Timestamp};
use crate::endpoint::Grant;
use crate::record::DoubtfulBy;
use crate::record::lease::{Holder, Own};
use crate::token::Digest;

/// A lease whose request is over. Its holder may send the token again soon, because it knows that no request of its own
/// is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnclearRequest {
    pub(crate) holder: Holder,
    /// The token that was sent.
    pub(crate) digest: Digest,
    pub(crate) by: DoubtfulBy,
    pub(crate) sent: ClockReading,
    /// Whether the lease may still be in the record. Without it the token is as doubtful, should a store that lost writes show
    /// it without any lease.
    pub(crate) is_held: bool,
}

/// The moment of a sending, or of an attempt to lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockReading {
    /// By the clock that counts suspend.
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

    /// Whether the process was awake since the sending. A copy of a machine that was made while the request was out takes
    /// its broken connection for the end of the request, which goes on elsewhere.
    pub(crate) fn was_awake(&self, now: Timestamp, wall: Duration) -> bool {
        let awake = self.awake.elapsed() + SLACK;
        now.since(self.at) <= awake && wall.saturating_sub(self.wall) <= awake
    }
}

/// By how much clocks may drift apart, or the wall clock be set, while the process is awake.
const SLACK: Duration = Duration::from_secs(5).saturating_add(LATE);

impl State {
    /// What a look at a lease has to know of our own.
    pub(crate) fn own(&self, now: Timestamp, wall: Duration) -> Own<'_> {
        let unclear = self
            .unclear()
            .filter(|unclear| unclear.sent.was_awake(now, wall));
        // A copy of a machine that was made meanwhile remembers the same attempts.
        let is_one = self
            .attempted
            .is_some_and(|attempted| attempted.was_awake(now, wall));
        Own {
            unsent: if is_one { &self.unsent } else { &[] },
            unclear: unclear.map(|unclear| unclear.holder),
        }
    }

    /// This lease is being written, or may be written.
    pub(crate) fn attempted(&mut self, lease: Holder, at: ClockReading) {
        if self.unsent.is_empty() {
            self.attempted = Some(at);
        }
        if !self.unsent.contains(&lease) {
            self.unsent.push(lease);
        }
    }

    /// A grant is about to be sent: no lease attempted before is one under which nothing was, should
    /// a store that lost a write show it again. With a sign-in the doubt about the token stays: the sign-in may fail.
    pub(crate) fn sending(&mut self, grant: &Grant<'_>) {
        self.unsent.clear();
        if matches!(grant, Grant::Refresh { .. }) {
            self.unclear = None;
        }
    }

    /// The request is over that was sent under a lease, and the answer was unclear.
    pub(crate) fn sent(&mut self, unclear: UnclearRequest) {
        self.unclear = Some(Box::new(unclear));
    }

    /// The lease whose request is over, if there is one.
    pub(crate) fn unclear(&self) -> Option<UnclearRequest> {
        self.unclear.as_deref().copied()
    }

    /// The lease whose request is over is not ours any more.
    pub(crate) fn lost(&mut self, lease: Holder) {
        if let Some(unclear) = self
            .unclear
            .as_mut()
            .filter(|unclear| unclear.holder == lease)
        {
            unclear.is_held = false;
        }
    }

    /// This lease is known to be gone.
    pub(crate) fn forget_lease(&mut self, lease: Holder) {
        self.unsent.retain(|attempted| *attempted != lease);
        self.unclear.take_if(|unclear| unclear.holder == lease);
    }
}
