//! The record that a store holds for a key, and its transitions: the rotation protocol itself.
//!
//! This module does no I/O, reads no clock and draws no random number. Lock, lease, marker and recovery are all
//! *transitions of one record* that is replaced by compare-and-swap. So the protocol can be read in one place, is the
//! same for every store, and each rule is a function of what was read and of the time.
//!
//! - [`lease`]: which instance may spend the token, and whether the token may be spent already
//! - [`reconcile`]: what a record means to an instance that holds a pair
//! - [`pause`]: when no instance sends after a failure, and why
//! - [`commit`]: how a new pair gets into the record, and how a session ends
//! - [`end`]: why a session ended
//! - [`past`]: the digests of the tokens that were used
//! - [`outline`]: what a store may know of a record without its tokens
//! - [`format`]: how a record is serialized, how fields of later versions are kept, and which values are wiped

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

/// The number of this layout. A reader refuses every other one. Versions 1 and 2 were never released.
pub(crate) const FORMAT: u32 = 3;

/// The number of the same layout with the pair sealed, as a codec writes it. A reader that does not know seals
/// refuses the record by this number. It would otherwise take the record for a session without tokens.
pub(crate) const SEALED_FORMAT: u32 = 4;

/// Whether records of this layout were written only by versions that were never released. Such records are neither
/// read nor migrated.
pub(crate) fn is_unreleased(format: u32) -> bool {
    (1..FORMAT).contains(&format)
}

/// What a store holds for a key: the pair, the lease of the instance that spends it, and the digests of past tokens.
///
/// A record is opaque to stores, which write and read it as a whole through its `serde` implementation. **The
/// serialized form contains the tokens**; its `Debug` form does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub(crate) format: u32,
    pub(crate) key: Key,
    pub(crate) family: TokenFamily,
    /// Counts up with each commit, also when the family changes.
    pub(crate) version: u64,
    pub(crate) pair: Option<StoredPair>,
    pub(crate) state: RecordState,
    pub(crate) lease: Option<Lease>,
    /// The pause after a failed attempt. A commit clears it.
    pub(crate) not_before: Option<NotBefore>,
    /// Counts sign-ins, seeds and replacements. Of two families, the one with the higher count is the newer one, also
    /// in a store that was set back.
    pub(crate) sign_ins: u64,
    /// The number of the next lease. It never restarts within a key: an instance that was suspended could otherwise
    /// take a later lease for its own.
    pub(crate) next_number: u64,
    /// The number of the lease under which `pair` was committed.
    pub(crate) committed_number: u64,
    pub(crate) past: Past,
    /// Fields that a later version of this crate wrote beside these. They are written back unchanged.
    pub(crate) unknown: Fields,
    /// Fields that a later version of this crate wrote inside these. They are written back unchanged.
    pub(crate) carried: Carried,
}

/// A pair, and the time at which its request was sent, by the store's clock.
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
    /// The token endpoint issued it, in exchange for another token or for a sign-in.
    #[default]
    Endpoint,
    /// A configuration gave it at start, and gives it again at every restart.
    Seed,
    /// The user brought it with a new sign-in. It may come back as a seed.
    Replacement,
}

/// Whether the session is active, and if not, why it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum RecordState {
    Active,
    /// The server rejected the token of this digest, in these words.
    Rejected {
        digest: Digest,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        description: Option<String>,
    },
    /// The token of this digest may be spent, and the server's profile permits no other attempt.
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

    /// The token that the end refers to. Another pair overrides such an end.
    pub(crate) fn condemned(&self) -> Option<Digest> {
        match self {
            Self::Rejected { digest, .. } | Self::OutcomeUnknown { digest } => Some(*digest),
            Self::Active | Self::LoggedOut | Self::Expired | Self::Idle => None,
        }
    }

    /// The refresh token that the server rejected.
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

    /// A record without a pair, to lease a first sign-in.
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

    /// The digest of the current pair, or of the key while there is no pair.
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

    /// The digests of the past refresh tokens that the record keeps: the last 8 that the token endpoint issued, the
    /// last 16 that were given at start, and the last 16 that a new sign-in brought.
    pub fn retired(&self) -> impl Iterator<Item = &Digest> {
        self.past.iter()
    }

    /// Whether this is the digest of the current token, or of a past token that the record keeps.
    #[must_use]
    pub fn knows(&self, digest: &Digest) -> bool {
        self.digest() == *digest
            || self.state.condemned() == Some(*digest)
            || self.retired().any(|retired| retired == digest)
    }

    /// The family and the version of the current pair.
    #[must_use]
    pub fn pair_id(&self) -> PairId {
        PairId {
            family: self.family,
            version: self.version,
        }
    }

    /// Adds the current token to the past ones.
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

/// Fixtures for the tests of the submodules.
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

    /// The end of a session whose token of this digest the server rejected.
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
