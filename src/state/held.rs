//! The pair that a manager holds, with what follows from it: its schedule, and its token ready to be served.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::record::{Origin, reconcile};
use crate::schedule::Schedule;
use crate::snapshot::{Copies, Token};
use crate::token::{Digest, PairId, TokenFamily, TokenPair};

/// The pair that a manager holds.
#[derive(Debug, Clone)]
pub(crate) struct HeldPair {
    pub(crate) pair: TokenPair,
    pub(crate) pair_id: PairId,
    pub(crate) digest: Digest,
    /// The number of the lease under which the pair was committed.
    pub(crate) number: u64,
    /// The count of sign-ins of the pair's family.
    pub(crate) sign_ins: u64,
    pub(crate) origin: Origin,
    pub(crate) may_be_repeat: bool,
    pub(crate) is_sign_in: bool,
    pub(crate) sent_at: Timestamp,
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

    /// The access token, if the pair has one.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.served.as_ref().map(|served| served.token())
    }

    pub(crate) fn summary(&self) -> reconcile::Summary {
        reconcile::Summary {
            pair_id: self.pair_id,
            digest: self.digest,
            number: self.number,
            sign_ins: self.sign_ins,
        }
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed {
            number: self.number,
            sign_ins: self.sign_ins,
            origin: self.origin,
            may_be_repeat: self.may_be_repeat,
            is_sign_in: self.is_sign_in,
        }
    }
}

/// How a pair is committed to its record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    /// The number of the lease.
    pub(crate) number: u64,
    /// The count of sign-ins.
    pub(crate) sign_ins: u64,
    pub(crate) origin: Origin,
    /// Whether the server may have issued the pair to an earlier sending of the same token, so that it may be older than it
    /// seems.
    pub(crate) may_be_repeat: bool,
    /// Whether this manager got the pair by signing in.
    pub(crate) is_sign_in: bool,
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
    pub(crate) held: Option<HeldPair>,
    pub(crate) spare: Option<HeldPair>,
    pub(crate) seed: Option<(TokenPair, Timestamp)>,
}

impl HeldAtLogout {
    /// The pairs that the server may still accept, as far as this manager knows.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &TokenPair> {
        self.held.iter().chain(&self.spare).map(|held| &held.pair)
    }
}
