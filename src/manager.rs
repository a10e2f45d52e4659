//! What users hold: it answers callers, and starts rotations where an answer needs one. It never talks to
//! an endpoint or a store itself.
//!
//! A caller either finds the token quiet, which takes one load and one comparison, or has the locked
//! state decide, and then waits for a rotation at most as long as its own deadline. Nobody who waits
//! owns the rotation, so nobody who gives up takes it along.

mod authorization;
mod blocking;
mod builder;
mod joined;
mod send;
mod user;
mod worker;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Timeout, timeout_at};

pub use self::authorization::Authorization;
pub use self::builder::Builder;
use self::joined::{Asking, Joined, Wanted};
pub use self::send::{CallError, TokenClient};
use crate::api::Api;
use crate::endpoint::TokenEndpoint;
use crate::error::Error;
use crate::event::Events;
use crate::rotation;
use crate::session::{Decision, Flight, Session};
use crate::snapshot::Token;
use crate::state::{Progress, Rejection};
use crate::token::Key;

/// Keeps one session's token pair alive.
///
/// Clones are cheap and share everything; when the last is dropped, the manager's tasks end. A
/// rotation under way is finished first, so that a pair the server issued is not lost.
///
/// Every rotation is waited for until the [deadline](Builder::wait) at most (a session that was not
/// loaded yet may need two), and every method can be dropped at any time.
#[derive(Clone)]
pub struct TokenManager {
    pub(crate) session: Arc<Session>,
    /// With what few callers need: a clone counts two owners and no more.
    handle: Arc<LastHandle>,
}

/// Dropped with the last clone. The worker and rotations hold the session, never this.
struct LastHandle {
    session: Arc<Session>,
    api: Arc<Api>,
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.session.abandon();
    }
}

impl TokenManager {
    /// Starts to build a manager for this endpoint.
    pub fn builder(endpoint: impl TokenEndpoint) -> Builder {
        Builder::new(Arc::new(endpoint))
    }

    fn new(session: Arc<Session>, api: Arc<Api>) -> Self {
        Self {
            handle: Arc::new(LastHandle {
                session: Arc::clone(&session),
                api,
            }),
            session,
        }
    }

    fn api(&self) -> &Arc<Api> {
        &self.handle.api
    }

    /// A valid access token. Waits only if there is none, or if the strategy says so.
    ///
    /// # Errors
    ///
    /// [`Error::needs_sign_in`] and [`Error::is_retryable`] tell what can be done.
    #[inline]
    pub fn token(&self) -> impl Future<Output = Result<Token, Error>> + Send {
        Asking::new(self)
    }

    /// The value of the header that carries a valid access token, marked sensitive. In the common case,
    /// in which nothing has to be decided, it neither waits, locks nor allocates.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    #[inline]
    pub fn authorization(&self) -> Authorization<'_> {
        Authorization::new(self)
    }

    /// A valid access token, if there is one without waiting; else whatever is needed for one is started,
    /// and [`Error::Pending`] is returned. To be called from any thread.
    ///
    /// # Errors
    ///
    /// [`Error::Pending`], and whatever [`token`](Self::token) would return at once.
    pub fn try_token(&self) -> Result<Token, Error> {
        let session = &self.session;
        if let Some(token) = self.quiet_token() {
            return Ok(token);
        }
        match self.decide() {
            Decision::Serve(token) => Ok(token),
            Decision::Join(waiter, _) => match session.usable() {
                Some(token) => Ok(token),
                None => Err(match waiter.report() {
                    Progress::Pausing(error, until) => session.still(&error, until),
                    _ => Error::Pending,
                }),
            },
            Decision::Fail(error) => Err(error),
        }
    }

    /// An access token that is good for at least `least` from now; rotates once if the current one is
    /// not. Of a token whose lifetime is unknown nothing can be promised: it is returned as it is.
    ///
    /// # Errors
    ///
    /// [`Error::ShortLived`] if even a new token is not good for so long, and as [`token`](Self::token).
    pub async fn token_valid_for(&self, least: Duration) -> Result<Token, Error> {
        let token = self.token().await?;
        let Some((left, total)) = self.left(&token) else {
            return Ok(token);
        };
        if left >= least {
            return Ok(token);
        }
        if total < least {
            return Err(Error::ShortLived { valid_for: left });
        }
        let token = self.renewed(Some(&token)).await?;
        match self.left(&token) {
            Some((left, _)) if left < least => Err(Error::ShortLived { valid_for: left }),
            _ => Ok(token),
        }
    }

    /// What the token has left and had in all, if it is current and expires at a known time.
    fn left(&self, token: &Token) -> Option<(Duration, Duration)> {
        let now = self.session.now();
        let state = self.session.lock();
        let held = state
            .held()
            .filter(|held| held.pair_id == token.pair_id())?;
        let total = held.pair.lifetime.access.total()?;
        Some((held.schedule.remaining(now)?, total))
    }

    /// Rotates now, whatever the strategy says: joins the rotation under way or starts one. A session
    /// that was not loaded yet is loaded first; if that took an exchange, its pair is the answer.
    ///
    /// After [`seed`](Builder::seed) it makes a pair that somebody else holds too into this manager's own:
    /// the other copy is then used up, and whoever presents it ends the session on a strict server.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token). While the access token is valid, a failure is returned at once, and so is the last one in
    /// the pause after it.
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

    /// Says that an API rejected this token (with a 401, mostly). If it is still the current one, it is
    /// not served any more and a rotation is started; its bytes do not matter, its pair id does.
    ///
    /// A token that is rejected soon after its predecessor was is served on for a while, with the pause
    /// doubling: an API that rejects every token must not cause a rotation for every request. Nor must
    /// one that rejects every token on some of its paths: there is a second between two rotations, or a
    /// tenth of the token's lifetime if that is less.
    pub fn reject(&self, token: &Token) -> Rejection {
        let (rejection, flight) = self.session.reject(token.pair_id());
        self.start(flight);
        rejection
    }

    /// What happens to the session from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events::new(self.session.subscribe())
    }

    /// What the session is: managers with equal keys on one store share one pair.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.session.key
    }

    /// Ends the manager, for all its clones: callers get [`Error::ShutDown`] from now on. Returns when
    /// a rotation under way is finished and its pair stored, and so is a logout. The session itself goes
    /// on: the next manager on the same store continues it.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if that takes longer than the [deadline](Builder::wait). A pair that could not
    /// be stored is tried on until the lease has expired, as long as the runtime lives. [`Error::Store`] if it,
    /// or a logout, could not be stored by then: the next manager does without the pair, or knows nothing of the
    /// logout.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let session = &self.session;
        // In this order, or a flight might take off in between that nobody waits for.
        session.close();
        let flight = session.lock().flight();
        let after = session.settings().wait;
        let over = async {
            if let Some(flight) = flight {
                flight.over().await;
            }
            session.chores_done().await;
        };
        self.by(self.deadline(), over)
            .await
            .map_err(|_| Error::TimedOut {
                after,
                source: None,
            })?;
        match session.given_up() {
            Some(source) => Err(Error::Store {
                source,
                retry_after: Duration::ZERO,
            }),
            None => Ok(()),
        }
    }

    #[inline]
    fn quiet_token(&self) -> Option<Token> {
        let snapshot = self.session.snapshot();
        let quiet = self.session.quiet(&snapshot)?;
        Some(quiet.mine().token.clone())
    }

    fn decide(&self) -> Decision {
        let (decision, flight) = self.session.decide();
        self.start(flight);
        decision
    }

    fn start(&self, flight: Option<Flight>) {
        if let Some(flight) = flight {
            rotation::start(flight);
        }
    }

    /// A token newer than `seen`.
    async fn renewed(&self, seen: Option<&Token>) -> Result<Token, Error> {
        let session = &self.session;
        let pair_id = match seen {
            Some(token) => Some(token.pair_id()),
            None => session.lock().pair_id(),
        };
        let (decision, flight) = session.renew(pair_id);
        self.start(flight);
        match decision {
            Decision::Serve(token) => Ok(token),
            Decision::Fail(error) => Err(error),
            Decision::Join(waiter, _) => {
                let mut joined = Joined::new(self, waiter, None, None)?;
                let wanted = Wanted::NewerThan(pair_id);
                let outcome = poll_fn(|context| joined.poll(self, wanted, context)).await;
                match outcome {
                    Some(answer) => answer,
                    None => self.token().await,
                }
            }
        }
    }

    /// By the clock of tokio's timer, which is what wakes the caller. The token's own times are not
    /// measured by it.
    fn deadline(&self) -> Instant {
        /// As far away as tokio's own "never".
        const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);
        let now = Instant::now();
        now.checked_add(self.session.settings().wait)
            .unwrap_or_else(|| now + NEVER)
    }

    /// Awaits something until `deadline`, on any executor: one that is none of tokio's has no timer, so the
    /// manager's runtime's has to do.
    fn by<F: Future>(&self, deadline: Instant, future: F) -> Timeout<F> {
        let runtime = &self.session.shared.runtime;
        let _entered = Handle::try_current().is_err().then(|| runtime.enter());
        timeout_at(deadline, future)
    }
}

/// Shows the key and no secret.
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
