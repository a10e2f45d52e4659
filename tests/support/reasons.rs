//! Checks that an error gives its cause. The user who reads the error must find what failed in its chain of sources.

use std::error::Error as StdError;

use evertoken::{EndReason, EndpointError, Error, Event};

/// What an event lacks to explain a failure or an end; `None` for a complete event and for every other event.
pub(crate) fn lacking_in_event(event: &Event) -> Option<String> {
    match event {
        Event::Failed { error, .. } => lacking(error),
        Event::Ended { reason, source, .. } => {
            lacking_in_reason(reason).or_else(|| lacking(source.as_deref()?))
        }
        _ => None,
    }
}

/// What an error of a caller, of an event or of a status lacks; `None` if the error gives its cause.
pub(crate) fn lacking(error: &Error) -> Option<String> {
    let lacks = |what: &str| Some(format!("{what} in {}", chain(error)));
    if error.to_string().is_empty() {
        return lacks("no message");
    }
    match error {
        Error::Ended { reason, source, .. } => {
            lacking_in_reason(reason).or_else(|| lacking(source.as_deref()?))
        }
        Error::Endpoint { source, .. } | Error::SignInRefused { source, .. } => {
            match is_told(source) {
                true => None,
                false => lacks("no answer"),
            }
        }
        // Without a failure the elapsed time is the only cause.
        Error::TimedOut { source, .. } => source.as_deref().and_then(lacking),
        Error::Store { source, .. } if source.to_string().is_empty() => lacks("no store error"),
        _ => None,
    }
}

fn lacking_in_reason(reason: &EndReason) -> Option<String> {
    match reason {
        EndReason::Rejected(word) if word.code().is_none_or(str::is_empty) => {
            Some(format!("no error code of the server in {reason}"))
        }
        reason if reason.to_string().is_empty() => Some("no reason".to_owned()),
        _ => None,
    }
}

/// Whether the error names the answer, or what arrived in place of one.
fn is_told(error: &EndpointError) -> bool {
    match error {
        EndpointError::NotSent { source, .. } | EndpointError::Unknown { source, .. } => {
            !source.to_string().is_empty()
        }
        EndpointError::Page { .. } | EndpointError::Unavailable { .. } => error.status().is_some(),
        EndpointError::Later { .. } => error.quote().is_some(),
        _ => error.code().is_some_and(|code| !code.is_empty()),
    }
}

/// The error and all its sources.
pub(crate) fn chain(error: &Error) -> String {
    let mut told = error.to_string();
    let mut next = StdError::source(error);
    while let Some(source) = next {
        told = format!("{told}: {source}");
        next = source.source();
    }
    told
}
