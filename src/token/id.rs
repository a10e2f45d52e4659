//! The names of tokens and pairs: digests, and pair ids. They may be stored and printed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Prints and serializes a name as its text.
macro_rules! by_text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The first 128 bits of the SHA-256 of a token: the token's name in leases, ends and lists of past tokens.
///
/// A digest identifies a token without revealing the token, so a digest may be stored and printed. 128 bits are
/// enough, because a digest is only compared with other digests: finding another token with a given digest takes
/// 2^128 tries, and two tokens of a server have one digest by chance as rarely as two UUIDs are equal. A digest alone
/// never selects a pair: a pair is read from the record of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Self::LENGTH]);

impl Digest {
    /// The number of bytes kept of the SHA-256.
    pub(crate) const LENGTH: usize = 16;

    /// The number of hexadecimal digits of the text.
    pub(crate) const DIGITS: usize = 2 * Self::LENGTH;

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let [first, _] = Self::halves_of(bytes);
        first
    }

    /// Both halves of the SHA-256.
    pub(super) fn halves_of(bytes: impl AsRef<[u8]>) -> [Self; 2] {
        let whole: [u8; 2 * Self::LENGTH] = Sha256::digest(bytes.as_ref()).into();
        [0, Self::LENGTH].map(|start| {
            let mut half = [0; Self::LENGTH];
            half.copy_from_slice(&whole[start..start + Self::LENGTH]);
            Self(half)
        })
    }

    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }
}

/// Prints 32 lower-case hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest must be 32 hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        // `from_str_radix` would accept a sign, and fewer digits.
        if text.len() != Self::DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseDigestError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| ParseDigestError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// The name of one sign-in and of all rotations that follow from that sign-in: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenFamily(u128);

impl TokenFamily {
    /// A new family, from the operating system's random source.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }

    /// The family with the given bits.
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

/// 128 random bits from the operating system.
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

impl FromStr for TokenFamily {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

by_text!(TokenFamily);
by_text!(Digest);

/// The name of a pair: the sign-in, and the number of the rotation. Rejections and rotations name pairs by it.
///
/// Two access tokens that are issued within a second can be equal to the byte, so tokens are compared by this name
/// and never by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairId {
    /// The sign-in.
    pub family: TokenFamily,
    /// The number of rotations since the sign-in.
    pub version: u64,
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.family, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_as_the_first_half_of_a_hexadecimal_sha256() {
        let digest = Digest::of("abc");
        let text = digest.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
    }

    #[test]
    fn a_text_that_is_not_a_digest_is_refused() {
        let whole = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let signed = format!("+{}", &whole[..Digest::DIGITS - 1]);
        for text in ["abc", whole, &signed, &"é".repeat(Digest::DIGITS / 2)] {
            assert_eq!(text.parse::<Digest>(), Err(ParseDigestError), "{text}");
        }
    }
}
