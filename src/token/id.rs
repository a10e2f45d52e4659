//! The names of tokens and pairs: digests, and pair ids. They may be stored and printed.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Prints and serializes a name as its text.
macro_rules! by_text {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use by_text;

/// Defines a name of 128 random bits, with its text of 32 hexadecimal digits.
macro_rules! random_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(u128);

        impl $name {
            /// A new name, from the operating system's random source.
            pub(crate) fn random() -> Result<Self, getrandom::Error> {
                $crate::token::random().map(Self)
            }

            /// The name of these bits.
            pub(crate) const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u128::from_str_radix(text, 16).map(Self)
            }
        }

        $crate::token::by_text!($name);
    };
}
pub(crate) use random_name;

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
        let (halves, _) = whole.as_chunks();
        [Self(halves[0]), Self(halves[1])]
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

random_name! {
    /// The name of one sign-in and of all rotations that follow from that sign-in: 128 random bits.
    TokenFamily
}

/// 128 random bits from the operating system.
pub(crate) fn random() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

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
