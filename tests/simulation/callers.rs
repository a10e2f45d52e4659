//! The callers that ask for tokens, and the rules that judge each answer they get.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::AccessCheck;
use evertoken::{EndpointError, Error, PairId, Rejection, Token};
use tokio::time::{Instant, sleep_until, timeout};

use crate::reasons;
use crate::scenario::{Action, Caller, Fault, Server, seconds};
use crate::world::{Node, World};

/// The longest pause after a failure, in milliseconds.
const LONGEST_PAUSE: u64 = 60_000;

/// A caller that needs no newer token waits for a rotation under way for at most this long.
const JOIN_LIMIT: Duration = Duration::from_secs(2);

/// A token this close to its expiry is renewed before it is served, if a renewal is possible.
const LEEWAY: Duration = Duration::from_secs(10);

/// A token with less than this left counts as expired.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// An answer may come this long after the deadline, for rounding alone.
const SLACK: Duration = Duration::from_millis(10);

pub(crate) async fn run(world: Arc<World>, caller: Caller) {
    for (at, action) in caller.actions {
        sleep_until(world.began + Duration::from_millis(at)).await;
        if let Some(node) = world.node(caller.node) {
            act(&world, &node, action).await;
        }
    }
}

/// What the manager could have served, or knew, when the caller asked.
struct Before {
    pair_id: Option<PairId>,
    left: Option<Duration>,
    is_rejected: bool,
    /// Whether a pause after a failure is under way.
    is_pause: bool,
    /// Whether this client has received a pair before.
    has_worked: bool,
}

impl Before {
    fn of(world: &World, node: &Node) -> Self {
        let status = node.manager.status();
        let rejected = *node.rejected.lock();
        let pause = status.failure.and_then(|failure| failure.retry_after());
        let record = world.observer.record();
        Self {
            pair_id: status.pair_id,
            left: status.access_expires_in.filter(|_| status.end.is_none()),
            is_rejected: rejected.is_some() && status.pair_id == rejected,
            is_pause: pause.is_some_and(|pause| !pause.is_zero()) && !status.is_rotating,
            has_worked: record.is_some_and(|record| record.committed_number > 0),
        }
    }

    /// A caller with a valid token does not wait for a newer token that does not arrive. A caller without one waits
    /// through transient failures.
    fn judge(&self, world: &World, node: &Node, result: &Result<Token, Error>, took: Duration) {
        let id = node.id;
        match result {
            Ok(token) => {
                let is_same = self.pair_id == Some(token.pair_id());
                let patience = self
                    .patience(world)
                    .filter(|_| is_same && !self.is_rejected);
                if patience.is_some_and(|patience| took > patience + SLACK) {
                    let took = took.as_secs_f64();
                    world.violation(format!("O7 {id} waited {took} s with a valid token"));
                }
            }
            Err(error) => {
                let left = seconds(world.scenario.wait).saturating_sub(took);
                let next = error.retry_after().unwrap_or(Duration::MAX);
                if self.passes(world, error) && next + SLACK < left {
                    world.violation(format!(
                        "O7 {id} is refused ({error}) although the next attempt is in {} s",
                        next.as_secs_f64()
                    ));
                }
            }
        }
    }

    fn patience(&self, world: &World) -> Option<Duration> {
        let left = self.left.filter(|left| *left > LAST_MOMENT)?;
        if self.is_pause {
            return Some(Duration::ZERO);
        }
        // On this server a rotation kills the old access token.
        if world.scenario.server == Server::OldAccessDies && world.scenario.is_known {
            return None;
        }
        let is_stepped = |(_, fault): &(u64, Fault)| matches!(fault, Fault::StepWall(..));
        // After a step of the wall clock the token may have been due for a long time.
        if world.scenario.faults.iter().any(is_stepped) {
            return Some(left);
        }
        Some(if left > LEEWAY { JOIN_LIMIT } else { left / 2 })
    }

    /// Whether the failure is transient, so that the caller waits for the next attempt.
    fn passes(&self, world: &World, error: &Error) -> bool {
        let is_lost = world.observer.log().has_failed_over();
        match error {
            Error::Store { .. } => !world.scenario.fails_unstored,
            Error::Endpoint { source, .. } => match &**source {
                EndpointError::NotSent { .. }
                | EndpointError::Later { .. }
                | EndpointError::Unavailable { .. }
                | EndpointError::Unknown { .. } => true,
                EndpointError::Page { .. } | EndpointError::Refused { .. } => {
                    self.has_worked && !is_lost
                }
                _ => false,
            },
            _ => false,
        }
    }
}

async fn act(world: &World, node: &Node, action: Action) {
    let manager = &node.manager;
    let began = Instant::now();
    let begins = world.observer.log().begins;
    world.observer.asked(node.id.node);
    let before = Before::of(world, node);
    let (result, waits) = match action {
        Action::Token => (manager.token().await, 1),
        Action::TryToken => (manager.try_token(), 0),
        Action::Rotate => (manager.rotate().await, 3),
        Action::ValidFor(least) => (manager.token_valid_for(seconds(least)).await, 3),
        Action::Reject => {
            let result = manager.token().await;
            if let Ok(token) = &result {
                reject(world, node, token);
            }
            (result, 1)
        }
        Action::Drop(ms) => {
            let _ = timeout(Duration::from_millis(ms), manager.token()).await;
            return;
        }
    };
    if node.gate.is_dead() {
        return;
    }
    let id = node.id;
    let took = began.elapsed();
    world.note(|| match &result {
        Ok(token) => format!("{id} {action:?} v{}", token.pair_id().version),
        Err(error) => format!("{id} {action:?} fails: {error}"),
    });
    if took > seconds(world.scenario.wait) * waits + SLACK {
        let took = took.as_secs_f64();
        world.violation(format!("O7 {id} waited {took} s for {action:?}"));
    }
    if action == Action::Token {
        before.judge(world, node, &result, took);
    }
    match &result {
        Ok(token) => {
            served(world, node, token);
            let left = *node.left.lock();
            let log = world.observer.log();
            let is_left = left.is_some_and(|left| left <= begins && log.begins == left);
            // Another instance, which can sign in by itself, never learned of a logout that the store lost.
            let is_lost = world.scenario.sign_in && log.has_failed_over();
            let is_excused = log.is_stray || is_lost;
            drop(log);
            if is_left && !is_excused {
                world.violation(format!("O6 {id} serves after its logout"));
            }
        }
        Err(error) => {
            let failure = manager.status().failure;
            let errors = [Some(error), failure.as_ref()];
            let mut lacking = errors.into_iter().flatten().filter_map(reasons::lacking);
            if let Some(lacking) = lacking.next() {
                world.violation(format!("O9 {id}: {lacking}"));
            }
            if matches!(
                error,
                Error::TaskDied { .. } | Error::RuntimeGone | Error::Reentrant
            ) {
                world.violation(format!("O7 {id}: {error}"));
            }
            if matches!(action, Action::Token | Action::TryToken | Action::Reject) {
                refused(world, node, error);
            }
        }
    }
}

fn reject(world: &World, node: &Node, token: &Token) {
    let rejection = node.manager.reject(token);
    world.note(|| {
        format!(
            "{} rejects v{}: {rejection:?}",
            node.id,
            token.pair_id().version
        )
    });
    if matches!(rejection, Rejection::Rotating | Rejection::Ended) {
        *node.rejected.lock() = Some(token.pair_id());
    }
}

/// A caller gets neither an expired token nor a token that the server did not issue.
pub(crate) fn served(world: &World, node: &Node, token: &Token) {
    let id = node.id;
    // A token that arrives after its expiry is served for a while. Otherwise the manager would ask the server without
    // end.
    if world.observer.overdue(token.expose()) > 2 * LONGEST_PAUSE {
        world.violation(format!("O4 {id} serves a token that expired long ago"));
    }
    match world.server.check(token.expose()) {
        AccessCheck::Live | AccessCheck::Revoked => {}
        AccessCheck::Unknown => world.violation(format!(
            "O4 {id} serves a token that the server did not issue"
        )),
        AccessCheck::Expired => {
            let left = node.manager.status().access_expires_in;
            let is_repeated = world.observer.is_repeated(token.expose());
            if left.is_some_and(|left| !left.is_zero()) && !is_repeated {
                world.violation(format!("O4 {id} serves an expired token"));
            }
        }
    }
}

/// A caller is not refused while the instance holds a valid token.
fn refused(world: &World, node: &Node, error: &Error) {
    let status = node.manager.status();
    let rejected = *node.rejected.lock();
    let is_held = status.access_expires_in.is_some_and(|left| !left.is_zero());
    let is_over = matches!(error, Error::ShutDown) || node.left.lock().is_some();
    if is_held && !is_over && status.pair_id.is_some() && status.pair_id != rejected {
        world.violation(format!(
            "O4 {} refuses ({error}) although it holds a valid token",
            node.id
        ));
    }
}
