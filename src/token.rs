//! Tokens, token pairs, and the names and times of both: pure data.
//!
//! This module does no I/O, reads no clock and never prints a secret. Every buffer that holds a token is zeroized
//! when it is dropped.

mod id;
pub(crate) mod jwt;
mod key;
mod lifetime;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub use self::id::{Digest, PairId, TokenFamily};
pub(crate) use self::id::{by_text, random, random_name};
pub use self::key::{Key, Scope};
pub(crate) use self::lifetime::{LONGEST_LIFETIME, millis};
pub use self::lifetime::{Lifetime, RefreshExpiry, Validity};

/// Defines a token type. Clones share one buffer, which is zeroized on the last drop and never printed.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            buffer: Arc<Zeroizing<String>>,
            /// The length in bytes of a prefix that the buffer holds before the token's text.
            behind: usize,
        }

        impl $name {
            /// Takes over the token's text. The buffer is zeroized when the last clone is dropped.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self {
                    buffer: Arc::new(Zeroizing::new(text.into())),
                    behind: 0,
                }
            }

            /// The token's text. Keep the text out of logs, errors and keys.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.buffer.get(self.behind..).unwrap_or_default()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose() == other.expose()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(text: T) -> Self {
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
        if self.behind == prefix.len() && self.buffer.starts_with(prefix) {
            return self.clone();
        }
        // Full size from the start, because a buffer that grows leaves copies of the token behind.
        let room = prefix.len() + self.expose().len();
        let mut buffer = Zeroizing::new(String::with_capacity(room));
        buffer.push_str(prefix);
        buffer.push_str(self.expose());
        Self {
            buffer: Arc::new(buffer),
            behind: prefix.len(),
        }
    }

    /// The buffer that holds the prefix and the token's text.
    pub(crate) fn buffer(&self) -> Arc<Zeroizing<String>> {
        Arc::clone(&self.buffer)
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

    /// The name of the pair: the digest of the refresh token, else that of the access token, else that of the key.
    #[must_use]
    pub fn digest(&self, key: &Key) -> Digest {
        match (&self.refresh, &self.access) {
            (Some(refresh), _) => Digest::of(refresh.expose()),
            (None, Some(access)) => Digest::of(access.expose()),
            (None, None) => key.digest(),
        }
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
}
