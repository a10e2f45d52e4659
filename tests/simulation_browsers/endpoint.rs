//! The endpoint of an instance: the way to the simulated authorization server, on which requests and answers are lost.

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
use tokio::time::{sleep, timeout};

use crate::gate::Gate;
use crate::observer::Observer;
use crate::scenario::{Answer, Point, millis};

/// The state that the endpoints of all instances share.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) answers: Mutex<VecDeque<Answer>>,
    pub(crate) is_down: Mutex<bool>,
}

#[derive(Clone)]
pub(crate) struct SimEndpoint {
    pub(crate) inner: InProcessEndpoint,
    pub(crate) line: Arc<Line>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) clock: TestClock,
    pub(crate) latency_ms: u64,
}

impl fmt::Debug for SimEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimEndpoint").finish_non_exhaustive()
    }
}

impl SimEndpoint {
    /// Carries the request to the server and the answer back, whether or not an instance waits for the answer.
    async fn carried(
        self,
        token: RefreshToken,
        fault: Option<Answer>,
    ) -> Result<Issued, EndpointError> {
        let half = millis(self.latency_ms) / 2;
        sleep(half).await;
        match fault {
            Some(Answer::LostBefore) => return Err(EndpointError::unknown("lost on the way")),
            Some(Answer::Unavailable) => return Err(EndpointError::unavailable(503, None)),
            _ => {}
        }
        let clock = Arc::new(self.clock.clone());
        let open = SendWindow::new(clock, Timestamp::from_nanos(i64::MAX));
        let answer = self.inner.exchange(Grant::refresh(&token, &open)).await;
        self.observer
            .decided(self.gate.life, token.expose(), &answer);
        sleep(half).await;
        match fault {
            Some(Answer::LostAfter) => Err(EndpointError::unknown("lost on the way back")),
            _ => answer,
        }
    }
}

#[async_trait]
impl TokenEndpoint for SimEndpoint {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let gone = |_| EndpointError::unknown("the instance is gone");
        self.gate.pass(Point::BeforeExchange).await.map_err(gone)?;
        let Grant::Refresh { token, window, .. } = grant else {
            return Err(EndpointError::refused("no such grant"));
        };
        if !window.is_open() {
            return Err(EndpointError::not_sent("the send window is over"));
        }
        if *self.line.is_down.lock() {
            return Err(EndpointError::not_sent("connection refused"));
        }
        let fault = self.line.answers.lock().pop_front();
        let send = self.observer.sent(self.gate.life, token.expose());
        let answer = tokio::spawn(self.clone().carried(token.clone(), fault));
        let answer = match timeout(self.inner.timeout(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(EndpointError::unknown("the request's task died")),
            Err(_) => Err(EndpointError::unknown("timed out")),
        };
        self.gate.pass(Point::AfterExchange).await.map_err(gone)?;
        self.observer.answered(send, &answer);
        answer
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let gone = |_| EndpointError::unknown("the instance is gone");
        self.gate.runs().await.map_err(gone)?;
        if *self.line.is_down.lock() {
            return Err(EndpointError::not_sent("connection refused"));
        }
        let refresh = pair.refresh.as_ref().map(RefreshToken::expose);
        self.observer.revoked(self.gate.life, refresh);
        sleep(millis(self.latency_ms)).await;
        self.inner.revoke(pair).await
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
