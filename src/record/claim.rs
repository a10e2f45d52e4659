//! Claims: the mark "being spent by, since". A token is spent only under a claim that names its digest
//! and was written against the very record that was read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Record;
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

    #[cfg(test)]
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
    /// Tells the claims on one key apart. A claim is somebody's only if owner *and* number match.
    pub number: u64,
    /// The refresh token, or the key if it is a sign-in.
    pub digest: Digest,
    /// Since when, by the store's clock.
    pub since: StoreTime,
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
