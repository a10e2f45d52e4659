//! What a manager holds: a pair with what follows from it, and leases. The leases are those that it may have written without
//! sending anything under them, and the one under which it sent a token and read an unclear answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::State;
use crate::clock::{LATE, Timestamp};
use crate::endpoint::Grant;
use crate::record::lease::{Holder, Own};
use crate::record::marks::Marks;
use crate::record::{DoubtfulBy, Origin, reconcile};
use crate::schedule::{Due, Schedule};
use crate::snapshot::{Copies, Token};
use crate::token::{Digest, PairId, TokenFamily, TokenPair};
use crate::user_code::Moment;

/// The pair that a manager holds.
#[derive(Debug, Clone)]
pub(crate) struct HeldPair {
    pub(crate) pair: TokenPair,
    pub(crate) pair_id: PairId,
    pub(crate) digest: Digest,
    pub(crate) committed: Committed,
    pub(crate) schedule: Schedule,
    /// The access token as it is served; `None` if the pair has none.
    pub(crate) served: Option<Arc<Copies>>,
}

impl HeldPair {
    /// Whether the pair has a refresh token that has not expired.
    pub(super) fn can_refresh(&self, now: Timestamp) -> bool {
        let in_time = self.schedule.refresh_expires_at.is_none_or(|end| now < end);
        self.pair.refresh.is_some() && in_time
    }

    pub(super) fn due(&self, moment: Moment) -> Due {
        self.schedule.due(moment.now, moment.wall)
    }

    /// The access token, if the pair has one.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.served.as_ref().map(|served| served.token())
    }

    pub(crate) fn summary(&self) -> reconcile::Summary {
        reconcile::Summary {
            pair_id: self.pair_id,
            digest: self.digest,
            number: self.committed.number,
            sign_ins: self.committed.sign_ins,
            upstream: self.committed.upstream,
        }
    }
}

/// How a pair was requested, and is committed to its record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    /// The number of the lease under which the pair is committed.
    pub(crate) number: u64,
    /// The count of sign-ins of the pair's family.
    pub(crate) sign_ins: u64,
    /// What the sign-in of that family said of the provider's session.
    pub(crate) upstream: Option<Marks>,
    pub(crate) origin: Origin,
    /// Whether the server may have issued the pair to an earlier sending of the same token, so that it may be older than it
    /// seems.
    pub(crate) may_be_repeat: bool,
    /// Whether this manager got the pair by signing in.
    pub(crate) is_sign_in: bool,
    pub(crate) sent_at: Timestamp,
}

/// How far a logout of this manager is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogoutStage {
    /// The user asked for it, and it is not stored yet. The manager holds nothing.
    Asked,
    /// The record of this family is marked as logged out. The manager does not hold a pair of this family again.
    Written(TokenFamily),
}

/// What a manager held when the user logged out.
#[derive(Debug)]
pub(crate) struct HeldAtLogout {
    pub(crate) held: Option<Box<HeldPair>>,
    pub(crate) spare: Option<Box<HeldPair>>,
    pub(crate) seed: Option<(TokenPair, Timestamp)>,
}

impl HeldAtLogout {
    /// Whether the manager knew of no pair.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_none() && self.spare.is_none() && self.seed.is_none()
    }

    /// The pairs that the server may still accept, as far as this manager knows.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &TokenPair> {
        self.held.iter().chain(&self.spare).map(|held| &held.pair)
    }
}

/// The pair that a builder was given, with the moment at which it was given. The sessions of one key that follow each other in
/// a process share it.
#[derive(Debug)]
pub(crate) struct Seed {
    pair: (TokenPair, Timestamp),
    is_answered: AtomicBool,
}

impl Seed {
    pub(crate) fn new(pair: TokenPair, given_at: Timestamp) -> Self {
        Self {
            pair: (pair, given_at),
            is_answered: AtomicBool::new(false),
        }
    }

    pub(crate) fn pair(&self) -> &(TokenPair, Timestamp) {
        &self.pair
    }

    /// Whether a session has found out what becomes of the seed, so that it does not count for the next one.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::SeqCst)
    }

    pub(super) fn answer(&self) {
        self.is_answered.store(true, Ordering::SeqCst);
    }
}

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
    pub(crate) fn new(moment: Moment) -> Self {
        Self {
            at: moment.now,
            wall: moment.wall,
            awake: Instant::now(),
        }
    }

    /// Whether the process has been awake since. A copy of a machine that was made while the request was in flight takes the
    /// broken connection for the end of the request, which goes on in the original.
    pub(crate) fn was_awake(&self, moment: Moment) -> bool {
        let awake = self.awake.elapsed() + SLACK;
        moment.now.since(self.at) <= awake && moment.wall.saturating_sub(self.wall) <= awake
    }
}

/// By how much the clocks may drift apart, or the wall clock may be set, while the process is awake.
const SLACK: Duration = Duration::from_secs(5).saturating_add(LATE);

/// Attempts to write a lease. Each may have succeeded even if the store's answer is lost, and nothing was sent under any.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    holders: Vec<Holder>,
    /// When the first of them was made.
    began: Option<ClockReading>,
}

impl Attempts {
    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

impl State {
    /// This manager's own leases, as the judgement of a record's lease needs them.
    pub(crate) fn own(&self, moment: Moment) -> Own<'_> {
        let Attempts { holders, began } = &self.attempts;
        let unclear = self.unclear();
        let unclear = unclear.filter(|unclear| unclear.sent.was_awake(moment));
        // A copy of this machine that was made meanwhile remembers the same attempts.
        let is_one = began.is_some_and(|began| began.was_awake(moment));
        Own {
            unsent: if is_one { holders } else { &[] },
            unclear: unclear.map(|unclear| unclear.holder),
        }
    }

    /// Notes a lease that is about to be written.
    pub(crate) fn attempted(&mut self, lease: Holder, at: ClockReading) {
        let Attempts { holders, began } = &mut self.attempts;
        if holders.is_empty() {
            *began = Some(at);
        }
        if !holders.contains(&lease) {
            holders.push(lease);
        }
    }

    /// A grant is about to be sent. From here on no lease attempted before counts as one under which nothing was sent, if a store
    /// that lost a write shows it again. A sign-in leaves the doubt about the token in place, because the sign-in may fail.
    pub(crate) fn sending(&mut self, grant: &Grant<'_>) {
        self.attempts = Attempts::default();
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
        let unclear = self.unclear.as_mut();
        if let Some(unclear) = unclear.filter(|unclear| unclear.holder == lease) {
            unclear.is_held = false;
        }
    }

    /// Forgets a lease that is known to be gone from the record.
    pub(crate) fn forget_lease(&mut self, lease: Holder) {
        self.attempts.holders.retain(|attempt| *attempt != lease);
        self.unclear.take_if(|unclear| unclear.holder == lease);
    }
}
