//! The sign-in: by a user's password, or by the code that a browser brought from the sign-in page.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use zeroize::Zeroizing;

use super::{Asked, Folio, Mode, outcome, request};
use crate::clock::{Clock, SystemClock};
use crate::endpoint::{EndpointError, Issued, SendWindow};

/// The credentials of a sign-in.
pub(super) enum SignIn {
    Password {
        username: String,
        password: Zeroizing<String>,
    },
    Code(Once),
}

/// A code, which is good for one use, and the URI to which the sign-in page sent it.
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

    /// The secret that no error may quote.
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
    /// The code and its URI, for the first caller only.
    fn take(&self) -> Option<(&str, &str)> {
        let was_used = self.is_used.swap(true, Ordering::AcqRel);
        (!was_used).then_some((self.code.as_str(), self.redirect_uri.as_str()))
    }

    /// Makes the code usable again, because the server did not use it.
    fn give_back(&self) {
        self.is_used.store(false, Ordering::Release);
    }
}

impl Folio {
    /// Signs in with the configured credentials.
    pub(super) async fn sign_in(&self, window: &SendWindow) -> Result<Issued, EndpointError> {
        match &self.sign_in {
            Some(SignIn::Password { username, password }) => {
                self.log_in(username, password, window).await
            }
            // This refusal leaves the code usable.
            Some(SignIn::Code(_)) if self.site.mode == Mode::Okapi => {
                let why = "Okapi exchanges no codes; use Folio::eureka, or sign in with a password";
                Err(EndpointError::refused_here("unsupported", why))
            }
            Some(SignIn::Code(once)) => {
                let Some((code, redirect_uri)) = once.take() else {
                    let why = "the code was used before; get a new one from the sign-in page";
                    return Err(EndpointError::refused_here("code_used", why));
                };
                let issued = self.exchange_code(code, redirect_uri, window).await;
                // The server has most probably not used the code. To drop the code would lose it for certain.
                if let Err(
                    EndpointError::NotSent { .. }
                    | EndpointError::Later { .. }
                    | EndpointError::Page { .. }
                    | EndpointError::Unavailable { .. },
                ) = issued
                {
                    once.give_back();
                }
                issued
            }
            None => Err(EndpointError::no_credentials()),
        }
    }

    async fn log_in(
        &self,
        username: &str,
        password: &str,
        window: &SendWindow,
    ) -> Result<Issued, EndpointError> {
        let (site, mode) = (&self.site, self.site.mode);
        let secrets = self.secrets([]);
        let begun = SystemClock.now();
        let request = request::login(site, "/authn/login-with-expiry", username, password)?;
        let reply = self.send(request, Some(window), self.http.timeout).await?;
        if mode == Mode::Eureka || reply.status != StatusCode::NOT_FOUND {
            return outcome::exchange(reply, mode, Asked::SignIn, &secrets);
        }
        // No module has judged the password: this tenant has only tokens without an expiry.
        let left = self
            .http
            .timeout
            .saturating_sub(SystemClock.now().since(begun));
        let request = request::login(site, "/authn/login", username, password)?;
        let reply = self.send(request, Some(window), left).await?;
        outcome::exchange(reply, mode, Asked::LegacyLogin, &secrets)
    }

    async fn exchange_code(
        &self,
        code: &str,
        redirect_uri: &str,
        window: &SendWindow,
    ) -> Result<Issued, EndpointError> {
        let request = request::code(&self.site, code, redirect_uri)?;
        let secrets = self.secrets([]);
        let reply = self.send(request, Some(window), self.http.timeout).await?;
        outcome::exchange(reply, self.site.mode, Asked::SignIn, &secrets)
    }
}

/// Shows neither the password nor the code.
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
