//! Claims: the mark "being spent by, since". A token is spent only under a claim that names its digest
//! and was written against the very record that was read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Record;
use crate::endpoint::ServerProfile;
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
    /// Given up by its holder, who did not find out whether the token is spent.
    #[serde(default)]
    pub released: bool,
    /// How often the token was sent again inside the server's replay window.
    #[serde(default)]
    pub replays: u32,
    /// How often it was sent again as a last resort.
    #[serde(default)]
    pub resorts: u32,
}

impl Claim {
    /// From then on the token may have been sent.
    pub(crate) fn suspect_since(&self) -> StoreTime {
        self.doubtful.unwrap_or(self.since)
    }

    /// How long the holder is left alone by an instance of this `quarantine`; doubled with each last resort.
    pub(crate) fn patience(&self, quarantine: Duration) -> Duration {
        let patience = self.patience.max(quarantine);
        patience.saturating_mul(1_u32.checked_shl(self.resorts).unwrap_or(u32::MAX))
    }

    /// What the server's profile permits about the token, which may be spent.
    pub(crate) fn permits(
        &self,
        server: &ServerProfile,
        can_sign_in: bool,
        quarantine: Duration,
        now: StoreTime,
    ) -> Permit {
        if now.since(self.suspect_since()) < server.replay_window && self.replays < server.replays {
            return Permit::Send(Again::Replay);
        }
        if can_sign_in {
            return Permit::SignIn;
        }
        if !server.last_resort || self.resorts >= server.last_resorts {
            return Permit::Nothing;
        }
        let left = self
            .patience(quarantine)
            .saturating_sub(now.since(self.since));
        if left.is_zero() {
            Permit::Send(Again::LastResort)
        } else {
            Permit::Wait(left)
        }
    }

    /// What is left of the server's replay window, if this claim was made for a replay. Replays come
    /// before last resorts, so without one of those it was.
    pub(crate) fn replay_left(&self, server: &ServerProfile, now: StoreTime) -> Option<Duration> {
        (self.doubtful.is_some() && self.resorts == 0).then(|| {
            server
                .replay_window
                .saturating_sub(now.since(self.suspect_since()))
        })
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

/// Why a token that may be spent is sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// The server answers it again for a while.
    Replay,
    /// The session is lost otherwise.
    LastResort,
}

/// What may be done about a token that may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Send(Again),
    SignIn,
    /// A last resort, after this time.
    Wait(Duration),
    /// Nothing: the outcome stays unknown.
    Nothing,
}

/// What the record's claim means for somebody who wants to spend a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody claims this token.
    Free,
    /// Our own claim, under which nothing was sent: its swap was ambiguous.
    Ours,
    /// Somebody is spending it; his claim goes stale after this time.
    Live { stale_in: Duration },
    /// Somebody may have spent it and has not said.
    Stale,
}

impl Record {
    /// Judges the claim for an instance whose claims `unsent` were attempted and never sent under.
    pub(crate) fn standing(
        &self,
        unsent: &[Holder],
        now: StoreTime,
        quarantine: Duration,
    ) -> Standing {
        let Some(claim) = self.claim.as_ref().filter(|claim| self.is_current(claim)) else {
            return Standing::Free;
        };
        if unsent.contains(&claim.holder()) {
            return Standing::Ours;
        }
        let left = claim
            .patience(quarantine)
            .saturating_sub(now.since(claim.since));
        if claim.released || left.is_zero() {
            return Standing::Stale;
        }
        Standing::Live { stale_in: left }
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
            released: false,
            replays: 0,
            resorts: 0,
        })
    }

    /// A claim under which the token may be spent becomes this claimant's, for sending it once more. It is
    /// doubtful, so nobody takes it for a plain one.
    #[must_use]
    pub(crate) fn taken_over(&self, by: Claimant, again: Again, now: StoreTime) -> Self {
        self.reclaimed(by, now, |old| Claim {
            doubtful: Some(old.suspect_since()),
            replays: old
                .replays
                .saturating_add(u32::from(again == Again::Replay)),
            resorts: old
                .resorts
                .saturating_add(u32::from(again == Again::LastResort)),
            ..old
        })
    }

    /// Our own claim after an ambiguous swap, written again. A doubt that it inherited stays.
    #[must_use]
    pub(crate) fn retaken(&self, by: Claimant, now: StoreTime) -> Self {
        self.reclaimed(by, now, |old| old)
    }

    /// Our claim, under which the token was sent and no answer read.
    #[must_use]
    pub(crate) fn doubted(&self, holder: Holder) -> Self {
        let mut next = self.clone();
        if let Some(claim) = next.claim.as_mut().filter(|claim| claim.is_of(holder)) {
            claim.doubtful = Some(claim.suspect_since());
        }
        next
    }

    /// Gives our claim up; `None` if it is not ours any more. "May be spent" is never wiped by
    /// somebody who did not find out: a doubtful claim stays in place, stale.
    pub(crate) fn released(&self, holder: Holder) -> Option<Self> {
        let claim = self.claim.as_ref().filter(|claim| claim.is_of(holder))?;
        let mut next = self.clone();
        next.claim = claim.doubtful.is_some().then(|| Claim {
            released: true,
            ..claim.clone()
        });
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
mod tests {
    use super::*;
    use crate::record::testkit::{NOW, ONE, QUARANTINE, TWO, active};

    const LATER: StoreTime = StoreTime::from_millis(NOW.as_millis() + 60_000);

    fn number(record: &Record) -> u64 {
        record.claim.as_ref().unwrap().number
    }

    #[test]
    fn a_claim_is_live_for_others_until_the_quarantine_is_over() {
        let record = active();
        let record = record.claimed(ONE, record.digest(), NOW);
        let just_before = StoreTime::from_millis(LATER.as_millis() - 1);
        let stale_in = Duration::from_millis(1);
        assert_eq!(
            record.standing(&[], just_before, QUARANTINE),
            Standing::Live { stale_in }
        );
        assert_eq!(record.standing(&[], LATER, QUARANTINE), Standing::Stale);
    }

    #[test]
    fn a_claim_is_ours_only_if_owner_and_number_match() {
        let record = active();
        let record = record.claimed(ONE, record.digest(), NOW);
        let ours = number(&record);
        assert_eq!(
            record.standing(&[ONE.holder(ours)], NOW, QUARANTINE),
            Standing::Ours
        );
        assert!(matches!(
            record.standing(&[TWO.holder(ours)], NOW, QUARANTINE),
            Standing::Live { .. }
        ));
        assert!(matches!(
            record.standing(&[ONE.holder(ours + 1)], NOW, QUARANTINE),
            Standing::Live { .. }
        ));
    }

    #[test]
    fn a_claim_of_a_clone_with_our_owner_and_number_is_not_ours() {
        let record = active();
        let clone = Claimant { nonce: 99, ..ONE };
        let record = record.claimed(clone, record.digest(), NOW);
        let ours = ONE.holder(number(&record));
        assert!(matches!(
            record.standing(&[ours], NOW, QUARANTINE),
            Standing::Live { .. }
        ));
        assert_eq!(record.released(ours), None);
    }

    #[test]
    fn a_claim_is_left_alone_for_as_long_as_it_says_if_that_is_longer_than_the_readers_quarantine()
    {
        let record = active();
        let patience = 2 * QUARANTINE;
        let patient = Claimant { patience, ..ONE };
        let record = record.claimed(patient, record.digest(), NOW);
        let stale_in = QUARANTINE;
        assert_eq!(
            record.standing(&[], LATER, QUARANTINE),
            Standing::Live { stale_in }
        );
        let much_later = LATER.after(QUARANTINE);
        assert_eq!(
            record.standing(&[], much_later, QUARANTINE),
            Standing::Stale
        );
        // A reader that waits longer of its own accord does so.
        assert!(matches!(
            record.standing(&[], much_later, 3 * QUARANTINE),
            Standing::Live { .. }
        ));
    }

    #[test]
    fn a_claim_on_a_token_that_is_no_longer_current_binds_nobody() {
        let record = active();
        let record = record.claimed(ONE, Digest::of("an older token"), NOW);
        assert_eq!(record.standing(&[], NOW, QUARANTINE), Standing::Free);
    }

    #[test]
    fn taking_over_a_stale_claim_makes_it_doubtful_since_the_first_claim() {
        let record = active();
        let record =
            record
                .claimed(ONE, record.digest(), NOW)
                .taken_over(TWO, Again::LastResort, LATER);
        let claim = record.claim.as_ref().unwrap();
        assert_eq!(
            (claim.owner, claim.doubtful, claim.since),
            (TWO.owner, Some(NOW), LATER)
        );
        // A second take-over does not move the doubt.
        let again = record.taken_over(ONE, Again::Replay, LATER.after(QUARANTINE));
        assert_eq!(again.claim.unwrap().doubtful, Some(NOW));
    }

    #[test]
    fn retaking_an_ambiguous_claim_inherits_its_doubt() {
        let record = active();
        let plain = record
            .claimed(ONE, record.digest(), NOW)
            .retaken(ONE, LATER);
        assert_eq!(plain.claim.unwrap().doubtful, None);
        let doubtful = record
            .claimed(ONE, record.digest(), NOW)
            .taken_over(TWO, Again::LastResort, LATER)
            .retaken(TWO, LATER);
        assert_eq!(doubtful.claim.unwrap().doubtful, Some(NOW));
    }

    #[test]
    fn releasing_a_plain_claim_frees_the_token() {
        let record = active();
        let claimed = record.claimed(ONE, record.digest(), NOW);
        let holder = ONE.holder(number(&claimed));
        let freed = claimed.released(holder).unwrap();
        assert_eq!(freed.standing(&[], NOW, QUARANTINE), Standing::Free);
    }

    #[test]
    fn releasing_a_doubtful_claim_leaves_it_in_place_and_stale() {
        let record = active();
        let doubtful =
            record
                .claimed(ONE, record.digest(), NOW)
                .taken_over(TWO, Again::LastResort, LATER);
        let holder = TWO.holder(number(&doubtful));
        let released = doubtful.released(holder).unwrap();
        assert_eq!(released.standing(&[], LATER, QUARANTINE), Standing::Stale);
        assert_eq!(released.claim.as_ref().unwrap().doubtful, Some(NOW));
        assert!(number(&released) == holder.number);
    }

    #[test]
    fn nobody_releases_anothers_claim() {
        let record = active();
        let claimed = record.claimed(ONE, record.digest(), NOW);
        let number = number(&claimed);
        assert_eq!(claimed.released(TWO.holder(number)), None);
        assert_eq!(claimed.released(ONE.holder(number + 1)), None);
    }

    #[test]
    fn each_last_resort_doubles_the_patience() {
        let record = active();
        let mut record = record.claimed(ONE, record.digest(), NOW);
        for factor in [1, 2, 4, 8] {
            let claim = record.claim.as_ref().unwrap();
            assert_eq!(claim.patience(QUARANTINE), QUARANTINE * factor);
            record = record.taken_over(ONE, Again::LastResort, NOW);
        }
    }

    #[test]
    fn a_claim_since_a_moment_the_store_has_not_reached_does_not_panic() {
        let record = active();
        let record = record.claimed(ONE, record.digest(), LATER);
        let stale_in = QUARANTINE;
        assert_eq!(
            record.standing(&[], NOW, QUARANTINE),
            Standing::Live { stale_in }
        );
    }

    #[test]
    fn a_token_that_may_be_spent_is_sent_again_only_as_the_profile_permits() {
        let record = active();
        let claim = record.claimed(ONE, record.digest(), NOW).claim.unwrap();
        let permits = |claim: &Claim, server: ServerProfile, seconds, sign_in| {
            claim.permits(
                &server,
                sign_in,
                QUARANTINE,
                NOW.after(Duration::from_secs(seconds)),
            )
        };
        let strict = ServerProfile::strict();
        let left = Permit::Wait(Duration::from_secs(59));
        assert_eq!(permits(&claim, strict, 1, false), left);
        assert_eq!(
            permits(&claim, strict, 60, false),
            Permit::Send(Again::LastResort)
        );
        assert_eq!(permits(&claim, strict, 1, true), Permit::SignIn);
        assert_eq!(
            permits(&claim, strict.last_resort(false), 1, false),
            Permit::Nothing
        );
        let grace = strict.replay_window(Duration::from_secs(30));
        assert_eq!(
            permits(&claim, grace, 29, false),
            Permit::Send(Again::Replay)
        );
        assert_eq!(
            permits(&claim, grace, 30, false),
            Permit::Wait(Duration::from_secs(30))
        );
        let replayed = Claim {
            replays: 1,
            ..claim.clone()
        };
        assert_eq!(permits(&replayed, grace, 1, false), left);
        let exhausted = Claim {
            resorts: 3,
            ..claim
        };
        assert_eq!(permits(&exhausted, strict, 10_000, false), Permit::Nothing);
    }
}
