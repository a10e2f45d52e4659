//! What follows after an attempt that did not import a batch: another attempt after a pause, the failure of the batch, or the
//! stop of the import. A batch fails only for a reason of its own; a missing token or an API that is not available stops the
//! import instead.

use std::time::Duration;

use evertoken::{EndpointError, Error};
use serde::Serialize;
use tokio::time::Instant;

use crate::worker::Failure;

/// Pauses double from the shortest to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Attempts with a batch that gets no answer, or an answer that the batch may have caused.
const TRIES: u32 = 5;

/// How long a batch is tried while the API accepts no token. No record fails for this reason: an API with outdated keys
/// accepts the tokens later, and an API that expects other tokens takes no record at all.
const UNAUTHORIZED_LIMIT: Duration = Duration::from_secs(60);

/// The pause before the API is asked again about a batch that it still works on.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long the API may work on a batch.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// What to do with a batch that this attempt did not import.
#[derive(Debug)]
pub(crate) enum Next {
    /// Another attempt follows after this pause.
    Again(Duration),
    /// The import stops; the batch has not failed.
    Stop(Stopped),
    Fail,
}

/// The attempts of a worker with one batch.
#[derive(Debug)]
pub(crate) struct Patience {
    started: Instant,
    /// How long the batch waits for an API that is not available.
    limit: Duration,
    /// Since when the API has not been available, without another answer in between.
    unavailable: Option<(Instant, Pauses)>,
    unclear: Pauses,
    /// Since when the API has accepted no token.
    unauthorized: Option<(Instant, Pauses)>,
    tokens: Judge,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            limit,
            unavailable: None,
            unclear: Pauses::default(),
            unauthorized: None,
            tokens: Judge::default(),
        }
    }

    /// A token for the batch is available.
    pub(crate) fn got_token(&mut self) {
        self.tokens.reset();
    }

    /// `has_rotated` is as in [`Judge::judge`]; `is_managed` means that another token may follow.
    pub(crate) fn after(&mut self, failure: &Failure, is_managed: bool, has_rotated: bool) -> Next {
        if !matches!(failure, Failure::Unavailable { .. }) {
            self.unavailable = None;
        }
        let pause = match failure {
            Failure::NoToken(error) => {
                return match self.tokens.judge(error, has_rotated) {
                    Obstacle::Passing(pause) => Next::Again(pause),
                    Obstacle::Lasting(stopped) => Next::Stop(stopped),
                };
            }
            Failure::Unavailable { why, after } => return self.unavailable(why, *after),
            Failure::Unclear(_) => {
                let pause = self.unclear.next();
                (self.unclear.count < TRIES).then_some(pause)
            }
            Failure::Busy => (self.started.elapsed() < BUSY_LIMIT).then_some(BUSY_PAUSE),
            // The manager does not rotate a token at once that was rejected right after it was issued.
            Failure::Unauthorized if is_managed => return self.unauthorized(),
            Failure::Unauthorized | Failure::Refused(_) => None,
        };
        pause.map_or(Next::Fail, Next::Again)
    }

    fn unauthorized(&mut self) -> Next {
        let (since, pauses) = self.unauthorized.get_or_insert_with(begun);
        let pause = pauses.next();
        if since.elapsed().saturating_add(pause) <= UNAUTHORIZED_LIMIT {
            return Next::Again(pause);
        }
        Next::Stop(Stopped {
            kind: Kind::Configuration,
            reason: "the API accepts no token: it answered 401 to each".to_owned(),
            remedy: "Check the scope and the audience of the tokens, and which server the API trusts",
        })
    }

    fn unavailable(&mut self, why: &anyhow::Error, after: Option<Duration>) -> Next {
        let (since, pauses) = self.unavailable.get_or_insert_with(begun);
        let pause = pauses.next().max(after.unwrap_or_default());
        if since.elapsed().saturating_add(pause) <= self.limit {
            return Next::Again(pause);
        }
        Next::Stop(Stopped {
            kind: Kind::ApiUnavailable,
            reason: format!("{why:#}"),
            remedy: "Wait until it is available",
        })
    }
}

/// A wait that begins now.
fn begun() -> (Instant, Pauses) {
    (Instant::now(), Pauses::default())
}

#[derive(Debug, Default)]
struct Pauses {
    count: u32,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let factor = 2_u32.saturating_pow(self.count);
        self.count += 1;
        SHORTEST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
    }
}

/// Refusals in a row by a token endpoint that accepted the client before, until the obstacle counts as lasting: a server that
/// restarts may refuse its clients for a while.
const REFUSALS: u32 = 3;

/// The pause after a first refusal is shorter. A longer pause may follow a refusal of another instance or of an earlier run,
/// whose configuration was wrong where this one is right: after the pause, this client gets its own answer.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The least pause before the manager is asked again.
const SHORTEST_TOKEN_PAUSE: Duration = Duration::from_millis(100);

/// Why no token is available: a cause that passes by itself, or one that the user must remove.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The manager is asked again after this pause.
    Passing(Duration),
    Lasting(Stopped),
}

/// Judges the errors of one worker while it gets no token.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    refusals: u32,
    /// Whether the pause after a refusal that came at once is over.
    has_waited: bool,
}

impl Judge {
    /// The worker has a token.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// `has_rotated` means that this manager got a pair before, so its configuration was right then.
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
            // The manager itself waits out what passes, until the deadline of its caller.
            (Error::Endpoint { .. }, Some(EndpointError::NotSent { is_lasting, .. })) => {
                *is_lasting
            }
            // The manager refuses at once also for a client that was accepted before, if the next attempt is further
            // away than the deadline.
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
        Obstacle::Passing(pause.max(SHORTEST_TOKEN_PAUSE))
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

/// An error with all its causes.
pub(crate) fn chain(error: &Error) -> String {
    format!("{:#}", anyhow::Error::new(error.clone()))
}

/// Why an import stops itself. No record fails for this reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stopped {
    pub(crate) kind: Kind,
    /// The reason, in the words of the server where they are known.
    pub(crate) reason: String,
    /// What the user has to do.
    #[serde(skip)]
    pub(crate) remedy: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A user must sign in.
    SessionEnded,
    /// A setting is wrong, here or at the server.
    Configuration,
    /// The API was not available for as long as a batch waits.
    ApiUnavailable,
}

impl Kind {
    /// The last column of the table.
    pub(crate) fn verdict(self) -> &'static str {
        match self {
            Self::SessionEnded => "session ended",
            Self::Configuration => "misconfigured",
            Self::ApiUnavailable => "API unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn again(next: &Next) -> Option<f64> {
        match next {
            Next::Again(pause) => Some(pause.as_secs_f64()),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_an_unavailable_api_with_growing_pauses_up_to_the_limit() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let failure = |after| Failure::Unavailable {
            why: anyhow!("the API answered 503"),
            after,
        };
        let mut pauses = Vec::new();
        let stopped = loop {
            match patience.after(&failure(None), true, true) {
                Next::Again(pause) => {
                    pauses.push(pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                }
                Next::Stop(stopped) => break stopped,
                Next::Fail => panic!("the batch must not fail"),
            }
        };
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0]);
        assert_eq!(stopped.kind, Kind::ApiUnavailable);
        // After another answer, the time limit starts again. The pause is as long as the API asks for.
        let other = Failure::Unclear(anyhow!("the API answered 500"));
        assert!(again(&patience.after(&other, true, true)).is_some());
        let after = Some(Duration::from_secs(7));
        let next = patience.after(&failure(after), true, true);
        assert_eq!(again(&next), Some(7.0));
        let after = Some(Duration::from_secs(3_600));
        let next = patience.after(&failure(after), true, true);
        assert!(matches!(next, Next::Stop(_)), "{next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_breaks_the_api_fails_after_five_attempts() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let failure = Failure::Unclear(anyhow!("the API answered 500"));
        for pause in [0.5, 1.0, 2.0, 4.0] {
            assert_eq!(again(&patience.after(&failure, true, true)), Some(pause));
        }
        assert!(matches!(patience.after(&failure, true, true), Next::Fail));
    }
}
