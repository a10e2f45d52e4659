//! Leases: a lease marks in the record which instance is spending the token, and since when.
//!
//! A token is spent only under a lease that names the token's digest and was written against the very record that was
//! read, so that no two instances send one token at the same time. A lease is never a proof that its token is unspent
//! once the token may have been sent: that doubt stays in the record until an instance finds out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NotBefore, Record};
use crate::clock::StoreTime;
use crate::endpoint::Resend;
use crate::token::{Digest, random_name};

random_name! {
    /// An instance that leases: 128 random bits, drawn for each manager when it is built. An instance therefore never
    /// takes the lease of an earlier process for its own.
    Owner
}

/// The mark that an instance is spending a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// The instance that holds the lease.
    pub owner: Owner,
    /// Distinguishes the leases on one key. An instance holds a lease only if owner, number *and* nonce match.
    pub number: u64,
    /// Drawn for each lease, because the memory of a machine can be copied together with its owner and its next
    /// number.
    #[serde(default)]
    pub nonce: u64,
    /// The digest of the refresh token, or of the key for a sign-in.
    pub digest: Digest,
    /// The beginning of the lease, by the store's clock.
    pub since: StoreTime,
    /// How long other instances leave the lease alone, in milliseconds when it is stored. An instance respects the
    /// longer of this and its own lease duration.
    #[serde(default, with = "crate::token::millis")]
    pub duration: Duration,
    /// Since when the token may be spent, under this lease or one before it.
    pub doubtful: Option<StoreTime>,
    /// The kind of answer that left the token doubtful; `None` if the holder did not record one.
    pub by: Option<DoubtfulBy>,
    /// The kind of answer that had left the token doubtful before its holder leased it for another sending, which may
    /// not have happened.
    pub before: Option<DoubtfulBy>,
    /// How often the token was sent again after an unclear answer.
    #[serde(default)]
    pub sendings: u32,
    /// Whether the holder gave the lease up without finding out whether the token is spent.
    #[serde(default)]
    pub released: bool,
}

/// The kind of answer that left a token doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DoubtfulBy {
    /// The answer was a page, or an answer of a gateway: the token is probably unspent.
    Unavailable,
    /// No answer arrived that can be read: the token may well be spent. A value that this version does not know counts as
    /// this one.
    #[serde(other)]
    Silence,
}

impl Lease {
    /// Since when the token may have been sent.
    pub(crate) fn suspect_since(&self) -> StoreTime {
        self.doubtful.unwrap_or(self.since)
    }

    /// How long an instance with this `lease_duration` leaves the lease alone.
    pub(crate) fn duration_for(&self, lease_duration: Duration) -> Duration {
        self.duration.max(lease_duration)
    }

    /// What may be done about the token, which may be spent, if the profile says `resend`.
    pub(crate) fn permits(&self, resend: Resend, can_sign_in: bool) -> Permit {
        permits(self.by, resend, can_sign_in)
    }

    /// Whether the holder has not recorded the answer to its last sending.
    pub(crate) fn answer_is_open(&self) -> bool {
        self.by.is_none() || self.by != self.before
    }

    /// Records an unclear answer to a request that was sent beside this lease. What the lease says about its holder's
    /// own request, which may be under way, stays.
    fn doubt_beside(&mut self, by: DoubtfulBy) {
        let holders_own = self.answer_is_open().then_some(self.by);
        self.doubt(by);
        self.by = holders_own.unwrap_or(self.by);
    }

    /// The kind of doubt after this answer. A silence stays a silence, whatever answer follows it.
    fn worse_of(&self, by: DoubtfulBy) -> DoubtfulBy {
        match self.before {
            Some(DoubtfulBy::Silence) => DoubtfulBy::Silence,
            None if self.sendings > 0 => DoubtfulBy::Silence,
            _ => by,
        }
    }

    /// Records an unclear answer to the last sending.
    pub(crate) fn doubt(&mut self, by: DoubtfulBy) {
        let by = self.worse_of(by);
        self.doubtful = Some(self.suspect_since());
        self.by = Some(by);
        self.before = Some(by);
    }

    pub(crate) fn holder(&self) -> Holder {
        Holder {
            owner: self.owner,
            number: self.number,
            nonce: self.nonce,
        }
    }

    pub(crate) fn is_of(&self, holder: Holder) -> bool {
        self.holder() == holder
    }
}

/// The holder of one lease: owner, number and nonce together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) owner: Owner,
    pub(crate) number: u64,
    pub(crate) nonce: u64,
}

/// What an instance writes of itself into a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) owner: Owner,
    /// The nonce, drawn for this lease.
    pub(crate) nonce: u64,
    /// The lease duration of the instance, which other instances respect.
    pub(crate) lease_duration: Duration,
}

impl Candidate {
    /// The holder of this instance's lease of this number.
    pub(crate) fn holder(self, number: u64) -> Holder {
        Holder {
            owner: self.owner,
            number,
            nonce: self.nonce,
        }
    }
}

/// What may be done about a token that may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// The token may be sent again.
    Send,
    SignIn,
    /// Neither: the outcome stays unknown.
    Nothing,
}

/// What may be done about a token that was left doubtful `by` this kind of answer, if the profile says `resend`.
pub(crate) fn permits(by: Option<DoubtfulBy>, resend: Resend, can_sign_in: bool) -> Permit {
    let is_unavailable = by == Some(DoubtfulBy::Unavailable);
    // After a page, a sign-in would reach the same broken server, so resending is tried first.
    if can_sign_in && !is_unavailable {
        return Permit::SignIn;
    }
    match resend {
        Resend::Always => Permit::Send,
        Resend::WhenUnavailable if is_unavailable => Permit::Send,
        Resend::WhenUnavailable | Resend::Never if can_sign_in => Permit::SignIn,
        Resend::WhenUnavailable | Resend::Never => Permit::Nothing,
    }
}

/// What an instance remembers about its own leases on one key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own<'a> {
    /// Leases that were attempted, and under which nothing was sent.
    pub(crate) unsent: &'a [Holder],
    /// The lease whose request is over, and whose answer was unclear.
    pub(crate) unclear: Option<Holder>,
}

/// What the record's lease means for an instance that wants to spend the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStatus {
    /// No instance leases this token.
    Free,
    /// A lease of this instance, under which nothing was sent: the swap that wrote it had no answer.
    Unsent,
    /// A lease of this instance, whose request is over: the token may be spent, and no other instance sends it
    /// meanwhile.
    Unclear,
    /// Another instance is spending the token; its lease goes stale after this time.
    Live { stale_in: Duration },
    /// Another instance may have spent the token and has not recorded the outcome.
    Stale,
}

impl Record {
    /// What the lease means for an instance with this `lease_duration`, which remembers its `own` leases.
    pub(crate) fn lease_status(
        &self,
        own: Own<'_>,
        now: StoreTime,
        lease_duration: Duration,
    ) -> LeaseStatus {
        let Some(lease) = self.lease.as_ref().filter(|lease| self.is_current(lease)) else {
            return LeaseStatus::Free;
        };
        if own.unsent.contains(&lease.holder()) {
            return LeaseStatus::Unsent;
        }
        if own.unclear == Some(lease.holder()) && !lease.released {
            return LeaseStatus::Unclear;
        }
        let age = now.since(lease.since);
        let stale_in = lease.duration_for(lease_duration).saturating_sub(age);
        if lease.released || stale_in.is_zero() {
            return LeaseStatus::Stale;
        }
        LeaseStatus::Live { stale_in }
    }

    /// Whether an instance leases the current token, or a sign-in.
    pub(crate) fn is_leased(&self) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| self.is_current(lease))
    }

    /// Whether the lease is on the current token, or on a sign-in.
    fn is_current(&self, lease: &Lease) -> bool {
        lease.digest == self.digest() || lease.digest == self.key.digest()
    }

    /// The record with a lease on a token that no instance leases. The lease gets the record's `next_number`.
    #[must_use]
    pub(crate) fn leased(&self, by: Candidate, digest: Digest, now: StoreTime) -> Self {
        self.with_lease(Lease {
            owner: by.owner,
            number: self.next_number,
            nonce: by.nonce,
            digest,
            since: now,
            duration: by.lease_duration,
            doubtful: None,
            by: None,
            before: None,
            sendings: 0,
            released: false,
        })
    }

    /// The record with its doubtful lease taken over by this instance, to send the token once more. The former lease
    /// is a stale one of another instance, or one of this instance whose request is over. The new lease has its own
    /// number and nonce, so that of two copies of one process only one sends. The new lease is doubtful, so that no
    /// instance takes it for a plain one.
    #[must_use]
    pub(crate) fn resent(&self, by: Candidate, now: StoreTime) -> Self {
        self.leased_again(by, now, |old| Lease {
            doubtful: Some(old.suspect_since()),
            by: Some(DoubtfulBy::Silence),
            before: old.by,
            sendings: old.sendings.saturating_add(1),
            ..old
        })
    }

    /// The record with a lease of this instance written again, after a swap without an answer. A doubt that the lease
    /// inherited stays.
    #[must_use]
    pub(crate) fn retaken(&self, by: Candidate, now: StoreTime) -> Self {
        self.leased_again(by, now, |old| old)
    }

    /// The record with the doubt about this instance's lease, under which the token was sent and the answer was
    /// unclear. The lease lasts through the `pause` and the `lease_duration` after it, so that it does not go stale
    /// before its holder sends again.
    #[must_use]
    pub(crate) fn doubted(
        &self,
        holder: Holder,
        by: DoubtfulBy,
        pause: NotBefore,
        lease_duration: Duration,
        now: StoreTime,
    ) -> Self {
        let mut next = self.clone();
        if let Some(lease) = next.lease.as_mut().filter(|lease| lease.is_of(holder)) {
            lease.doubt(by);
            lease.since = now;
            lease.duration = lease_duration.saturating_add(pause.until.since(now));
            next.not_before = Some(pause);
        }
        next
    }

    /// The record with a doubt about another instance's lease, beside which the token was sent with an unclear
    /// answer. The lease stays that instance's.
    #[must_use]
    pub(crate) fn noted(&self, by: DoubtfulBy) -> Self {
        let mut next = self.clone();
        if let Some(lease) = &mut next.lease {
            lease.doubt_beside(by);
        }
        next
    }

    /// The record with this instance's lease given up; `None` if the lease is no longer this instance's. A doubt is
    /// never wiped by an instance that did not find out: a doubtful lease stays in the record, stale at once. After a
    /// failure no instance sends before the `pause` has ended.
    pub(crate) fn released(&self, holder: Holder, pause: Option<NotBefore>) -> Option<Self> {
        let lease = self.lease.as_ref().filter(|lease| lease.is_of(holder))?;
        let mut next = self.clone();
        next.lease = lease.doubtful.is_some().then(|| Lease {
            by: lease.before,
            released: true,
            ..lease.clone()
        });
        next.not_before = pause.or(next.not_before);
        Some(next)
    }

    fn leased_again(
        &self,
        by: Candidate,
        now: StoreTime,
        change: impl FnOnce(Lease) -> Lease,
    ) -> Self {
        let Some(old) = self.lease.clone() else {
            return self.clone();
        };
        self.with_lease(Lease {
            owner: by.owner,
            number: self.next_number,
            nonce: by.nonce,
            since: now,
            duration: by.lease_duration,
            released: false,
            ..change(old)
        })
    }

    fn with_lease(&self, lease: Lease) -> Self {
        Self {
            next_number: self.next_number.saturating_add(1),
            lease: Some(lease),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
