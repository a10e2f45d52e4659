//! A pair that a browser presents, compared with the one that is held.

use std::time::Duration;

use super::{Session, SessionPolicy};
use crate::clock::{StoreTime, Timestamp};
use crate::record::Origin;
use crate::record::browser::{Browser, Seen};
use crate::record::marks::Marks;
use crate::state::{Committed, HeldPair};
use crate::token::{Digest, PairId, TokenPair};
use crate::user_code::UserStrategy;

/// How many times the use of a session is noted in its record within the time that the session may be idle.
pub(crate) const NOTES_IN_IDLE: u32 = 8;

/// A pair that a browser presents.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    pub(crate) pair: TokenPair,
    pub(crate) pair_id: PairId,
    /// The number of the lease under which the pair was committed.
    pub(crate) number: u64,
    /// The count of sign-ins of its family.
    pub(crate) sign_ins: u64,
    /// When the request for the pair was sent.
    pub(crate) sent_at: Timestamp,
    /// When the user signed in.
    pub(crate) began: Timestamp,
    pub(crate) upstream: Option<Marks>,
    /// Whether this crate gave the pair to the browser. Otherwise the pair is all that is known.
    pub(crate) is_ours: bool,
}

impl Brought {
    fn is(&self, held: &HeldPair) -> bool {
        match (&self.pair.refresh, &held.pair.refresh) {
            (Some(brought), Some(held)) => brought == held,
            (None, None) => self.pair.access == held.pair.access,
            _ => false,
        }
    }
}

/// A copy of the pair that is held, for the browser.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) pair: TokenPair,
    pub(crate) pair_id: PairId,
    pub(crate) number: u64,
    pub(crate) sign_ins: u64,
    pub(crate) origin: Origin,
    pub(crate) sent_at: Timestamp,
    pub(crate) began: Timestamp,
    pub(crate) upstream: Option<Marks>,
}

impl Session {
    pub(super) fn strategy(&self) -> &UserStrategy {
        let shared = &self.shared.strategy;
        let policy = self.policy.as_ref();
        policy.map_or(shared, |policy| policy.strategy_or(shared))
    }

    pub(crate) fn policy(&self) -> Option<&SessionPolicy> {
        self.policy.as_deref()
    }

    /// Whether the record has to know of the browser.
    pub(crate) fn keeps_browser(&self) -> bool {
        self.policy().is_some_and(SessionPolicy::keeps_browser)
    }

    /// Whether the session goes on with this pair, or with any pair if `None` is brought, as far as this process knows.
    pub(crate) fn presents_held(&self, brought: Option<&Brought>) -> bool {
        let state = self.lock();
        let is_held = |held: &HeldPair| brought.is_none_or(|brought| brought.is(held));
        !state.has_ended() && state.held().is_some_and(is_held)
    }

    /// Counts a presentation, and returns whether the record has to know of it. `began` is when the user signed in. An id shows of
    /// no pair that the browser has it.
    pub(crate) fn presented(
        &self,
        brought: Option<&Brought>,
        began: Timestamp,
        now: Timestamp,
    ) -> bool {
        let idle = self.policy().and_then(|policy| policy.idle);
        let interval = idle.map(|idle| idle / NOTES_IN_IDLE);
        let mut state = self.lock();
        let was_unattended = state.is_unattended();
        // A token that the server issued again is that of the pair that is held.
        let version = brought.and_then(|brought| {
            let held = state.held()?;
            let is_of_it = brought.is_ours && brought.pair_id.family == held.pair_id.family;
            match brought.is(held) {
                true => Some(held.pair_id.version),
                false => is_of_it.then_some(brought.pair_id.version),
            }
        });
        let needs_note = state.presented(version, began, interval, now);
        if was_unattended {
            drop(state);
            // The timer had left the session alone.
            let moment = self.moment();
            self.plan(&self.lock(), moment);
        }
        needs_note && self.keeps_browser()
    }

    /// Whether the browser may still hold this pair, as far as this process knows.
    pub(crate) fn accepts_replaced(&self, brought: &Brought, retired_for: Duration) -> bool {
        let now = self.now();
        let state = self.lock();
        let is_of_it = |held: &HeldPair| brought.pair_id.family == held.pair_id.family;
        brought.is_ours
            && state.held().is_some_and(is_of_it)
            && state.accepts_replaced(brought.pair_id.version, retired_for, now)
    }

    /// How long ago a browser presented the session, before the presentation at `now`, and how long ago the user signed in.
    pub(crate) fn idle_and_age(&self, now: Timestamp) -> Option<(Duration, Duration)> {
        let state = self.lock();
        let presence = state.presence()?;
        Some((now.since(presence.at), now.since(presence.began)))
    }

    /// Holds a pair that a browser brings, and that neither this process nor the store knows, under this number at least. Returns
    /// whether it is held now.
    pub(crate) fn take_up(&self, brought: &Brought, least_number: u64, epoch: u64) -> bool {
        let committed = Committed {
            number: brought.number.max(least_number),
            sign_ins: brought.sign_ins,
            origin: Origin::Replacement,
            may_be_repeat: false,
            is_sign_in: false,
            sent_at: brought.sent_at,
            upstream: brought.upstream,
        };
        let held = self.holding(brought.pair.clone(), brought.pair_id, committed);
        let moment = self.moment();
        let mut state = self.lock();
        if state.is_logged_out_of() {
            return false;
        }
        let Some(mut current) = state.in_epoch(epoch) else {
            return false;
        };
        let is_newer = |older: &HeldPair| match older.pair_id.family == brought.pair_id.family {
            true => older.committed.number < brought.number,
            false => older.committed.sign_ins < brought.sign_ins,
        };
        if !current.held().is_none_or(is_newer) || !current.hold(held) {
            return false;
        }
        self.republish(&current, moment);
        true
    }

    /// What this instance knows of the browser, at `now` by the store's clock.
    pub(crate) fn seen_browser(&self, now: StoreTime) -> Option<Seen> {
        let ours = self.now();
        let at = |at: Timestamp| now.before(ours.since(at));
        let state = self.lock();
        let presence = state.presence()?;
        Some(Seen {
            at: at(presence.at),
            shown: presence.shown.map(|shown| shown.map(at)),
        })
    }

    /// What a new record of this pair knows of the browser.
    pub(crate) fn browser(&self, version: u64, now: StoreTime) -> Box<Browser> {
        let ours = self.now();
        let began = self.lock().presence().map(|presence| presence.began);
        let began = began.map_or(now, |began| now.before(ours.since(began)));
        let seen = self.seen_browser(now);
        // The browser may hold each pair that it has shown, and those after it.
        let shown = seen.and_then(|seen| seen.shown);
        let version = shown.map_or(version, |shown| shown.version.min(version));
        let mut browser = Browser::new(version, began, now);
        if let Some(seen) = seen {
            browser.seen_at = seen.at;
        }
        Box::new(browser)
    }

    /// A copy of the pair that is held.
    pub(crate) fn copy(&self) -> Option<Copy> {
        let state = self.lock();
        let held = state.held()?;
        let Committed {
            number,
            sign_ins,
            origin,
            sent_at,
            upstream,
            ..
        } = held.committed;
        Some(Copy {
            pair: held.pair.clone(),
            pair_id: held.pair_id,
            number,
            sign_ins,
            origin,
            sent_at,
            upstream,
            began: state.presence().map_or(sent_at, |presence| presence.began),
        })
    }

    /// Whether the held pair has the tokens of this one.
    pub(crate) fn holds(&self, pair: &TokenPair) -> bool {
        let state = self.lock();
        let is_same =
            |held: &HeldPair| held.pair.refresh == pair.refresh && held.pair.access == pair.access;
        state.held().is_some_and(is_same)
    }

    /// How long it is until a request begins a rotation.
    pub(crate) fn next_rotation(&self) -> Option<Duration> {
        let moment = self.moment();
        let state = self.lock();
        let schedule = &state.held()?.schedule;
        let latest = schedule.at_the_latest(moment.now, moment.wall);
        schedule.next_change(latest).map(|at| at.since(latest))
    }

    /// How long the refresh token of the held pair lives from now on, if that is known.
    #[cfg(feature = "gateway")]
    pub(crate) fn refresh_lives_for(&self, now: Timestamp) -> Option<Duration> {
        let state = self.lock();
        let end = state.held()?.schedule.refresh_expires_at;
        end.map(|end| end.since(now))
    }

    /// The name of a brought pair.
    pub(crate) fn digest_of(&self, brought: &Brought) -> Digest {
        brought.pair.digest(&self.key)
    }
}
