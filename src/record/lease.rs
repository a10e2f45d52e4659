//! Leases: the mark "being spent by, since". A token is spent only under a lease that names its digest
//! and was written against the very record that was read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Record;
use super::pause::NotBefore;
use crate::clock::StoreTime;
use crate::endpoint::Resend;
use crate::token::Digest;

/// Who leases: 128 random bits, drawn anew at each start of a process (and for each manager in it), so
/// that nobody takes a lease of an earlier life for its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u128);

impl Owner {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        crate::token::random().map(Self)
    }

    /// A given one.
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({self})")
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// The mark that a token is being spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// By whom.
    pub owner: Owner,
    /// Tells the leases on one key apart. A lease is a candidate's only if owner, number *and* nonce match.
    pub number: u64,
    /// Drawn for each lease: the memory of a machine can be cloned, and its owner and its next number with it.
    #[serde(default)]
    pub nonce: u64,
    /// The refresh token, or the key if it is a sign-in.
    pub digest: Digest,
    /// Since when, by the store's clock.
    pub since: StoreTime,
    /// For how long after that its candidate is left alone, in milliseconds when it is stored. An instance respects the
    /// longer of this and its own lease duration.
    #[serde(default, with = "crate::token::millis")]
    pub duration: Duration,
    /// Since when the token may be spent, by this lease or one before it.
    #[serde(default)]
    pub doubtful: Option<StoreTime>,
    /// What left it doubtful; `None` of a lease whose holder did not say.
    #[serde(default)]
    pub by: Option<DoubtfulBy>,
    /// What had left it doubtful before its holder leased it for another sending, which may not have come about.
    #[serde(default)]
    pub before: Option<DoubtfulBy>,
    /// How often the token was sent again after an unclear answer.
    #[serde(default)]
    pub sendings: u32,
    /// Given up by its holder, who did not find out whether the token is spent.
    #[serde(default)]
    pub released: bool,
}

/// What left a lease doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DoubtfulBy {
    /// A page, or an answer of a gateway: the token is probably unspent.
    Unavailable,
    /// No answer that can be read: the token may well be spent. A word that this version does not know counts as it.
    #[serde(other)]
    Silence,
}

impl Lease {
    /// From then on the token may have been sent.
    pub(crate) fn suspect_since(&self) -> StoreTime {
        self.doubtful.unwrap_or(self.since)
    }

    /// How long the holder is left alone by an instance of this `lease_duration`.
    pub(crate) fn duration_for(&self, lease_duration: Duration) -> Duration {
        self.duration.max(lease_duration)
    }

    /// What may be done about the token, which may be spent, where the profile says `resend`.
    pub(crate) fn permits(&self, resend: Resend, can_sign_in: bool) -> Permit {
        permits(self.by, resend, can_sign_in)
    }

    /// Whether its holder has not said what came of the last sending.
    pub(crate) fn answer_is_open(&self) -> bool {
        self.by.is_none() || self.by != self.before
    }

    /// The answer to a sending beside this lease was unclear in this way. What the lease says of its holder's own request,
    /// which may be under way, stays.
    fn doubt_beside(&mut self, by: DoubtfulBy) {
        let is_open = self.answer_is_open();
        let by = self.worse_of(by);
        self.doubtful = Some(self.suspect_since());
        self.before = Some(by);
        if !is_open {
            self.by = Some(by);
        }
    }

    /// What leaves the token doubtful after this answer too: a silence stays one, whatever follows on it.
    fn worse_of(&self, by: DoubtfulBy) -> DoubtfulBy {
        let was_silent = match self.before {
            Some(before) => before == DoubtfulBy::Silence,
            None => self.sendings > 0,
        };
        if was_silent { DoubtfulBy::Silence } else { by }
    }

    /// The answer to the last sending was unclear in this way.
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

/// Who holds one lease: owner, number and nonce together.
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
    /// Drawn for this lease.
    pub(crate) nonce: u64,
    /// The duration that the instance writes into its lease.
    pub(crate) lease_duration: Duration,
}

impl Candidate {
    /// The holder of the lease of this number.
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
    /// It may be sent again.
    Send,
    SignIn,
    /// Nothing: the outcome stays unknown.
    Nothing,
}

/// What may be done about a token that was left doubtful `by` this, where the profile says `resend`.
pub(crate) fn permits(by: Option<DoubtfulBy>, resend: Resend, can_sign_in: bool) -> Permit {
    let is_unavailable = by == Some(DoubtfulBy::Unavailable);
    // After a page the same server would answer the sign-in.
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

/// What an instance remembers of its own leases on one key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own<'a> {
    /// Leases that were attempted, and under which nothing was sent.
    pub(crate) unsent: &'a [Holder],
    /// The lease whose request is over, and whose answer was unclear.
    pub(crate) unclear: Option<Holder>,
}

/// What the record's lease means for an instance that wants to spend a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStatus {
    /// Nobody leases this token.
    Free,
    /// Our own lease, under which nothing was sent: its swap was ambiguous.
    Unsent,
    /// Our own lease, whose request is over: the token may be spent, and no other instance sends it meanwhile.
    Unclear,
    /// Another instance is spending it; its lease goes stale after this time.
    Live { stale_in: Duration },
    /// Another instance may have spent it and has not said.
    Stale,
}

impl Record {
    /// Judges the lease for an instance of this `lease_duration`.
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
        let remaining = lease
            .duration_for(lease_duration)
            .saturating_sub(now.since(lease.since));
        if lease.released || remaining.is_zero() {
            return LeaseStatus::Stale;
        }
        LeaseStatus::Live {
            stale_in: remaining,
        }
    }

    /// Whether the token that is current, or a sign-in, is leased.
    pub(crate) fn is_leased(&self) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| self.is_current(lease))
    }

    /// Whether the lease names the token that is current, or a sign-in.
    fn is_current(&self, lease: &Lease) -> bool {
        lease.digest == self.digest() || lease.digest == self.key.digest()
    }

    /// A lease on a token that nobody leases. Its number is the record's `next_number`.
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

    /// A lease under which the token may be spent becomes this candidate's, for sending the token once more: a stale lease of
    /// another instance, or our own whose request is over. It has a number and a nonce of its own, so that of two clones of
    /// one process one sends, and it is doubtful, so that no instance takes it for a plain one.
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

    /// Our own lease after an ambiguous swap, written again. A doubt that it inherited stays.
    #[must_use]
    pub(crate) fn retaken(&self, by: Candidate, now: StoreTime) -> Self {
        self.leased_again(by, now, |old| old)
    }

    /// Our lease, under which the token was sent and the answer was unclear. It is ours through the `pause` and the
    /// `lease_duration` after it, so that it does not go stale before its holder sends again.
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

    /// The token was sent beside the lease that another instance holds on it, and the answer was unclear in this way. The
    /// lease stays that instance's.
    #[must_use]
    pub(crate) fn noted(&self, by: DoubtfulBy) -> Self {
        let mut next = self.clone();
        if let Some(lease) = &mut next.lease {
            lease.doubt_beside(by);
        }
        next
    }

    /// Gives our lease up under which nothing was sent, or after its last answer; `None` if it is not ours any more. "May be
    /// spent" is never wiped by an instance that did not find out: a doubtful lease stays in place, stale at once. After a
    /// failure no instance sends before the `pause` is over.
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
