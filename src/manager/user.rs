//! What the user does with a session: sign in anew, log out, hand on the pair, ask for the status.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinError;

use super::TokenManager;
use crate::endpoint::EndpointError;
use crate::error::Error;
use crate::event::{Logout, LogoutProgress, Status};
use crate::record::marks::Marks;
use crate::rotation::{self, LoggedOut};
use crate::snapshot::Token;
use crate::store::StoreError;
use crate::token::{TokenPair, Validity, jwt};

impl TokenManager {
    /// Replaces the session after a new sign-in of the user: this pair takes the place of the pair that is held and of
    /// the record in the store, also after an end or a logout. The call does not wait for a rotation; the pair that a
    /// rotation in flight brings is revoked. The new pair's times count from now.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyUsed`] if the store knows the pair's refresh token as spent. [`Error::Store`] if the pair could not be
    /// stored: then this manager has not changed. A store that failed may have stored the pair all the same, so try again with
    /// the same pair. [`Error::Ended`] if the user logged out meanwhile.
    pub async fn replace(&self, pair: TokenPair) -> Result<(), Error> {
        self.replace_with(pair, None).await
    }

    /// [`replace`](Self::replace), with what the sign-in said of the provider's session.
    pub(crate) async fn replace_with(
        &self,
        pair: TokenPair,
        upstream: Option<Marks>,
    ) -> Result<(), Error> {
        self.refuse_inside()?;
        let session = Arc::clone(&self.session);
        let pair = taken_over(pair, &session.shared.prefix, session.wall());
        if pair.access.is_none() && pair.refresh.is_none() {
            return Err(Error::NoSession);
        }
        let logouts = session.lock().logouts;
        self.on_its_own(async move { rotation::replace(&session, pair, upstream, logouts).await })
            .await
    }

    /// Signs in anew with the endpoint's own credentials, also after a logout. An active session is rotated instead.
    ///
    /// # Errors
    ///
    /// [`Error::NotRotatable`] if the endpoint cannot sign in, and as [`token`](Self::token).
    pub async fn sign_in(&self) -> Result<Token, Error> {
        self.refuse_inside()?;
        if !self.session.can_sign_in() {
            return Err(Error::NotRotatable);
        }
        let session = Arc::clone(&self.session);
        let logouts = session.lock().logouts;
        self.on_its_own(async move { rotation::reopen(&session, logouts).await })
            .await?;
        self.rotate().await
    }

    /// Logs out: the session ends for this manager at once, then in the store, for all instances that share it, and then
    /// at the server, which is asked to revoke the pair (RFC 7009). The call neither waits for a rotation nor begins one;
    /// the pair of a rotation in flight is revoked when it is committed. A step that fails does not fail the logout: no
    /// caller gets a token afterwards, and the returned [`Logout`] reports each step.
    ///
    /// Where the store is down, the logout is stored once the store is back. The logout ends the session that it finds
    /// there, also one that the user signed in to elsewhere meanwhile, because the two cannot be told apart.
    ///
    /// Dropping the future does not stop the logout. A call from within an endpoint, a store or a callback of this manager is
    /// refused, with [`Error::Reentrant`] as the source of both errors, and the session goes on. A manager of
    /// [`Sessions`](crate::Sessions) that was shut down refuses with [`Error::ShutDown`], because another manager may continue the
    /// session: log out with that one.
    pub async fn logout(&self) -> Logout {
        if let Err(error) = self.refuse_inside() {
            return unfinished(error);
        }
        let session = Arc::clone(&self.session);
        // While there is a chore, no other session of the key takes the place of this one.
        let chore = session.chore();
        if session.shared.live.is_some() && session.lock().is_closed {
            return unfinished(Error::ShutDown);
        }
        let (told, mut answer) = watch::channel(LogoutProgress::default());
        // Before anything is awaited: a caller that asks from here on gets the error of a session that was logged out of.
        let had = session.log_out();
        let runtime = session.shared.runtime.clone();
        runtime.spawn(async move {
            rotation::log_out(&session, had, told).await;
            drop(chore);
        });
        // What is known at the deadline is returned. The sender is dropped without a report only where its runtime is gone.
        let told = async { while answer.changed().await.is_ok() {} };
        let missing = self.in_time(told).await.err();
        let unfinished = unfinished(missing.unwrap_or(Error::RuntimeGone));
        let known = answer.borrow().clone();
        Logout {
            stored: known.stored.unwrap_or(unfinished.stored),
            revoked: known.revoked.unwrap_or(unfinished.revoked),
        }
    }

    /// Logs out if the provider's logout means this session, for this process and in the store. Returns `None` if it means
    /// another one, also one that has taken the place of the one that it means.
    pub(crate) async fn log_out_if_meant(&self, meant: Marks) -> Result<Option<LoggedOut>, Error> {
        // While there is a chore, no other session of the key takes the place of this one.
        let chore = self.session.chore();
        if self.session.lock().is_closed {
            return Err(Error::ShutDown);
        }
        Ok(rotation::log_out_if_meant(chore, meant).await?)
    }

    /// Returns the pair that is held, with a valid access token and what is left of its lifetimes, to be handed on, for
    /// example to a child process. The call waits for a rotation in flight. The holder that rotates first uses up the
    /// other holder's copy, and on a strict server the session ends if both rotate. So [shut down](Self::shutdown) this
    /// manager right afterwards, or hand on a store and a [key](Self::key) instead.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn pair(&self) -> Result<TokenPair, Error> {
        self.token().await?;
        // If the rotation is not over by the deadline, the pair that is held is returned.
        self.settled().await;
        let now = self.session.now();
        let state = self.session.lock();
        let held = state.held().ok_or(Error::NoSession)?;
        let mut pair = held.pair.clone();
        pair.lifetime = pair.lifetime.aged(held.schedule.age(now));
        Ok(pair)
    }

    /// Waits for a rotation in flight, until the caller's deadline at most.
    pub(crate) async fn settled(&self) {
        let flight = self.session.lock().flight();
        if let Some(flight) = flight {
            let _ = self.in_time(flight.over()).await;
        }
    }

    /// Returns the status of the session. The call neither waits nor begins a rotation, and reports only what this
    /// manager has seen, which is nothing before the first use.
    #[must_use]
    pub fn status(&self) -> Status {
        self.session.status()
    }

    /// Runs work for which the caller waits and that it does not own.
    async fn on_its_own(
        &self,
        work: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Result<(), Error> {
        if self.session.lock().is_closed {
            return Err(Error::ShutDown);
        }
        let chore = self.session.chore();
        let task = self.session.shared.runtime.spawn(async move {
            let done = work.await;
            drop(chore);
            done
        });
        let done = self.in_time(task).await?;
        let done = done.unwrap_or_else(|died| Err(self.cause_of_death(Some(died))));
        done.map_err(|error| error.with_retry_after(self.session.settings().cool_down.expired))
    }

    /// Why a task ended before its work was done: it panicked, or its runtime was shut down.
    pub(super) fn cause_of_death(&self, died: Option<JoinError>) -> Error {
        let retry_after = self.session.settings().cool_down.expired;
        match died {
            Some(died) if died.is_panic() => Error::TaskDied { retry_after },
            _ => Error::RuntimeGone,
        }
    }

    /// Refuses a call from user code for which a rotation waits: the call might wait for that rotation.
    pub(super) fn refuse_inside(&self) -> Result<(), Error> {
        match rotation::is_inside(&self.session) {
            true => Err(Error::Reentrant),
            false => Ok(()),
        }
    }
}

/// A pair as a manager holds it. If the pair does not say when its access token expires, a token that is a JWT does. The token
/// is put into the buffer that its header needs, so that the store and the manager hold it once.
pub(crate) fn taken_over(mut pair: TokenPair, prefix: &str, wall: Duration) -> TokenPair {
    pair.access = pair.access.map(|access| access.behind(prefix));
    if let (Some(access), Validity::Unknown) = (&pair.access, pair.lifetime.access) {
        // The token may be an old one, so its age is measured by the clock of this machine.
        let left = jwt::times(access.expose()).and_then(|times| times.left(wall));
        pair.lifetime.access = left.map_or(Validity::Unknown, Validity::from);
    }
    pair
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
