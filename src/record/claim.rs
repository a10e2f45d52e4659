//! Claims: the mark "being spent by, since". A token is spent only under a claim that names its digest
//! and was written against the very record that was read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Record;
use super::pause::NotBefore;
use crate::endpoint::Resend;
use crate::store::StoreTime;
use crate::token::Digest;

/// Who claims: 128 random bits, drawn anew at each start of a process (and for each manager in it), so
/// that nobody takes a claim of an earlier life for its own.
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
pub struct Claim {
    /// By whom.
    pub owner: Owner,
    /// Tells the claims on one key apart. A claim is a claimant's only if owner, number *and* nonce match.
    pub number: u64,
    /// Drawn for each claim: the memory of a machine can be cloned, and its owner and its next number with it.
    #[serde(default)]
    pub nonce: u64,
    /// The refresh token, or the key if it is a sign-in.
    pub digest: Digest,
    /// Since when, by the store's clock.
    pub since: StoreTime,
    /// For how long after that its claimant is left alone, in milliseconds when it is stored. An instance respects the
    /// longer of this and its own quarantine.
    #[serde(default, with = "crate::token::millis")]
    pub patience: Duration,
    /// Since when the token may be spent, by this claim or one before it.
    #[serde(default)]
    pub doubtful: Option<StoreTime>,
    /// What left it doubtful; `None` of a claim whose holder did not say.
    #[serde(default)]
    pub by: Option<DoubtfulBy>,
    /// What had left it doubtful before its holder claimed it for another sending, which may not have come about.
    #[serde(default)]
    pub before: Option<DoubtfulBy>,
    /// How often the token was sent again after an unclear answer.
    #[serde(default)]
    pub sendings: u32,
    /// Given up by its holder, who did not find out whether the token is spent.
    #[serde(default)]
    pub released: bool,
}

/// What left a claim doubtful.
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

impl Claim {
    /// From then on the token may have been sent.
    pub(crate) fn suspect_since(&self) -> StoreTime {
        self.doubtful.unwrap_or(self.since)
    }

    /// How long the holder is left alone by an instance of this `quarantine`.
    pub(crate) fn patience(&self, quarantine: Duration) -> Duration {
        self.patience.max(quarantine)
    }

    /// What may be done about the token, which may be spent, where the profile says `resend`.
    pub(crate) fn permits(&self, resend: Resend, can_sign_in: bool) -> Permit {
        permits(self.by, resend, can_sign_in)
    }

    /// Whether its holder has not said what came of the last sending.
    pub(crate) fn answer_is_open(&self) -> bool {
        self.by.is_none() || self.by != self.before
    }

    /// The answer to a sending beside this claim was unclear in this way. What the claim says of its holder's own request,
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

/// Who holds one claim: owner, number and nonce together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) owner: Owner,
    pub(crate) number: u64,
    pub(crate) nonce: u64,
}

/// What an instance writes of itself into a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant {
    pub(crate) owner: Owner,
    /// Drawn for this claim.
    pub(crate) nonce: u64,
    /// For how long others leave it alone.
    pub(crate) patience: Duration,
}

impl Claimant {
    /// The holder of the claim of this number.
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

/// What an instance remembers of its own claims on one key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own<'a> {
    /// Claims that were attempted, and under which nothing was sent.
    pub(crate) unsent: &'a [Holder],
    /// The claim whose request is over, and whose answer was unclear.
    pub(crate) over: Option<Holder>,
}

/// What the record's claim means for an instance that wants to spend a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody claims this token.
    Free,
    /// Our own claim, under which nothing was sent: its swap was ambiguous.
    Ours,
    /// Our own claim, whose request is over: the token may be spent, and no other instance sends it meanwhile.
    Over,
    /// Another instance is spending it; its claim goes stale after this time.
    Live { stale_in: Duration },
    /// Another instance may have spent it and has not said.
    Stale,
}

impl Record {
    /// Judges the claim for an instance of this `quarantine`.
    pub(crate) fn standing(&self, own: Own<'_>, now: StoreTime, quarantine: Duration) -> Standing {
        let Some(claim) = self.claim.as_ref().filter(|claim| self.is_current(claim)) else {
            return Standing::Free;
        };
        if own.unsent.contains(&claim.holder()) {
            return Standing::Ours;
        }
        if own.over == Some(claim.holder()) && !claim.released {
            return Standing::Over;
        }
        let left = claim
            .patience(quarantine)
            .saturating_sub(now.since(claim.since));
        if claim.released || left.is_zero() {
            return Standing::Stale;
        }
        Standing::Live { stale_in: left }
    }

    /// Whether the token that is current, or a sign-in, is claimed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claim
            .as_ref()
            .is_some_and(|claim| self.is_current(claim))
    }

    /// Whether the claim names the token that is current, or a sign-in.
    fn is_current(&self, claim: &Claim) -> bool {
        claim.digest == self.digest() || claim.digest == self.key.digest()
    }

    /// A claim on a token that nobody claims. Its number is the record's `next_number`.
    #[must_use]
    pub(crate) fn claimed(&self, by: Claimant, digest: Digest, now: StoreTime) -> Self {
        self.with_claim(Claim {
            owner: by.owner,
            number: self.next_number,
            nonce: by.nonce,
            digest,
            since: now,
            patience: by.patience,
            doubtful: None,
            by: None,
            before: None,
            sendings: 0,
            released: false,
        })
    }

    /// A claim under which the token may be spent becomes this claimant's, for sending the token once more: a stale claim of
    /// another instance, or our own whose request is over. It has a number and a nonce of its own, so that of two clones of
    /// one process one sends, and it is doubtful, so that no instance takes it for a plain one.
    #[must_use]
    pub(crate) fn resent(&self, by: Claimant, now: StoreTime) -> Self {
        self.reclaimed(by, now, |old| Claim {
            doubtful: Some(old.suspect_since()),
            by: Some(DoubtfulBy::Silence),
            before: old.by,
            sendings: old.sendings.saturating_add(1),
            ..old
        })
    }

    /// Our own claim after an ambiguous swap, written again. A doubt that it inherited stays.
    #[must_use]
    pub(crate) fn retaken(&self, by: Claimant, now: StoreTime) -> Self {
        self.reclaimed(by, now, |old| old)
    }

    /// Our claim, under which the token was sent and the answer was unclear. It is ours through the `pause` and the
    /// `quarantine` after it, so that it does not go stale before its holder sends again.
    #[must_use]
    pub(crate) fn doubted(
        &self,
        holder: Holder,
        by: DoubtfulBy,
        pause: NotBefore,
        quarantine: Duration,
        now: StoreTime,
    ) -> Self {
        let mut next = self.clone();
        if let Some(claim) = next.claim.as_mut().filter(|claim| claim.is_of(holder)) {
            claim.doubt(by);
            claim.since = now;
            claim.patience = quarantine.saturating_add(pause.until.since(now));
            next.not_before = Some(pause);
        }
        next
    }

    /// The token was sent beside the claim that another instance holds on it, and the answer was unclear in this way. The
    /// claim stays that instance's.
    #[must_use]
    pub(crate) fn noted(&self, by: DoubtfulBy) -> Self {
        let mut next = self.clone();
        if let Some(claim) = &mut next.claim {
            claim.doubt_beside(by);
        }
        next
    }

    /// Gives our claim up under which nothing was sent, or after its last answer; `None` if it is not ours any more. "May be
    /// spent" is never wiped by an instance that did not find out: a doubtful claim stays in place, stale at once. After a
    /// failure no instance sends before the `pause` is over.
    pub(crate) fn released(&self, holder: Holder, pause: Option<NotBefore>) -> Option<Self> {
        let claim = self.claim.as_ref().filter(|claim| claim.is_of(holder))?;
        let mut next = self.clone();
        next.claim = claim.doubtful.is_some().then(|| Claim {
            by: claim.before,
            released: true,
            ..claim.clone()
        });
        next.not_before = pause.or(next.not_before);
        Some(next)
    }

    fn reclaimed(&self, by: Claimant, now: StoreTime, change: impl FnOnce(Claim) -> Claim) -> Self {
        let Some(old) = self.claim.clone() else {
            return self.clone();
        };
        self.with_claim(Claim {
            owner: by.owner,
            number: self.next_number,
            nonce: by.nonce,
            since: now,
            patience: by.patience,
            released: false,
            ..change(old)
        })
    }

    fn with_claim(&self, claim: Claim) -> Self {
        Self {
            next_number: self.next_number.saturating_add(1),
            claim: Some(claim),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
