//! The endpoint of an instance: the way to the simulated authorization server, on which requests and answers are lost
//! or late.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Timestamp;
use evertoken::testing::{InProcessEndpoint, TestClock};
use evertoken::{
    EndpointError, Grant, Issued, Key, RefreshToken, SendWindow, ServerProfile, TokenEndpoint,
    TokenPair, async_trait,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::gate::Gate;
use crate::observer::SendId;
use crate::scenario::{Answer, Point, seconds};

/// The state that the endpoints of all instances share.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) answers: Mutex<VecDeque<Answer>>,
    pub(crate) is_down: Mutex<bool>,
    /// The answer to each exchange that no other fault decides, during an outage.
    pub(crate) outage: Mutex<Option<Answer>>,
}

#[derive(Clone)]
pub(crate) struct SimEndpoint {
    pub(crate) inner: InProcessEndpoint,
    pub(crate) line: Arc<Line>,
    pub(crate) gate: Arc<Gate>,
    /// The server's clock.
    pub(crate) clock: TestClock,
    pub(crate) latency: Duration,
}

impl fmt::Debug for SimEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimEndpoint").finish_non_exhaustive()
    }
}

/// Notes that the instance no longer waits for the answer, unless the answer was read.
struct Waiting<'a>(&'a Gate, SendId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.0.is_dead() {
            self.0.observer.gave_up(self.1);
        }
    }
}

/// The answer of a gateway between the server and the client.
fn between(status: u16) -> EndpointError {
    match status {
        408 | 502..=504 => EndpointError::unavailable(status, None),
        _ => EndpointError::page(status),
    }
}

fn unread(what: &'static str) -> EndpointError {
    EndpointError::unknown(what)
}

#[async_trait]
impl TokenEndpoint for SimEndpoint {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let observer = &self.gate.observer;
        let gone = |_| unread("the instance is gone");
        let began = Instant::now();
        let was_out = observer.is_out(self.gate.id);
        self.gate.pass(Point::BeforeExchange).await.map_err(gone)?;
        let (token, window) = match grant {
            Grant::Refresh { token, window, .. } => (Some(token.clone()), window),
            Grant::SignIn { window, .. } => (None, window),
            _ => return Err(EndpointError::refused("no such grant")),
        };
        if !window.is_open() {
            observer.note(|| format!("{} is too late to send", self.gate.id));
            return Err(EndpointError::not_sent("the send window is over"));
        }
        let fault = self.line.answers.lock().pop_front();
        let fault = fault.or(*self.line.outage.lock());
        let text = token.as_ref().map(RefreshToken::expose);
        // An instance that stood still here does not count this as an attempt.
        let was_stopped = began.elapsed() >= self.inner.timeout();
        if !was_stopped {
            observer.attempts(self.gate.id, text, was_out);
        }
        if *self.line.is_down.lock() || fault == Some(Answer::NotSent) {
            let error = EndpointError::not_sent("connection refused");
            if !was_stopped {
                observer.unreached(self.gate.id, text, &error);
            }
            return Err(error);
        }
        let id = observer.sent(self.gate.id, token.as_ref());
        let waiting = Waiting(&self.gate, id);
        let request = self.clone();
        let answer = tokio::spawn(async move {
            let open = SendWindow::new(
                Arc::new(request.clock.clone()),
                Timestamp::from_nanos(i64::MAX),
            );
            let grant = match &token {
                Some(token) => Grant::refresh(token, &open),
                None => Grant::sign_in(&open),
            };
            request.carried(grant, fault, id).await
        });
        let answer = match timeout(self.inner.timeout(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unread("the request's task died")),
            Err(_) => Err(unread("timed out")),
        };
        self.gate.pass(Point::AfterExchange).await.map_err(gone)?;
        observer.answered(id, &answer);
        drop(waiting);
        answer
    }

    fn can_sign_in(&self) -> bool {
        self.gate.may_panic("can_sign_in");
        self.inner.can_sign_in()
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let observer = &self.gate.observer;
        let gone = |_| unread("the instance is gone");
        observer.revokes(self.gate.id, pair);
        self.gate.pass(Point::BeforeRevoke).await.map_err(gone)?;
        let result = if *self.line.is_down.lock() {
            Err(EndpointError::not_sent("connection refused"))
        } else {
            sleep(self.latency).await;
            self.inner.revoke(pair).await
        };
        let how = if result.is_ok() { "done" } else { "failed" };
        observer.revoked(self.gate.id, pair, how);
        self.gate.pass(Point::AfterRevoke).await.map_err(gone)?;
        result
    }

    fn profile(&self) -> ServerProfile {
        self.inner.profile()
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}

impl SimEndpoint {
    /// Carries the request to the server and the answer back, whether or not an instance waits for the answer.
    async fn carried(
        &self,
        grant: Grant<'_>,
        fault: Option<Answer>,
        id: SendId,
    ) -> Result<Issued, EndpointError> {
        sleep(self.latency / 2).await;
        match fault {
            Some(Answer::LostBefore) => return Err(unread("lost on the way")),
            Some(Answer::Status500) => return Err(unread("status 500")),
            Some(Answer::Later(after)) => return Err(EndpointError::later(Some(seconds(after)))),
            Some(Answer::Misconfigured) => return Err(EndpointError::refused("client")),
            Some(Answer::UserNeeded) => {
                return Err(EndpointError::user_needed("interaction_required"));
            }
            Some(Answer::Status(status)) => return Err(between(status)),
            Some(Answer::SlowBefore(span)) => sleep(seconds(span)).await,
            _ => {}
        }
        let is_refused = fault == Some(Answer::Refused) && matches!(grant, Grant::Refresh { .. });
        let answer = if is_refused {
            self.gate.observer.cause("the server refused a good token");
            Err(EndpointError::rejected("invalid_grant"))
        } else {
            self.inner.exchange(grant).await
        };
        self.gate.observer.decided(id, &answer);
        sleep(self.latency / 2).await;
        match (fault, answer) {
            (Some(Answer::LostAfter | Answer::Garbled), _) => Err(unread("lost on the way back")),
            (Some(Answer::StatusAfter(status)), _) => Err(between(status)),
            (Some(Answer::NoAccess), Ok(mut issued)) if issued.refresh.is_some() => {
                issued.access = None;
                Ok(issued)
            }
            (Some(Answer::SlowAfter(span)), answer) => {
                sleep(seconds(span)).await;
                answer
            }
            (_, answer) => answer,
        }
    }
}
