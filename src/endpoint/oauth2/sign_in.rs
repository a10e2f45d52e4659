//! The grants that need nobody at a browser.

use std::fmt;

use zeroize::Zeroizing;

/// What the endpoint signs in with.
pub(super) enum SignIn {
    /// `client_credentials`: the client's own authentication is all there is.
    Client,
    /// `password`.
    Password {
        username: String,
        password: Zeroizing<String>,
    },
}

impl SignIn {
    pub(super) fn password(username: String, password: String) -> Self {
        Self::Password {
            username,
            password: Zeroizing::new(password),
        }
    }

    pub(super) fn fields(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Client => vec![("grant_type", "client_credentials")],
            Self::Password { username, password } => vec![
                ("grant_type", "password"),
                ("username", username),
                ("password", password),
            ],
        }
    }

    /// What must not come back in an error; empty if there is nothing.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::Client => "",
            Self::Password { password, .. } => password,
        }
    }

    /// Whose session it is, if it is not the client's own.
    pub(super) fn username(&self) -> Option<&str> {
        match self {
            Self::Client => None,
            Self::Password { username, .. } => Some(username),
        }
    }
}

/// Without the password.
impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("Client"),
            Self::Password { username, .. } => f
                .debug_struct("Password")
                .field("username", username)
                .finish_non_exhaustive(),
        }
    }
}
