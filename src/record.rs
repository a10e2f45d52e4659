//! The record that a store holds for a key, and its transitions: the rotation protocol itself.
//!
//! This module does no I/O, reads no clock and draws no random number. Lock, lease, marker and recovery are all
//! *transitions of one record* that is replaced by compare-and-swap. So the protocol can be read in one place, is the
//! same for every store, and each rule is a function of what was read and of the time.
//!
//! - [`lease`]: which instance may spend the token, and whether the token may be spent already
//! - [`reconcile`]: what a record means to an instance that holds a pair
//! - [`commit`]: how a new pair gets into the record, and how a session ends
//! - [`past`]: the digests of the tokens that were used
//! - [`browser`]: which pairs a browser may still present
//! - [`marks`]: the provider's session and user, by which a logout of the provider finds the record
//! - [`format`]: how a record is serialized, how fields of later versions are kept, and which values are wiped
//!
//! The record itself is here, with the reason of its end, the pause after a failed attempt, and what a store may know of a
//! record without its tokens.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub(crate) mod browser;
pub(crate) mod commit;
pub(crate) mod format;
pub(crate) mod lease;
pub(crate) mod marks;
pub(crate) mod past;
pub(crate) mod reconcile;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::browser::Browser;
use self::format::{Carried, Fields};
pub use self::lease::{DoubtfulBy, Lease, Owner};
use self::marks::Marks;
use self::past::Past;
use crate::clock::StoreTime;
use crate::token::{AccessToken, Digest, Key, PairId, TokenFamily, TokenPair, jwt};

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
    /// What is known of the browser that holds a copy of the pair; `None` if no browser does.
    pub(crate) browser: Option<Box<Browser>>,
    /// What the user's sign-in said of the provider's session. Rotations keep it.
    pub(crate) upstream: Option<Marks>,
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
    #[serde(flatten, with = "format::PairForm")]
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
        code: Option<String>,
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

/// The reason why a session ended. An ended session cannot be prolonged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Both tokens have expired.
    Expired,
    /// The server rejected the refresh token: it was used before, revoked, or has expired.
    Rejected(ServerWord),
    /// The answer to a refresh request was lost or unclear. The refresh token may be spent, and the server's profile
    /// does not permit sending the token again.
    OutcomeUnknown,
    /// The user logged out.
    LoggedOut,
    /// No request came within the lifetime of the access token, and the strategy ends such sessions.
    Idle,
    /// No request came within the [limit](crate::SessionPolicy::idle) of the session's policy. It is logged out.
    IdleLimit,
    /// The session has lasted as long as its policy [permits](crate::SessionPolicy::absolute). It is logged out.
    AgeLimit,
}

impl EndReason {
    /// Whether the server rejected the refresh token.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("both tokens have expired"),
            Self::Rejected(word) => write!(f, "the server rejected the refresh token{word}"),
            Self::OutcomeUnknown => f.write_str("the answer to the last refresh request was lost or unclear, so the refresh token may be spent"),
            Self::LoggedOut => f.write_str("the user logged out"),
            Self::Idle => f.write_str("no request came while the access token was valid"),
            Self::IdleLimit => f.write_str("no request came for as long as its policy permits"),
            Self::AgeLimit => f.write_str("it has lasted as long as its policy permits"),
        }
    }
}

/// The words of the server when it rejected a token: without secrets, and each part at most 256 bytes long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ServerWord(Option<Arc<Words>>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Words {
    code: String,
    description: Option<String>,
}

/// The longest part that is kept, in bytes.
const LIMIT: usize = 256;

impl ServerWord {
    pub(crate) fn new(code: Option<&str>, description: Option<&str>) -> Self {
        Self(code.map(|code| {
            Arc::new(Words {
                code: cut(code).to_owned(),
                description: description.map(|text| cut(text).to_owned()),
            })
        }))
    }

    /// The server's error code, mostly `invalid_grant`; `None` if an earlier version of this crate stored the end.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.as_ref().map(|words| words.code.as_str())
    }

    /// The server's description of the error; `None` if the answer had none.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.0.as_ref()?.description.as_deref()
    }
}

/// Shows the words as they follow a sentence: ": invalid_grant: used before".
impl fmt::Display for ServerWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.code().into_iter().chain(self.description()) {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}

/// The beginning of `text`, cut at a character boundary.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(LIMIT);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    &text[..end]
}

/// The moment before which no instance sends, and the reason. All instances keep this pause after a failed attempt, and
/// each instance's callers learn the failure that they wait for. Without the pause, each instance would repeat the failing
/// request at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotBefore {
    pub(crate) until: StoreTime,
    pub(crate) class: Class,
    /// The server's error code, or the HTTP status, if there is one.
    pub(crate) code: Option<String>,
    /// How many attempts in a row have failed. The pause doubles with each.
    #[serde(default)]
    pub(crate) failures: u32,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    NotSent,
    Later,
    UserNeeded,
    Refused,
    SignInRefused,
    Page,
    Unavailable,
    /// No answer that can be read, or a value that this version does not know.
    #[serde(other)]
    Unknown,
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
            browser: None,
            upstream: None,
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
        Some(access.digest())
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

    /// Why the session ended; `None` while it is active.
    #[must_use]
    pub fn end(&self) -> Option<EndReason> {
        self.state.end()
    }

    /// The `jti` claim of the access token (RFC 7519 section 4.1.7), if the token is a JWT with that claim.
    #[must_use]
    pub fn jti(&self) -> Option<String> {
        let access = self.pair.as_ref()?.pair.access.as_ref();
        access.map(AccessToken::expose).and_then(jwt::jti)
    }

    /// When the request for the current pair was sent, by the store's clock.
    #[must_use]
    pub fn issued_at(&self) -> Option<StoreTime> {
        self.pair.as_ref().map(|stored| stored.issued_at)
    }

    /// When the current access token expires; `None` if there is no access token, if its expiry is unknown, or if it
    /// never expires.
    #[must_use]
    pub fn access_expires_at(&self) -> Option<StoreTime> {
        let stored = self.pair.as_ref()?;
        stored.pair.access.as_ref()?;
        let total = stored.pair.lifetime.access.total()?;
        Some(stored.issued_at.after(total))
    }

    /// When the current refresh token expires; `None` if there is no refresh token, if its expiry is unknown, or if
    /// it never expires.
    #[must_use]
    pub fn refresh_expires_at(&self) -> Option<StoreTime> {
        let stored = self.pair.as_ref()?;
        stored.pair.refresh.as_ref()?;
        let total = stored.pair.lifetime.refresh.total()?;
        Some(stored.issued_at.after(total))
    }

    /// The moment from which nothing depends on the record, because every token that it holds or knows has expired;
    /// `None` if that moment is unknown or never comes.
    ///
    /// A store may drop the record a good while after that moment. A record that is dropped earlier means a lost
    /// session, or a seed that is spent again.
    #[must_use]
    pub fn needed_until(&self) -> Option<StoreTime> {
        let mut until = StoreTime::from(Duration::ZERO);
        if let Some(stored) = &self.pair {
            if stored.pair.access.is_some() {
                until = until.max(self.access_expires_at()?);
            }
            if stored.pair.refresh.is_some() {
                until = until.max(self.refresh_expires_at()?);
            }
        }
        until = until.max(self.past.until()?);
        // The record has never known a token: a first sign-in is leased.
        (until != StoreTime::default()).then_some(until)
    }

    /// How many attempts in a row have failed, as far as instances could store the failures.
    pub(crate) fn failures(&self) -> u32 {
        self.not_before.as_ref().map_or(0, |pause| pause.failures)
    }

    /// The remaining pause at `now`, at most `longest`, because a store's clock may be set back.
    pub(crate) fn remaining_pause(
        &self,
        now: StoreTime,
        longest: Duration,
    ) -> Option<(Duration, &NotBefore)> {
        let pause = self.not_before.as_ref()?;
        let remaining = pause.until.since(now).min(longest);
        (!remaining.is_zero()).then_some((remaining, pause))
    }

    /// Adds the current token to the past ones.
    fn retire_current(&mut self) {
        let Some(stored) = &self.pair else { return };
        let until = stored.pair.lifetime.refresh.total();
        let until = until.map(|total| stored.issued_at.after(total));
        self.past.note(self.digest(), stored.origin, until);
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
