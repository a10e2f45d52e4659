//! How often a batch is tried, and what lies between two tries.

use std::time::Duration;

use tokio::time::Instant;

use crate::answer::Failure;
use crate::obstacle::{Judge, Obstacle};
use crate::stopped::{Kind, Stopped};

/// Pauses double from the one to the other.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often a batch is tried to which there is no answer, or one that may be its own fault.
const TRIES: u32 = 5;

/// For how long with tokens that the API does not accept. No record fails for that: an API whose keys are old accepts them
/// later, and one that expects other tokens takes no record at all.
const UNAUTHORIZED_LIMIT: Duration = Duration::from_secs(60);

/// Before the API is asked again whether it is done with a batch that it works on.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long it may work on one.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// What to do with a batch that was not imported by this try.
#[derive(Debug)]
pub(crate) enum Next {
    /// It is tried again after so long.
    Again(Duration),
    /// The import stops, and nothing is known against the batch.
    Stop(Stopped),
    Fail,
}

/// What a worker has gone through with one batch.
#[derive(Debug)]
pub(crate) struct Patience {
    started: Instant,
    /// For how long an API is waited for that is not available.
    limit: Duration,
    /// Since when it is not, without another answer in between.
    unavailable: Option<(Instant, Pauses)>,
    unclear: Pauses,
    /// Since when the API accepts no token.
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

    /// There is a token for the batch.
    pub(crate) fn got_token(&mut self) {
        self.tokens.reset();
    }

    /// `has_rotated` as [`Judge::judge`] takes it; `is_managed` says whether there may be another token.
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
            // A token that was rejected as soon as it was issued is not rotated at once.
            Failure::Unauthorized if is_managed => return self.unauthorized(),
            Failure::Unauthorized | Failure::Refused(_) => None,
        };
        pause.map_or(Next::Fail, Next::Again)
    }

    fn unauthorized(&mut self) -> Next {
        let (since, pauses) = self
            .unauthorized
            .get_or_insert_with(|| (Instant::now(), Pauses::default()));
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
        let (since, pauses) = self
            .unavailable
            .get_or_insert_with(|| (Instant::now(), Pauses::default()));
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
    async fn an_api_that_is_not_available_is_waited_for_with_growing_pauses_and_not_for_ever() {
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
                Next::Fail => panic!("the batch is not at fault"),
            }
        };
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0]);
        assert_eq!(stopped.kind, Kind::ApiUnavailable);
        // Another answer, and the time starts anew. What the API asks for is waited for.
        let other = Failure::Unclear(anyhow!("the API answered 500"));
        assert!(again(&patience.after(&other, true, true)).is_some());
        let after = Some(Duration::from_secs(7));
        assert_eq!(
            again(&patience.after(&failure(after), true, true)),
            Some(7.0)
        );
        let after = Some(Duration::from_secs(3_600));
        let next = patience.after(&failure(after), true, true);
        assert!(matches!(next, Next::Stop(_)), "{next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_breaks_the_api_is_tried_five_times() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let failure = Failure::Unclear(anyhow!("the API answered 500"));
        for pause in [0.5, 1.0, 2.0, 4.0] {
            assert_eq!(again(&patience.after(&failure, true, true)), Some(pause));
        }
        assert!(matches!(patience.after(&failure, true, true), Next::Fail));
    }
}
