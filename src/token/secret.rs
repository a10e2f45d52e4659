use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Defines a token type: shared, zeroized on the last drop, never printed.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Arc<Zeroizing<String>>);

        impl $name {
            /// Takes the token's text; the buffer is zeroized when the last clone is dropped.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(Arc::new(Zeroizing::new(text.into())))
            }

            /// The token itself. Keep it out of logs, errors and keys.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

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
    /// What an API accepts until it expires (RFC 6749 section 1.4).
    AccessToken
}

secret! {
    /// What the token endpoint exchanges, once, for a new pair (RFC 6749 section 1.5).
    RefreshToken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_hold_the_secret() {
        let shown = format!(
            "{:?} {:?}",
            AccessToken::new("sesame"),
            RefreshToken::new("sesame")
        );
        assert_eq!(shown, "AccessToken([REDACTED]) RefreshToken([REDACTED])");
    }
}
