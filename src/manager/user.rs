//! What the user does with a session: signs in anew, logs out, asks how it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinError;

use super::TokenManager;
use crate::endpoint::EndpointError;
use crate::error::Error;
use crate::rotation;
use crate::session::Session;
use crate::snapshot::Token;
use crate::status::{Logout, LogoutProgress, Status};
use crate::store::StoreError;
use crate::token::{TokenPair, Validity, jwt};

impl TokenManager {
    /// The user signed in anew: this pair takes the place of whatever is held and stored, also after an
    /// end or a logout. It waits for no rotation; what one brings that is under way is revoked. The
    /// pair's times count from now.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyUsed`] if the store knows its refresh token as one that was spent, and
    /// [`Error::Store`] if it could not be stored: then nothing has changed here. A store that failed may
    /// have stored it all the same, so try again with the same pair. [`Error::Ended`] if the user logged
    /// out meanwhile.
    pub async fn replace(&self, pair: TokenPair) -> Result<(), Error> {
        self.refuse_inside()?;
        let session = Arc::clone(&self.session);
        let pair = taken_over(pair, &session.shared.prefix, session.wall());
        if pair.access.is_none() && pair.refresh.is_none() {
            return Err(Error::NoSession);
        }
        let logouts = session.lock().logouts();
        self.on_its_own(async move {
            let replaced = rotation::replace(&session, pair, logouts).await;
            replaced.map_err(|error| later(&session, error))
        })
        .await?
    }

    /// Signs in anew with the endpoint's own credentials, also after a logout. An active session is
    /// rotated.
    ///
    /// # Errors
    ///
    /// [`Error::NotRotatable`] if the endpoint cannot sign in, and as [`token`](Self::token).
    pub async fn sign_in(&self) -> Result<Token, Error> {
        self.refuse_inside()?;
        if !self.session.shared.endpoint.can_sign_in() {
            return Err(Error::NotRotatable);
        }
        let session = Arc::clone(&self.session);
        let logouts = session.lock().logouts();
        self.on_its_own(async move { rotation::reopen(&session, logouts).await })
            .await?
            .map_err(|error| later(&self.session, error))?;
        self.rotate().await
    }

    /// Ends the session: for this manager at once, then in the store, for all who share it, and then at
    /// the server, which is asked to revoke the pair (RFC 7009). It waits for no rotation and starts
    /// none; one that is under way is revoked when it is committed. Nothing that fails here fails the caller:
    /// nobody gets a token afterwards, and what is left is in the answer.
    ///
    /// Where the store is down, the logout is stored once it is back, and ends whatever session it finds
    /// there: one too that the user signed in to elsewhere meanwhile, which cannot be told from one that
    /// he meant.
    ///
    /// Dropping the future does not stop the logout. From within an endpoint, a store or a callback of this
    /// manager's it is refused, with [`Error::Reentrant`] as the source of both errors, and nothing ends.
    pub async fn logout(&self) -> Logout {
        if let Err(error) = self.refuse_inside() {
            return unfinished(error);
        }
        let session = Arc::clone(&self.session);
        let after = session.settings().wait;
        let (told, mut answer) = watch::channel(LogoutProgress::default());
        // Before anything is awaited: whoever asks from here on is told.
        let had = session.log_out();
        let chore = session.chore();
        let runtime = session.shared.runtime.clone();
        runtime.spawn(async move {
            rotation::log_out(&session, had, told).await;
            drop(chore);
        });
        // Whatever is known by then. Who tells of it goes without a word only where its runtime is gone.
        let told = async { while answer.changed().await.is_ok() {} };
        let missing = match self.by(self.deadline(), told).await {
            Ok(()) => Error::RuntimeGone,
            Err(_) => Error::TimedOut {
                after,
                source: None,
            },
        };
        let known = answer.borrow().clone();
        let unfinished = unfinished(missing);
        Logout {
            stored: known.stored.unwrap_or(unfinished.stored),
            revoked: known.revoked.unwrap_or(unfinished.revoked),
        }
    }

    /// The pair that is held, with a valid access token and what is left of its lifetimes, for those who hand it on: to a
    /// child process, say. It waits for a rotation that is under way. Whichever of the two holders rotates first ends the
    /// other's copy, and on a strict server the session, if both do: [shut down](Self::shutdown) at once after, or hand on
    /// a store and a [key](Self::key) instead.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn pair(&self) -> Result<TokenPair, Error> {
        self.token().await?;
        let flight = self.session.lock().flight();
        if let Some(flight) = flight {
            // Without an end of it by then, the pair that is held is what there is.
            let _ = self.by(self.deadline(), flight.over()).await;
        }
        let now = self.session.now();
        let state = self.session.lock();
        let held = state.held().ok_or(Error::NoSession)?;
        let mut pair = held.pair.clone();
        pair.lifetime = pair.lifetime.aged(held.schedule.age(now));
        Ok(pair)
    }

    /// How the session is. It neither waits nor starts anything, and knows only what this manager has
    /// seen: before the first use nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.session.status()
    }

    /// Work that the caller waits for and does not own.
    async fn on_its_own<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        if self.session.lock().is_closed() {
            return Err(Error::ShutDown);
        }
        let chore = self.session.chore();
        let task = self.session.shared.runtime.spawn(async move {
            let done = work.await;
            drop(chore);
            done
        });
        match self.by(self.deadline(), task).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(died)) => Err(later(&self.session, cause_of_death(&died))),
            Err(_) => Err(Error::TimedOut {
                after: self.session.settings().wait,
                source: None,
            }),
        }
    }

    /// Code of the user's that a rotation waits for cannot wait for what may wait for the rotation.
    fn refuse_inside(&self) -> Result<(), Error> {
        if rotation::is_inside(&self.session) {
            return Err(Error::Reentrant);
        }
        Ok(())
    }
}

/// A pair as it is held. An access token that is a JWT says when it expires, if the pair does not. The token is put into the
/// buffer that its header needs, so that the store and the manager hold it once.
pub(super) fn taken_over(mut pair: TokenPair, prefix: &str, wall: Duration) -> TokenPair {
    pair.access = pair.access.map(|access| access.behind(prefix));
    if let (Some(access), Validity::Unknown) = (&pair.access, pair.lifetime.access) {
        // It may be an old one, so only our clock can tell.
        let left = jwt::times(access.expose()).and_then(|times| times.left(wall));
        pair.lifetime.access = left.map_or(Validity::Unknown, Validity::from);
    }
    pair
}

/// The same error, to be tried again after a pause.
fn later(session: &Session, error: Error) -> Error {
    error.with_retry_after(session.settings().cool_down.expired)
}

/// A task ends without its work done if it panicked, or if its runtime was shut down.
pub(super) fn cause_of_death(died: &JoinError) -> Error {
    if died.is_panic() {
        let retry_after = Duration::ZERO;
        Error::TaskDied { retry_after }
    } else {
        Error::RuntimeGone
    }
}

fn unfinished(error: Error) -> Logout {
    Logout {
        revoked: Err(EndpointError::unknown(error.clone())),
        stored: Err(StoreError::with_source(
            "the logout is not stored yet",
            error,
        )),
    }
}
