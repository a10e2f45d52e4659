//! The record that a store holds for a key, and its transitions: the rotation protocol itself. It does
//! no I/O, reads no clock and draws no random number.
//!
//! Lock, lease, marker and recovery are all *transitions of one record* that is replaced by
//! compare-and-swap. So there is one place where the protocol can be read, every store has it alike,
//! and each rule is a function of what was read and what time it was.
//!
//! - [`lease`]: who may spend the token, and whether it may be spent already
//! - [`reconcile`]: what a record means to somebody who holds a pair already
//! - [`pause`]: when nobody sends after a failure, and why
//! - [`commit`]: how a new pair gets in, and how a session ends
//! - [`end`]: why a session ended
//! - [`past`]: the names of the tokens that were used
//! - [`outline`]: what may be known of a record without its tokens
//! - [`format`]: how a record is written out, with what later versions put into its parts, and what is wiped of it

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub(crate) mod commit;
mod end;
pub(crate) mod format;
pub(crate) mod lease;
mod outline;
pub(crate) mod past;
pub(crate) mod pause;
pub(crate) mod reconcile;

use serde::{Deserialize, Serialize};

pub(crate) use self::end::cut;
pub use self::end::{EndReason, ServerWord};
use self::format::{Carried, Fields};
pub use self::lease::{DoubtfulBy, Lease, Owner};
use self::past::Past;
use self::pause::NotBefore;
use crate::clock::StoreTime;
use crate::token::{Digest, Key, PairId, TokenFamily, TokenPair};

/// The number of the layout below; a reader refuses every other one. Versions 1 and 2 were never released.
pub(crate) const FORMAT: u32 = 3;

/// The same layout with the pair sealed, as a codec writes it. A number of its own, so that whoever knows
/// nothing of seals refuses the record; taken for a plain one, it would be a session without tokens.
pub(crate) const SEALED_FORMAT: u32 = 4;

/// Whether records of this layout were written by versions that were never released: they are not read, and not
/// migrated either.
pub(crate) fn is_unreleased(format: u32) -> bool {
    (1..FORMAT).contains(&format)
}

/// What a store holds for a key: the pair, who is spending it, and what became of earlier ones.
///
/// It is opaque to stores, which write and read it whole through its `serde` implementation. **The
/// serialized form contains the tokens**; its `Debug` form does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub(crate) format: u32,
    pub(crate) key: Key,
    pub(crate) family: TokenFamily,
    /// Counts up with each commit, across families too.
    pub(crate) version: u64,
    pub(crate) pair: Option<StoredPair>,
    pub(crate) state: RecordState,
    pub(crate) lease: Option<Lease>,
    /// The pause after a failed attempt; a commit clears it.
    pub(crate) not_before: Option<NotBefore>,
    /// Counts sign-ins, seeds and replacements: of two families the one with more is the newer, whatever a store that was
    /// set back shows.
    pub(crate) sign_ins: u64,
    /// The number the next lease gets. It never restarts within a key, or a candidate who slept
    /// could take a later lease for its own.
    pub(crate) next_number: u64,
    /// The number of the lease under which `pair` was committed.
    pub(crate) committed_number: u64,
    pub(crate) past: Past,
    /// Fields beside these that a later version of this crate wrote, carried along.
    pub(crate) unknown: Fields,
    /// The same inside these fields.
    pub(crate) carried: Carried,
}

/// A pair and the store time its request was sent at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredPair {
    pub(crate) issued_at: StoreTime,
    #[serde(default)]
    pub(crate) origin: Origin,
    #[serde(flatten, with = "format::pair")]
    pub(crate) pair: TokenPair,
}

/// Where a refresh token came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// From the token endpoint, in exchange for another or for a sign-in.
    #[default]
    Endpoint,
    /// It was given at start. It stands in a configuration, and is presented again at every restart.
    Seed,
    /// It was brought by a user who signed in anew, and may come back as a seed.
    Replacement,
}

/// Whether the session goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum RecordState {
    Active,
    /// The server refused the token of this digest, in these words.
    Rejected {
        digest: Digest,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        description: Option<String>,
    },
    /// The token of this digest may be spent, and nothing more can be tried.
    OutcomeUnknown {
        digest: Digest,
    },
    LoggedOut,
    Expired,
    Idle,
}

impl RecordState {
    pub(crate) fn end(&self) -> Option<EndReason> {
        match self {
            Self::Active => None,
            Self::Rejected {
                code, description, ..
            } => {
                let word = ServerWord::new(code.as_deref(), description.as_deref());
                Some(EndReason::Rejected(word))
            }
            Self::OutcomeUnknown { .. } => Some(EndReason::OutcomeUnknown),
            Self::LoggedOut => Some(EndReason::LoggedOut),
            Self::Expired => Some(EndReason::Expired),
            Self::Idle => Some(EndReason::Idle),
        }
    }

    /// The token a verdict is bound to: another pair overrides it.
    pub(crate) fn condemned(&self) -> Option<Digest> {
        match self {
            Self::Rejected { digest, .. } | Self::OutcomeUnknown { digest } => Some(*digest),
            Self::Active | Self::LoggedOut | Self::Expired | Self::Idle => None,
        }
    }

    /// The refresh token that the server called dead.
    pub(crate) fn refused(&self) -> Option<Digest> {
        match self {
            Self::Rejected { digest, .. } => Some(*digest),
            _ => None,
        }
    }
}

impl Record {
    /// The first record of a key.
    pub(crate) fn first(key: Key, family: TokenFamily, pair: StoredPair, sign_ins: u64) -> Self {
        Self {
            version: 1,
            pair: Some(pair),
            sign_ins,
            ..Self::vacant(key, family)
        }
    }

    /// A record without a pair, for the lease of a first sign-in.
    pub(crate) fn vacant(key: Key, family: TokenFamily) -> Self {
        Self {
            format: FORMAT,
            key,
            family,
            version: 0,
            pair: None,
            state: RecordState::Active,
            lease: None,
            not_before: None,
            sign_ins: 0,
            next_number: 1,
            committed_number: 0,
            past: Past::default(),
            unknown: Fields::default(),
            carried: Carried::default(),
        }
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The digest of the current pair; of the key while there is none.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.pair
            .as_ref()
            .map_or_else(|| self.key.digest(), |stored| stored.pair.digest(&self.key))
    }

    /// The digest of the current access token; `None` if there is none.
    #[must_use]
    pub fn access_digest(&self) -> Option<Digest> {
        let access = self.pair.as_ref()?.pair.access.as_ref()?;
        Some(Digest::of(access.expose()))
    }

    /// The digests of the past refresh tokens that the record keeps: the last 8 of the token endpoint's, the last 16
    /// that were given at start, and the last 16 that a new sign-in brought.
    pub fn retired(&self) -> impl Iterator<Item = &Digest> {
        self.past.iter()
    }

    /// Whether this is the digest of the current token or of a past one that the record keeps.
    #[must_use]
    pub fn knows(&self, digest: &Digest) -> bool {
        self.digest() == *digest
            || self.state.condemned() == Some(*digest)
            || self.retired().any(|retired| retired == digest)
    }

    /// Which pair of which sign-in it holds.
    #[must_use]
    pub fn pair_id(&self) -> PairId {
        PairId {
            family: self.family,
            version: self.version,
        }
    }

    /// Notes the current token as past.
    fn retire_current(&mut self) {
        let Some(stored) = &self.pair else { return };
        let until = stored.pair.lifetime.refresh.total();
        self.past.note(
            stored.pair.digest(&self.key),
            stored.origin,
            until.map(|total| stored.issued_at.after(total)),
        );
    }
}

/// What the tests of the submodules start from.
#[cfg(test)]
mod testkit {
    use std::time::Duration;

    use super::lease::Candidate;
    use super::{Origin, Owner, Record, RecordState, StoredPair};
    use crate::clock::StoreTime;
    use crate::token::{Digest, Key, TokenFamily, TokenPair};

    pub(super) const ONE: Candidate = candidate(1);
    pub(super) const TWO: Candidate = candidate(2);
    pub(super) const NOW: StoreTime = StoreTime::from_millis(1_700_000_000_000);
    pub(super) const LEASE_DURATION: Duration = Duration::from_secs(60);
    pub(super) const KEY_CLIENT: &str = "client";

    const fn candidate(bits: u64) -> Candidate {
        Candidate {
            owner: Owner::from_bits(bits as u128),
            nonce: bits,
            lease_duration: Duration::ZERO,
        }
    }

    pub(super) fn pair(refresh: &str) -> StoredPair {
        StoredPair {
            issued_at: NOW,
            origin: Origin::Endpoint,
            pair: TokenPair::new(format!("access for {refresh}")).refresh_token(refresh),
        }
    }

    /// The end of a session whose token of this digest was refused.
    pub(super) fn rejected(digest: Digest) -> RecordState {
        RecordState::Rejected {
            digest,
            code: Some("invalid_grant".into()),
            description: None,
        }
    }

    /// An active record whose refresh token is "r1".
    pub(super) fn active() -> Record {
        Record::first(
            Key::new("issuer", KEY_CLIENT),
            TokenFamily::from_bits(1),
            pair("r1"),
            1,
        )
    }
}

#[cfg(test)]
mod tests;
