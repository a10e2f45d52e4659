//! What it means for an import that no token can be had: whether that passes by itself, or a human has to do
//! something first.

use std::time::Duration;

use evertoken::{EndpointError, Error};

use crate::stopped::{Kind, Stopped};

/// So often in a row the token endpoint refuses a client that it accepted before, until that counts as lasting: a
/// server that restarts may refuse its clients for a while.
const REFUSALS: u32 = 3;

/// The pause after the first refusal is shorter. A longer one may be after a refusal of another instance, or of an
/// earlier run, whose configuration was wrong where this one is right: after it, this client has its own answer.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Before the manager is asked again, at least.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The manager is asked again after so long.
    Passing(Duration),
    Lasting(Stopped),
}

/// Judges the errors of one worker, as long as it gets no token.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    refusals: u32,
    /// Whether a refusal that came at once was waited out.
    has_waited: bool,
}

impl Judge {
    /// The worker got a token.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// `has_rotated` says whether this manager ever got a pair: if so, its configuration was right then.
    pub(crate) fn judge(&mut self, error: &Error, has_rotated: bool) -> Obstacle {
        if error.needs_sign_in() {
            return lasting(Kind::SessionEnded, error, "Sign in");
        }
        let answer = error.endpoint();
        self.refusals = match error.needs_configuration() {
            true => self.refusals + 1,
            false => 0,
        };
        let is_lasting = match (error, answer) {
            // The manager waits for what passes, until the deadline of its caller.
            (Error::Endpoint { .. }, Some(EndpointError::NotSent { is_lasting, .. })) => {
                *is_lasting
            }
            // A client that was accepted before is refused at once too, if the next attempt is further away than
            // the deadline.
            (
                Error::Endpoint { .. },
                Some(EndpointError::Refused { .. } | EndpointError::Page { .. }),
            ) => {
                let is_first = error.retry_after() < Some(FIRST_PAUSE);
                !has_rotated && (is_first || std::mem::replace(&mut self.has_waited, true))
            }
            (Error::Endpoint { .. }, _) => false,
            _ => !error.is_retryable(),
        };
        if is_lasting || self.refusals >= REFUSALS {
            return lasting(Kind::Configuration, error, remedy(answer));
        }
        let pause = error.retry_after().unwrap_or_default();
        Obstacle::Passing(pause.max(SHORTEST_PAUSE))
    }
}

fn remedy(answer: Option<&EndpointError>) -> &'static str {
    match answer {
        Some(answer @ EndpointError::Refused { .. }) => match answer.code() {
            Some("invalid_client") => "Check the client id and the client secret",
            Some("invalid_scope") => "Check the scope",
            _ => "Check the client id, and what the authorization server permits this client",
        },
        Some(EndpointError::Page { .. }) => "Check the URL of the token endpoint",
        Some(EndpointError::NotSent { .. }) => {
            "Check the URL and the certificate of the token endpoint, and which certificates are trusted here"
        }
        _ => "Check the configuration",
    }
}

fn lasting(kind: Kind, error: &Error, remedy: &'static str) -> Obstacle {
    Obstacle::Lasting(Stopped {
        kind,
        reason: chain(error),
        remedy,
    })
}

/// An error and all that it came from.
pub(crate) fn chain(error: &Error) -> String {
    format!("{:#}", anyhow::Error::new(error.clone()))
}
