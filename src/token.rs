//! Tokens, token pairs, and the names and times of both: pure data.
//!
//! This module does no I/O, reads no clock and never prints a secret. Every buffer that holds a token is zeroized
//! when it is dropped.

pub(crate) mod json;
pub(crate) mod jwt;
mod key;
mod lifetime;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use self::key::{Key, Scope};
pub(crate) use self::lifetime::{LONGEST_LIFETIME, millis};
pub use self::lifetime::{Lifetime, RefreshExpiry, Validity};

/// The text of a token, and its digest once that was asked for. Clones of the token share both.
struct Buffer {
    text: Zeroizing<String>,
    /// The length in bytes of a prefix that the text has before the token's own.
    behind: usize,
    digest: OnceLock<Digest>,
}

/// Defines a token type. Clones share one buffer, which is zeroized on the last drop and never printed.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<Buffer>);

        impl $name {
            /// Takes over the token's text. The buffer is zeroized when the last clone is dropped.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(Arc::new(Buffer {
                    text: Zeroizing::new(text.into()),
                    behind: 0,
                    digest: OnceLock::new(),
                }))
            }

            /// The token's text. Keep the text out of logs, errors and keys.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.text.get(self.0.behind..).unwrap_or_default()
            }

            /// The token's digest, which is made once for all clones: a rotation asks for it many times.
            pub(crate) fn digest(&self) -> Digest {
                *self.0.digest.get_or_init(|| Digest::of(self.expose()))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.expose() == other.expose()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    };
}

secret! {
    /// The token that an API accepts until the token expires (RFC 6749 section 1.4).
    AccessToken
}

secret! {
    /// The token that the token endpoint exchanges, once, for a new pair (RFC 6749 section 1.5).
    RefreshToken
}

impl AccessToken {
    /// The same token in a buffer that begins with `prefix`, as a header does. If the buffer begins with `prefix`
    /// already, it is shared.
    pub(crate) fn behind(&self, prefix: &str) -> Self {
        let Buffer {
            text,
            behind,
            digest,
        } = &*self.0;
        if *behind == prefix.len() && text.starts_with(prefix) {
            return self.clone();
        }
        // Full size from the start, because a buffer that grows leaves copies of the token behind.
        let room = prefix.len() + self.expose().len();
        let mut text = Zeroizing::new(String::with_capacity(room));
        text.push_str(prefix);
        text.push_str(self.expose());
        Self(Arc::new(Buffer {
            text,
            behind: prefix.len(),
            digest: digest.clone(),
        }))
    }

    /// The prefix and the token's text.
    pub(crate) fn whole(&self) -> &str {
        &self.0.text
    }
}

/// An access token, and the refresh token that the server exchanges for the next pair.
///
/// Either token can be missing: a first pair may be a refresh token alone, and some grants issue an access token
/// only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenPair {
    /// The token that APIs accept.
    pub access: Option<AccessToken>,
    /// The token that the token endpoint accepts, once.
    pub refresh: Option<RefreshToken>,
    /// The lifetimes of both tokens.
    pub lifetime: Lifetime,
    /// The token type as the server wrote it, `Bearer` mostly.
    pub token_type: Option<String>,
    /// The granted scope, where the server reported it.
    pub scope: Option<Scope>,
}

impl TokenPair {
    /// Makes a pair with an access token. Without [`expires_in`](Self::expires_in), the manager reads the expiry from the
    /// token if the token is a JWT, and otherwise treats the expiry as unknown.
    #[must_use]
    pub fn new(access: impl Into<AccessToken>) -> Self {
        Self {
            access: Some(access.into()),
            ..Self::default()
        }
    }

    /// Makes a pair with a refresh token only. The first use of the manager rotates such a pair.
    #[must_use]
    pub fn from_refresh_token(refresh: impl Into<RefreshToken>) -> Self {
        Self {
            refresh: Some(refresh.into()),
            ..Self::default()
        }
    }

    /// Adds the refresh token. An empty text counts as no refresh token.
    #[must_use]
    pub fn refresh_token(mut self, refresh: impl Into<RefreshToken>) -> Self {
        self.refresh = Some(refresh.into()).filter(|token| !token.expose().is_empty());
        self
    }

    /// Sets the time from now after which the access token expires.
    #[must_use]
    pub fn expires_in(mut self, total: Duration) -> Self {
        self.lifetime.access = total.into();
        self
    }

    /// Marks the access token as one that never expires.
    #[must_use]
    pub fn never_expires(mut self) -> Self {
        self.lifetime.access = Validity::Never;
        self
    }

    /// Sets the time from now after which the refresh token expires.
    #[must_use]
    pub fn refresh_expires_in(mut self, total: Duration) -> Self {
        self.lifetime.refresh = total.into();
        self
    }

    /// Sets whether rotating prolongs the session.
    #[must_use]
    pub fn refresh_expiry(mut self, refresh_expiry: RefreshExpiry) -> Self {
        self.lifetime.refresh_expiry = refresh_expiry;
        self
    }

    /// Sets the granted scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sets the token type as the server wrote it (RFC 6749 section 7.1), `Bearer` mostly.
    #[must_use]
    pub fn token_type(mut self, token_type: impl Into<String>) -> Self {
        self.token_type = Some(token_type.into());
        self
    }

    /// The name of the pair: the digest of the refresh token, else that of the access token, else that of the key.
    #[must_use]
    pub fn digest(&self, key: &Key) -> Digest {
        match (&self.refresh, &self.access) {
            (Some(refresh), _) => refresh.digest(),
            (None, Some(access)) => access.digest(),
            (None, None) => key.digest(),
        }
    }
}

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
    fn halves_of(bytes: impl AsRef<[u8]>) -> [Self; 2] {
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

impl TokenFamily {
    /// The bits of the name.
    pub(crate) const fn bits(self) -> u128 {
        self.0
    }
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
    fn debug_of_a_token_does_not_hold_the_secret() {
        let shown = format!(
            "{:?} {:?}",
            AccessToken::new("sesame"),
            RefreshToken::new("sesame")
        );
        assert_eq!(shown, "AccessToken([REDACTED]) RefreshToken([REDACTED])");
    }

    #[test]
    fn debug_of_a_pair_does_not_hold_a_secret() {
        let pair = TokenPair::new("sesame-access").refresh_token("sesame-refresh");
        assert!(!format!("{pair:?}").contains("sesame"));
    }

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
