//! What a failure is to callers, to the worker and to other instances: whether it passes by itself, how long the pause
//! after it is, and what the record says of it. Pure, but for the number that is drawn.

use std::sync::Arc;
use std::time::Duration;

use super::Kind;
use crate::endpoint::{EndpointError, ResendAfterSilence};
use crate::error::Error;
use crate::record::cut;
use crate::record::pause::{Class, NotBefore};
use crate::settings::Settings;
use crate::state::{Cause, Timer};

/// The only answers without a code that refuse a sign-in: whoever asks for credentials answers so.
const REFUSALS: [u16; 2] = [400, 401];

/// An answer that is no pair, as an error for callers.
pub(super) fn endpoint_failed(source: EndpointError, kind: Kind) -> Error {
    let retry_after = Duration::ZERO;
    let refuses = match &source {
        EndpointError::Rejected { .. }
        | EndpointError::Refused { .. }
        | EndpointError::UserNeeded { .. } => true,
        EndpointError::Page { quote, .. } => quote.status.is_some_and(|it| REFUSALS.contains(&it)),
        _ => false,
    };
    let source = Arc::new(source);
    match kind {
        Kind::SignIn if refuses => Error::SignInRefused {
            source,
            retry_after,
        },
        _ => Error::Endpoint {
            source,
            is_sign_in: kind == Kind::SignIn,
            retry_after,
        },
    }
}

/// Whether it passes by itself, so that callers wait for the next attempt. `has_worked` says whether this client has ever
/// got a pair there: if not, its configuration is the likeliest cause of an answer that refuses it.
pub(super) fn passes(error: &Error, has_worked: bool) -> bool {
    match error {
        Error::Store { .. } => true,
        Error::Endpoint { source, .. } => match &**source {
            EndpointError::NotSent { is_lasting, .. } => !is_lasting,
            EndpointError::Later { .. }
            | EndpointError::Unavailable { .. }
            | EndpointError::Unknown { .. } => true,
            EndpointError::Page { .. } | EndpointError::Refused { .. } => has_worked,
            EndpointError::Rejected { .. } | EndpointError::UserNeeded { .. } => false,
        },
        _ => false,
    }
}

/// How long the pause after it is, besides what the failures before make of it. `recorded` is how many the record counts.
pub(super) fn cause(error: &Error, recorded: u32, settings: &Settings) -> Cause {
    let answer = error.endpoint();
    let is_refusal = matches!(error, Error::SignInRefused { .. });
    let is_silence = match answer {
        Some(EndpointError::Unknown { .. }) => true,
        Some(EndpointError::Unavailable { quote, .. }) => quote.status == Some(504),
        _ => false,
    };
    let waits = settings.server.resend_after_silence == ResendAfterSilence::LeaseDuration;
    Cause {
        recorded,
        least: match is_silence && waits {
            true => settings.lease_duration,
            false => Duration::ZERO,
        },
        has_no_pause: false,
        is_longest: is_refusal || matches!(answer, Some(EndpointError::UserNeeded { .. })),
        timer: match answer {
            _ if is_refusal => Timer::Never,
            Some(EndpointError::Refused { .. } | EndpointError::UserNeeded { .. }) => {
                Timer::AfterLongest
            }
            _ => Timer::AfterPause,
        },
        jitter: match settings.jitter > 0.0 {
            true => crate::session::draw(),
            false => 0.0,
        },
    }
}

/// What the record says of it; `None` of what no other instance need know.
pub(super) fn class(error: &Error) -> Option<(Class, Option<String>)> {
    let answer = error.endpoint()?;
    let status = || answer.status().map(|status| status.to_string());
    let code = || answer.code().map(|code| cut(code).to_owned());
    let (class, said) = match answer {
        EndpointError::NotSent { .. } => (Class::NotSent, None),
        EndpointError::Later { .. } => (Class::Later, None),
        EndpointError::UserNeeded { .. } => (Class::UserNeeded, code()),
        EndpointError::Refused { .. } | EndpointError::Rejected { .. } => (Class::Refused, code()),
        EndpointError::Page { .. } => (Class::Page, status()),
        EndpointError::Unavailable { .. } => (Class::Unavailable, status()),
        EndpointError::Unknown { .. } => (Class::Unknown, None),
    };
    match error {
        Error::SignInRefused { .. } => Some((Class::SignInRefused, said)),
        _ => Some((class, said)),
    }
}

/// The failure of another instance, as its record tells it.
pub(super) fn told(pause: &NotBefore) -> Error {
    let code = pause.code.clone().unwrap_or_default();
    let status = code.parse().unwrap_or_default();
    let answer = match pause.class {
        Class::NotSent => EndpointError::not_sent(ToAnother),
        Class::Later => EndpointError::later(None),
        Class::UserNeeded => EndpointError::user_needed(code),
        Class::Refused | Class::SignInRefused => EndpointError::refused(code),
        Class::Page => EndpointError::page(status),
        Class::Unavailable => EndpointError::unavailable(status, None),
        Class::Unknown => EndpointError::unknown(ToAnother),
    };
    let kind = match pause.class {
        Class::SignInRefused => Kind::SignIn,
        _ => Kind::Refresh,
    };
    let answer = answer.with_description(Some(ToAnother.to_string()));
    endpoint_failed(answer, kind)
}

/// In place of the source of another instance's error, which is not stored.
#[derive(Debug, thiserror::Error)]
#[error("another instance of this client has found so")]
struct ToAnother;
