//! What becomes of a rejection: a rotation, unless rotating has just not helped.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::schedule::Schedule;
use crate::settings::CoolDown;

/// What becomes of a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The token is not current any more: a newer one is there already.
    Outdated,
    /// The token is not served any more; a rotation is under way.
    Rotating,
    /// It was rejected so soon after it was issued that another rotation would not help, or in the pause after a rotation
    /// that failed. It is served on, and a later rejection counts.
    TooSoon,
    /// There is nothing to rotate with. It is served on.
    NotRotatable,
    /// The session has ended, and with this rejection its last token has.
    Ended,
}

/// The rejections of late.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// Whether the token that is held was rejected, so that it is not served any more.
    pub(super) current: bool,
    /// Rotations in a row that were forced by a rejection, with no token accepted in between.
    in_a_row: u32,
    /// Whether the token that is held was rejected, and too soon for that to count.
    too_soon: bool,
    /// When this manager was last issued a pair, if that was new.
    issued_at: Option<Timestamp>,
    /// Whether that is the one that is held.
    issued_this: bool,
}

impl Rejections {
    /// Another token is held.
    pub(super) fn renew(&mut self) {
        self.current = false;
        self.too_soon = false;
        self.issued_this = false;
    }

    pub(super) fn issued_this(&self) -> bool {
        self.issued_this
    }

    /// A pair was issued: the next is not fetched at once, whatever an API says of this one. If it may be older than it
    /// counts, an API is right to reject its token at once.
    pub(super) fn issued(&mut self, now: Timestamp, may_be_old: bool) {
        self.issued_at = (!may_be_old).then_some(now);
        self.issued_this = true;
    }

    /// An API accepted the token that is held.
    pub(super) fn forget(&mut self) {
        self.in_a_row = 0;
    }

    /// Judges the rejection of the token that is held.
    pub(super) fn judge(
        &mut self,
        schedule: &Schedule,
        was_accepted: bool,
        is_in_flight: bool,
        cool_down: CoolDown,
        now: Timestamp,
    ) -> Rejection {
        let age = schedule.age(now);
        // A token that nobody rejected for so long was a good one, unlike one that had to wait for it.
        if was_accepted || (age >= cool_down.longest && !self.too_soon) {
            self.in_a_row = 0;
        }
        let patience = match self.in_a_row {
            0 => Duration::ZERO,
            count => cool_down.after(count, false),
        };
        let just_issued = self.issued_at.map(|at| now.since(at));
        let too_early = just_issued.is_some_and(|since| since < schedule.shortest_interval);
        if (age < patience || too_early) && !is_in_flight {
            self.too_soon = true;
            return Rejection::TooSoon;
        }
        self.current = true;
        self.in_a_row = self.in_a_row.saturating_add(1);
        Rejection::Rotating
    }
}
