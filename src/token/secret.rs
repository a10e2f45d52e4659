use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Defines a token type: shared, zeroized on the last drop, never printed.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            buffer: Arc<Zeroizing<String>>,
            /// The text is what follows on this many bytes of the buffer.
            behind: usize,
        }

        impl $name {
            /// Takes the token's text; the buffer is zeroized when the last clone is dropped.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self {
                    buffer: Arc::new(Zeroizing::new(text.into())),
                    behind: 0,
                }
            }

            /// The token itself. Keep it out of logs, errors and keys.
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

impl AccessToken {
    /// The same text in a buffer in which it follows on `prefix`, as it does in a header; the buffer it has, if that is one.
    pub(crate) fn behind(&self, prefix: &str) -> Self {
        let is_behind = self.behind == prefix.len() && self.buffer.starts_with(prefix);
        if is_behind {
            return self.clone();
        }
        // Sized first: growing would leave copies of the token behind.
        let room = prefix.len() + self.expose().len();
        let mut buffer = Zeroizing::new(String::with_capacity(room));
        buffer.push_str(prefix);
        buffer.push_str(self.expose());
        Self {
            buffer: Arc::new(buffer),
            behind: prefix.len(),
        }
    }

    /// The buffer that the text is a part of.
    pub(crate) fn buffer(&self) -> Arc<Zeroizing<String>> {
        Arc::clone(&self.buffer)
    }
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
