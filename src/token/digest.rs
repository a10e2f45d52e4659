use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The first 128 bits of the SHA-256 of a token: what leases, ends and past tokens are named by.
///
/// It identifies a token without giving it away, so it may be stored and printed. 128 bits are enough, because a
/// digest is a name that is compared with other names: finding another token with the name of a given one takes
/// 2^128 tries, and that two tokens of a server have one name by chance is as unlikely as two equal UUIDs. A token
/// is never taken for another one by its name alone: a pair is read from the record of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Self::LENGTH]);

impl Digest {
    /// How many bytes of the SHA-256 are kept.
    pub(crate) const LENGTH: usize = 16;

    /// How many digits it is written with.
    pub(crate) const DIGITS: usize = 2 * Self::LENGTH;

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let [first, _] = Self::halves_of(bytes);
        first
    }

    /// All of the SHA-256.
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

/// 32 lower-case hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The text was not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        // The number's own reader permits a sign, and fewer digits.
        if text.len() != Self::DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseDigestError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| ParseDigestError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
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
    fn what_is_no_digest_is_refused() {
        let whole = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let signed = format!("+{}", &whole[..Digest::DIGITS - 1]);
        for text in ["abc", whole, &signed, &"é".repeat(Digest::DIGITS / 2)] {
            assert_eq!(text.parse::<Digest>(), Err(ParseDigestError), "{text}");
        }
    }
}
