//! The name of a session that a user's sign-in began.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::token::{self, Digest, Key};

/// What the label of the key of such a session ends with, before the digest of its id.
const LABEL: &str = "sign-in ";

/// The number of hexadecimal digits of an id.
const DIGITS: usize = 32;

/// The name of a session that [`Sessions::sign_in`](crate::Sessions::sign_in) began: 128 random bits, which a service gives to
/// the user's browser, or keeps in a session of its own.
///
/// **An id opens its session.** So `Debug` does not show it, and neither does an error; `Display` and `Serialize` do, as 32
/// hexadecimal digits. The key of the session, which stands in logs and events, holds the digest of the id, from which the id
/// cannot be computed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(Zeroizing<u128>);

impl SessionId {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        token::random().map(|bits| Self(Zeroizing::new(bits)))
    }

    /// The key of the session, beside the endpoint's own key.
    pub(super) fn key(&self, own: &Key) -> Key {
        let digest = Digest::of(self.0.to_be_bytes());
        let own_label = &own.label;
        let gap = if own_label.is_empty() { "" } else { " " };
        let label = format!("{own_label}{gap}{LABEL}{digest}");
        own.clone().label(label)
    }
}

/// Whether this is the key of a session that a user's sign-in began. The endpoint's own sign-in never begins such a session.
pub(super) fn is_of_a_sign_in(key: &Key) -> bool {
    let digest = key.label.rsplit_once(LABEL).map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.parse::<Digest>().is_ok())
}

/// Prints 32 lower-case hexadecimal digits.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", *self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId([REDACTED])")
    }
}

/// A text that is not the id of a session. The error does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a session must be 32 lower-case hexadecimal digits: start a new sign-in")]
#[non_exhaustive]
pub struct ParseSessionIdError;

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        // One session has one text: `from_str_radix` would accept a sign, capital letters and fewer digits.
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return Err(ParseSessionIdError);
        }
        let bits = u128::from_str_radix(text, 16).map_err(|_| ParseSessionIdError)?;
        Ok(Self(Zeroizing::new(bits)))
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A format makes errors of its own, which repeat a number or a boolean.
        let id = deserializer.deserialize_str(OfText);
        id.map_err(|_| D::Error::custom(ParseSessionIdError))
    }
}

/// Reads a text where the format has it, without a copy.
struct OfText;

impl Visitor<'_> for OfText {
    type Value = SessionId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a session: 32 lower-case hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SessionId, E> {
        text.parse().map_err(E::custom)
    }
}
