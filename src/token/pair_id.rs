use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One sign-in and all the rotations that followed from it: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenFamily(u128);

impl TokenFamily {
    /// A new one, from the operating system's random source.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }

    /// A given one.
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

/// 128 bits from the operating system.
pub(crate) fn random() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

impl fmt::Display for TokenFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TokenFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFamily({self})")
    }
}

impl FromStr for TokenFamily {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for TokenFamily {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenFamily {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which pair of which sign-in: what a rejection and a rotation name.
///
/// Two access tokens issued within a second can be equal to the byte, so tokens are told apart by
/// this and never by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairId {
    /// The sign-in.
    pub family: TokenFamily,
    /// Counts the rotations of the family.
    pub version: u64,
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.family, self.version)
    }
}
