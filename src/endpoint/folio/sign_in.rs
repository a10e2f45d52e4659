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
    /// A code, which is good for one use, and the URI to which the sign-in page sent it.
    Code {
        code: Zeroizing<String>,
        redirect_uri: String,
        is_used: AtomicBool,
    },
}

impl SignIn {
    /// The secret that no error may quote.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::Password { password, .. } => password,
            Self::Code { code, .. } => code,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Password { .. } => true,
            Self::Code { is_used, .. } => !is_used.load(Ordering::Acquire),
        }
    }
}

impl Folio {
    /// Signs in with the configured credentials.
    pub(super) async fn sign_in(&self, window: &SendWindow) -> Result<Issued, EndpointError> {
        let (code, redirect_uri, is_used) = match &self.sign_in {
            None => return Err(EndpointError::no_credentials()),
            Some(SignIn::Password { username, password }) => {
                return self.log_in(username, password, window).await;
            }
            Some(SignIn::Code {
                code,
                redirect_uri,
                is_used,
            }) => (code, redirect_uri, is_used),
        };
        // This refusal leaves the code usable.
        if self.site.mode == Mode::Okapi {
            let why =
                "Okapi does not exchange codes; use Folio::eureka, or sign in with a password";
            return Err(EndpointError::refused_here("unsupported", why));
        }
        if is_used.swap(true, Ordering::AcqRel) {
            let why = "the code was used before; get a new one from the sign-in page";
            return Err(EndpointError::refused_here("code_used", why));
        }
        let request = request::code(&self.site, code, redirect_uri)?;
        let issued = self.exchange_by(request, window, Asked::SignIn, "").await;
        // The server has most probably not used the code. To drop the code would lose it for certain.
        if let Err(
            EndpointError::NotSent { .. }
            | EndpointError::Later { .. }
            | EndpointError::Page { .. }
            | EndpointError::Unavailable { .. },
        ) = issued
        {
            is_used.store(false, Ordering::Release);
        }
        issued
    }

    async fn log_in(
        &self,
        username: &str,
        password: &str,
        window: &SendWindow,
    ) -> Result<Issued, EndpointError> {
        let (site, mode) = (&self.site, self.site.mode);
        let secrets = self.secrets(&[]);
        let begun = SystemClock.now();
        let request = request::login(site, "/authn/login-with-expiry", username, password)?;
        let reply = self.send(request, Some(window), self.http.timeout).await?;
        if mode == Mode::Eureka || reply.status != StatusCode::NOT_FOUND {
            return outcome::exchange(reply, mode, Asked::SignIn, &secrets);
        }
        // No module has judged the password: this tenant has only tokens without an expiry.
        let left = self.left(begun);
        let request = request::login(site, "/authn/login", username, password)?;
        let reply = self.send(request, Some(window), left).await?;
        outcome::exchange(reply, mode, Asked::LegacyLogin, &secrets)
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
            Self::Code { redirect_uri, .. } => f
                .debug_struct("Code")
                .field("redirect_uri", redirect_uri)
                .finish_non_exhaustive(),
        }
    }
}
