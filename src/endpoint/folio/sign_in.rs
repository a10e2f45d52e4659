use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

/// What the endpoint signs in with.
pub(super) enum SignIn {
    Password {
        username: String,
        password: Zeroizing<String>,
    },
    Code(Once),
}

/// A code and where it was sent to: good for one use.
pub(super) struct Once {
    code: Zeroizing<String>,
    redirect_uri: String,
    is_used: AtomicBool,
}

impl SignIn {
    pub(super) fn password(username: String, password: String) -> Self {
        Self::Password {
            username,
            password: Zeroizing::new(password),
        }
    }

    pub(super) fn code(code: String, redirect_uri: String) -> Self {
        Self::Code(Once {
            code: Zeroizing::new(code),
            redirect_uri,
            is_used: AtomicBool::new(false),
        })
    }

    /// What must not come back in an error.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::Password { password, .. } => password,
            Self::Code(once) => &once.code,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Password { .. } => true,
            Self::Code(once) => !once.is_used.load(Ordering::Acquire),
        }
    }
}

impl Once {
    /// The code and its URI, to the first who asks.
    pub(super) fn take(&self) -> Option<(&str, &str)> {
        let was_used = self.is_used.swap(true, Ordering::AcqRel);
        (!was_used).then_some((self.code.as_str(), self.redirect_uri.as_str()))
    }

    /// It was not used after all.
    pub(super) fn give_back(&self) {
        self.is_used.store(false, Ordering::Release);
    }
}

/// Without the password and the code.
impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => f
                .debug_struct("Password")
                .field("username", username)
                .finish_non_exhaustive(),
            Self::Code(once) => f
                .debug_struct("Code")
                .field("redirect_uri", &once.redirect_uri)
                .finish_non_exhaustive(),
        }
    }
}
