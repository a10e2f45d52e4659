//! What users hold: a manager answers callers, and begins rotations where an answer needs one. It never talks to an endpoint
//! or a store itself.
//!
//! A caller either finds the snapshot quiet, which takes one load and one comparison, or has the locked state decide, and
//! then waits for a rotation, at most until its own deadline. A waiter does not own the rotation, so a waiter that gives up
//! does not cancel it.

mod access;
mod builder;
mod send;
mod user;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

pub use self::access::Authorization;
use self::access::{Asking, Deciding, Joined, Wanted};
pub use self::builder::Builder;
#[cfg(feature = "gateway")]
pub(crate) use self::send::{Asked, Attempt};
pub use self::send::{CallError, TokenClient};
pub(crate) use self::user::taken_over;
use crate::api::Api;
use crate::endpoint::TokenEndpoint;
use crate::error::Error;
use crate::event::Events;
use crate::rotation;
use crate::session::{Answer, Flight, Group, Session, Shared};
use crate::snapshot::Token;
use crate::state::{Progress, Rejection};
use crate::token::Key;

/// Keeps one session's token pair alive.
///
/// Clones are cheap and share everything. When the last clone is dropped, the manager's tasks end. A rotation in flight is
/// finished first, so that a pair that the server issued is not lost.
///
/// A caller waits for a rotation until the [deadline](Builder::wait) at most. A session that was not loaded yet may need two
/// rotations. The future of every method can be dropped at any time.
#[derive(Clone)]
pub struct TokenManager {
    pub(crate) session: Arc<Session>,
    /// What few callers need is behind this pointer, so that a clone counts two owners and no more.
    _handle: Arc<LastHandle>,
}

/// Dropped with the last clone. The timer and rotations hold the session, never this.
struct LastHandle {
    session: Arc<Session>,
    /// The sessions of which this manager has one, which end with the last manager of them.
    _group: Option<Arc<Group>>,
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.session.left();
    }
}

impl TokenManager {
    /// Starts to build a manager for this endpoint.
    pub fn builder(endpoint: impl TokenEndpoint) -> Builder {
        Builder::new(Arc::new(endpoint))
    }

    /// A manager of this session, which is one of the group's or stands alone.
    pub(crate) fn new(session: Arc<Session>, group: Option<Arc<Group>>) -> Self {
        session.entered();
        Self {
            _handle: Arc::new(LastHandle {
                session: Arc::clone(&session),
                _group: group,
            }),
            session,
        }
    }

    fn api(&self) -> &Arc<Api> {
        &self.session.shared.api
    }

    /// Returns a valid access token. The caller waits only if the manager has no valid token, or if the strategy says so.
    ///
    /// # Errors
    ///
    /// [`Error::needs_sign_in`] and [`Error::is_retryable`] report what the caller can do about an error.
    #[inline]
    pub fn token(&self) -> impl Future<Output = Result<Token, Error>> + Send {
        Asking {
            tokens: self,
            deciding: Deciding::Fresh,
        }
    }

    /// Returns the value of the header that carries a valid access token, marked sensitive. In the common case, in which
    /// nothing has to be decided, the call neither waits, locks nor allocates.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    #[inline]
    pub fn authorization(&self) -> Authorization<'_> {
        Authorization {
            tokens: self,
            deciding: Deciding::Fresh,
        }
    }

    /// Returns a valid access token if the manager holds one. Otherwise the manager begins the rotation that is needed
    /// and the call returns [`Error::Pending`] at once. Any thread may call this method.
    ///
    /// # Errors
    ///
    /// [`Error::Pending`], and every error that [`token`](Self::token) would return without waiting.
    pub fn try_token(&self) -> Result<Token, Error> {
        let session = &self.session;
        if let Some(token) = self.quiet_token() {
            return Ok(token);
        }
        match self.decide() {
            Answer::Serve(token) => Ok(token),
            Answer::Join(waiter, _) => session.usable().ok_or_else(|| match waiter.report() {
                Progress::Pausing(error, until) => {
                    error.with_retry_after(until.since(session.now()))
                }
                _ => Error::Pending,
            }),
            Answer::Fail(error) => Err(error),
        }
    }

    /// Returns an access token that is valid for at least `least` from now. The manager rotates once if the current token
    /// is not. A token of unknown lifetime is returned as it is.
    ///
    /// # Errors
    ///
    /// [`Error::ShortLived`] if a new token is not valid for so long either, and as [`token`](Self::token).
    pub async fn token_valid_for(&self, least: Duration) -> Result<Token, Error> {
        let token = self.token().await?;
        let token = match self.left(&token) {
            Some((left, total)) if left < least && total < least => {
                return Err(Error::ShortLived { valid_for: left });
            }
            Some((left, _)) if left < least => self.renewed(Some(&token)).await?,
            _ => return Ok(token),
        };
        match self.left(&token) {
            Some((left, _)) if left < least => Err(Error::ShortLived { valid_for: left }),
            _ => Ok(token),
        }
    }

    /// The token's remaining and its whole lifetime, if the token is current and its expiry is known.
    fn left(&self, token: &Token) -> Option<(Duration, Duration)> {
        let now = self.session.now();
        let state = self.session.lock();
        let held = state.held();
        let held = held.filter(|held| held.pair_id == token.pair_id())?;
        let total = held.pair.lifetime.access.total()?;
        Some((held.schedule.remaining(now)?, total))
    }

    /// Rotates now, whatever the strategy says: the caller joins the rotation in flight, or begins one. A session that was not
    /// loaded yet is loaded first; if loading it took an exchange, the pair of that exchange is the answer.
    ///
    /// After [`seed`](Builder::seed) this call turns a pair of which another program holds a copy into this manager's
    /// own. The copy is used up then, and a program that presents it ends the session on a strict server.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token). While the access token is valid, a failure is returned at once. In the pause after a failure,
    /// that failure is returned at once as well.
    pub async fn rotate(&self) -> Result<Token, Error> {
        let session = &self.session;
        let current = session.usable();
        if current.is_some() || session.lock().held().is_some() {
            return self.renewed(current.as_ref()).await;
        }
        let loaded = self.token().await?;
        if session.lock().was_issued(loaded.pair_id()) {
            return Ok(loaded);
        }
        self.renewed(Some(&loaded)).await
    }

    /// Reports that an API rejected this token, mostly with status 401. If the token is still the current one, the manager does
    /// not serve it any more and begins a rotation. The manager compares the id of the pair and not the bytes of the token.
    ///
    /// An API that rejects every token must not cause a rotation for every request. So a token that is rejected soon after its
    /// predecessor was rejected is served on for a while, and that time doubles. An API may also reject every token on some of
    /// its paths only. So at least a second lies between two rotations, or a tenth of the token's lifetime if that is less.
    pub fn reject(&self, token: &Token) -> Rejection {
        let (rejection, flight) = self.session.reject(token.pair_id());
        self.start(flight);
        rejection
    }

    /// Subscribes to the events of the session from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events(self.session.subscribe())
    }

    /// The key of the session. Managers with equal keys on one store share one pair.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.session.key
    }

    /// Shuts the manager down, with all its clones: callers get [`Error::ShutDown`] from now on. The call returns when a
    /// rotation in flight is finished and its pair stored, and when a logout is stored. The session itself goes on: the
    /// next manager on the same store continues it.
    ///
    /// Managers of [`Sessions`](crate::Sessions) with equal keys share one session: the shutdown of one of them ends all that there
    /// are at that time. A request drops its manager and does not shut it down.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if that takes longer than the [deadline](Builder::wait). The manager goes on trying to store a pair
    /// until the lease has expired, as long as the runtime lives. [`Error::Store`] if the pair or a logout could not be stored
    /// by then: the next manager does not have the pair, or does not know of the logout.
    pub async fn shutdown(&self) -> Result<(), Error> {
        shut_down(&self.session.shared, std::slice::from_ref(&self.session)).await
    }

    #[inline]
    pub(crate) fn quiet_token(&self) -> Option<Token> {
        let snapshot = self.session.snapshot();
        let quiet = self.session.quiet(&snapshot)?;
        Some(quiet.mine().token.clone())
    }

    fn decide(&self) -> Answer {
        let (decision, flight) = self.session.decide();
        self.start(flight);
        decision
    }

    fn start(&self, flight: Option<Flight>) {
        if let Some(flight) = flight {
            rotation::start(flight);
        }
    }

    /// Returns a newer token than `seen`.
    async fn renewed(&self, seen: Option<&Token>) -> Result<Token, Error> {
        let session = &self.session;
        let held = || session.lock().pair_id();
        let pair_id = seen.map(Token::pair_id).or_else(held);
        let deadline = self.deadline();
        loop {
            let (answer, flight) = session.renew(pair_id);
            let is_joined = flight.is_none();
            self.start(flight);
            let waiter = match answer {
                Answer::Serve(token) => return Ok(token),
                Answer::Fail(error) => return Err(error),
                Answer::Join(waiter, _) => waiter,
            };
            let mut joined = Joined::new(self, waiter, Some(deadline), None)?;
            let wanted = Wanted::NewerThan(pair_id);
            match poll_fn(|context| joined.poll(self, wanted, context)).await {
                // The rotation that the caller joined had begun before this pair was held, and ended with this pair.
                Some(Ok(token)) if is_joined && Some(token.pair_id()) == pair_id => {}
                Some(answer) => return answer,
                None => return self.token().await,
            }
        }
    }

    /// The caller's deadline, by the clock of tokio's timer, which wakes the caller. The token's own times are measured by
    /// another clock.
    fn deadline(&self) -> Instant {
        deadline(&self.session.shared)
    }

    /// Awaits `work` until the caller's deadline, on any executor.
    async fn in_time<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        in_time(&self.session.shared, work).await
    }
}

fn deadline(shared: &Shared) -> Instant {
    /// As far away as tokio's own "never".
    const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);
    let now = Instant::now();
    now.checked_add(shared.settings.wait)
        .unwrap_or_else(|| now + NEVER)
}

async fn in_time<F: Future>(shared: &Shared, work: F) -> Result<F::Output, Error> {
    let timeout = with_timer(shared, || timeout_at(deadline(shared), work));
    timeout.await.map_err(|_| Error::TimedOut {
        after: shared.settings.wait,
        source: None,
    })
}

/// Makes a timer on any executor. An executor that is not tokio's has no timer and no clock, so those of the manager's runtime
/// are used.
fn with_timer<T>(shared: &Shared, make: impl FnOnce() -> T) -> T {
    let runtime = &shared.runtime;
    let _entered = Handle::try_current().is_err().then(|| runtime.enter());
    make()
}

/// Shuts these sessions down, and returns when their rotations are finished, their pairs stored, and their logouts stored, at
/// the caller's deadline at the latest. One deadline holds for all of them.
pub(crate) async fn shut_down(shared: &Shared, sessions: &[Arc<Session>]) -> Result<(), Error> {
    let drained = sessions.iter().map(|session| {
        // In this order: otherwise a flight might begin in between for which the shutdown does not wait.
        session.close();
        let flight = session.lock().flight();
        async move {
            if let Some(flight) = flight {
                flight.over().await;
            }
            session.chores_done().await;
        }
    });
    // All are closed before the first of them is awaited.
    let drained: Vec<_> = drained.collect();
    in_time(shared, join_all(drained)).await?;
    let mut given_up = sessions.iter().filter_map(|it| it.lock().given_up.clone());
    given_up.next().map_or(Ok(()), |source| Err(source.into()))
}

/// Shows the key, and not a secret.
impl fmt::Debug for TokenManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenManager")
            .field("key", &self.session.key)
            .field("pair_id", &self.session.lock().pair_id())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
