//! The name of a session that a user's sign-in began.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::session::is_name;
use crate::token::{self, Digest, Key, RefreshToken};

/// What stands in the label of the key of such a session, before the name of its policy and the digest of its id.
const LABEL: &str = "sign-in ";

/// The number of hexadecimal digits of an id.
const DIGITS: usize = 32;

/// What stands before the digits of the id of a session that a pair of unknown origin began.
const OF_A_TOKEN: &str = "t-";

/// The name of a session that [`Sessions::sign_in`](crate::Sessions::sign_in) began: 128 random bits, which a service gives to
/// the user's browser, or keeps in a session of its own; and the name of its [policy](crate::SessionPolicy), if it has one. A
/// [presented](crate::Sessions::present) pair of unknown origin has an id that is computed from its refresh token.
///
/// **An id opens its session.** So `Debug` does not show it, and neither does an error; `Display` and `Serialize` do, as 32
/// hexadecimal digits, after the name of the policy and a full stop. The key of the session, which stands in logs and events,
/// holds the digest of the id, from which the id cannot be computed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId {
    policy: Option<Arc<str>>,
    bits: Zeroizing<u128>,
    /// Whether the bits are computed from a refresh token. Who has had that token can compute them too, so such an id alone
    /// presents nothing.
    is_of_a_token: bool,
}

impl SessionId {
    /// A new id of a session under the policy of this name.
    pub(super) fn random(policy: Option<Arc<str>>) -> Result<Self, getrandom::Error> {
        token::random().map(|bits| Self {
            policy,
            bits: Zeroizing::new(bits),
            is_of_a_token: false,
        })
    }

    /// The id of the session that a pair with this refresh token begins.
    pub(super) fn of_token(token: &RefreshToken, policy: Option<Arc<str>>) -> Self {
        let text = Zeroizing::new(["evertoken presented 1\n", token.expose()].concat());
        let bits = u128::from_be_bytes(*Digest::of(&*text).as_bytes());
        Self {
            policy,
            bits: Zeroizing::new(bits),
            is_of_a_token: true,
        }
    }

    pub(super) fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    pub(super) fn is_of_a_token(&self) -> bool {
        self.is_of_a_token
    }

    /// The key of the session, beside the endpoint's own key. Another policy or another kind of id has another key.
    pub(super) fn key(&self, own: &Key) -> Key {
        let kind = if self.is_of_a_token { OF_A_TOKEN } else { "" };
        // One pair of unknown origin has one session, whatever it is presented under.
        let policy = self.policy().filter(|_| !self.is_of_a_token);
        let bits = Zeroizing::new(self.bits.to_be_bytes());
        let parts = [
            &bits[..],
            kind.as_bytes(),
            policy.unwrap_or_default().as_bytes(),
        ];
        let digest = Digest::of(&*Zeroizing::new(parts.concat()));
        let own_label = &own.label;
        let gap = if own_label.is_empty() { "" } else { " " };
        // The policy is readable, so that the key alone leads to it.
        let (policy, space) = match policy {
            Some(policy) => (policy, " "),
            None => ("", ""),
        };
        let label = format!("{own_label}{gap}{LABEL}{policy}{space}{digest}");
        own.clone().label(label)
    }
}

/// Hashes the bits, which are as good as random.
impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}

/// Which policy the session of this key has, if it is one that a user's sign-in began. The endpoint's own sign-in never begins
/// such a session.
pub(super) fn of_a_sign_in(key: &Key) -> Option<Option<&str>> {
    let (_, name) = key.label.rsplit_once(LABEL)?;
    let (policy, digest) = match name.split_once(' ') {
        Some((policy, digest)) => (Some(policy), digest),
        None => (None, name),
    };
    let is_one = digest.parse::<Digest>().is_ok() && policy.is_none_or(is_name);
    is_one.then_some(policy)
}

/// Prints 32 lower-case hexadecimal digits, after the name of the policy and a full stop if there is a policy.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(policy) = &self.policy {
            write!(f, "{policy}.")?;
        }
        let kind = if self.is_of_a_token { OF_A_TOKEN } else { "" };
        write!(f, "{kind}{:032x}", *self.bits)
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
        let (policy, text) = match text.rsplit_once('.') {
            Some((policy, _)) if !is_name(policy) => return Err(ParseSessionIdError),
            Some((policy, rest)) => (Some(policy), rest),
            None => (None, text),
        };
        let digits = text.strip_prefix(OF_A_TOKEN);
        let is_of_a_token = digits.is_some();
        let text = digits.unwrap_or(text);
        // One session has one text: `from_str_radix` would accept a sign, capital letters and fewer digits.
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return Err(ParseSessionIdError);
        }
        let bits = u128::from_str_radix(text, 16).map_err(|_| ParseSessionIdError)?;
        Ok(Self {
            policy: policy.map(Arc::from),
            bits: Zeroizing::new(bits),
            is_of_a_token,
        })
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
