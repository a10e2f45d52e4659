//! How callers get a token: at once from the snapshot, by waiting in the room of a rotation, or from a thread outside any
//! runtime. The futures are written by hand, because ten thousand callers may wait at once: each is a hundred bytes in the
//! caller's own future, where an `async fn` took six hundred of the heap.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::TokenManager;
use crate::error::Error;
use crate::session::{Answer, Session};
use crate::settings::OnStoreFailure;
use crate::snapshot::Token;
use crate::state::{DeadlinePassed, Progress, Waiter, room_timer};
use crate::token::PairId;

/// A caller that does not find the snapshot quiet: it has the state decide, and waits where the decision says so.
pub(super) enum Deciding {
    Fresh,
    /// The caller decides again, and has until this deadline.
    Again(Instant),
    Waiting(Joined),
}

impl Deciding {
    #[cold]
    pub(super) fn poll(
        &mut self,
        tokens: &TokenManager,
        context: &mut Context<'_>,
    ) -> Poll<Result<Token, Error>> {
        // A caller that gets no new token goes on with one that is still valid.
        let or_valid = |error| tokens.session.usable().ok_or(error);
        loop {
            let deadline = match self {
                Self::Fresh => None,
                Self::Again(deadline) => Some(*deadline),
                Self::Waiting(joined) => {
                    let outcome = ready!(joined.poll(tokens, Wanted::Valid, context));
                    // The waiter leaves the room before the state decides again.
                    *self = Self::Again(joined.deadline);
                    match outcome {
                        Some(answer) => return Poll::Ready(answer.or_else(or_valid)),
                        None => continue,
                    }
                }
            };
            *self = match tokens.decide() {
                Answer::Serve(token) => return Poll::Ready(Ok(token)),
                Answer::Fail(error) => return Poll::Ready(Err(error)),
                Answer::Join(waiter, longest_wait) => {
                    match Joined::new(tokens, waiter, deadline, longest_wait) {
                        Ok(joined) => Self::Waiting(joined),
                        Err(error) => return Poll::Ready(or_valid(error)),
                    }
                }
            };
        }
    }
}

/// The future of [`TokenManager::token`]. That of an `async fn` would be half as large again, and its code would be compiled
/// once and called.
pub(super) struct Asking<'a> {
    pub(super) tokens: &'a TokenManager,
    pub(super) deciding: Deciding,
}

impl Future for Asking<'_> {
    type Output = Result<Token, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.deciding, Deciding::Fresh)
            && let Some(token) = self.tokens.quiet_token()
        {
            return Poll::Ready(Ok(token));
        }
        let Self { tokens, deciding } = &mut *self;
        deciding.poll(tokens, context)
    }
}

/// Which token the caller waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// Any valid token. Where the rotation itself waits, the caller waits only as long as there is no valid token.
    Valid,
    /// A token of another pair than this one.
    NewerThan(Option<PairId>),
}

impl Wanted {
    /// The token that is held, if it is valid and the caller wants it.
    fn valid(self, session: &Session) -> Option<Token> {
        match self {
            Self::Valid => session.usable(),
            Self::NewerThan(_) => None,
        }
    }

    /// The token that was issued and is not stored yet, if the caller wants it.
    fn issued(self, session: &Session) -> Option<Token> {
        session.usable().filter(|token| match self {
            Self::Valid => true,
            Self::NewerThan(seen) => Some(token.pair_id()) != seen,
        })
    }
}

/// A caller in the waiting room of a rotation.
pub(super) struct Joined {
    waiter: Waiter,
    deadline: Instant,
    /// Until when the caller waits now. That is earlier than its deadline if it could go on with the token that is held.
    limit: Instant,
    /// The timer of a caller on another runtime than the manager's, whose clock need not be that of the room's timer.
    own_timer: Option<Pin<Box<Sleep>>>,
    /// The last failure that was reported to the caller.
    last: Option<Arc<Error>>,
}

impl Joined {
    /// A caller that waits for `longest_wait` at first, and until `deadline` at most, or for as long as the settings say.
    pub(super) fn new(
        tokens: &TokenManager,
        waiter: Waiter,
        deadline: Option<Instant>,
        longest_wait: Option<Duration>,
    ) -> Result<Self, Error> {
        let session = &tokens.session;
        tokens.refuse_inside()?;
        let home = &session.shared.runtime;
        let here = Handle::try_current();
        let is_abroad = here.as_ref().is_ok_and(|here| here.id() != home.id());
        // An executor that is not tokio's has no clock either.
        let _entered = here.is_err().then(|| home.enter());
        let deadline = deadline.unwrap_or_else(|| tokens.deadline());
        let limit = longest_wait.and_then(|longest_wait| Instant::now().checked_add(longest_wait));
        let limit = limit.unwrap_or(deadline).min(deadline);
        Ok(Self {
            waiter,
            deadline,
            limit,
            own_timer: is_abroad.then(|| Box::pin(sleep_until(limit))),
            last: None,
        })
    }

    /// The result of the rotation for this caller; `None` to decide again.
    pub(super) fn poll(
        &mut self,
        tokens: &TokenManager,
        wanted: Wanted,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Token, Error>>> {
        let session = &tokens.session;
        // Most callers find the new token here, without a lock and without a shared count. A caller that began a rotation after
        // one that failed waits for it, although the snapshot is quiet for other callers.
        if let Wanted::Valid = wanted
            && let Some(token) = tokens.quiet_token()
            && Some(token.pair_id()) != self.waiter.began_with()
        {
            return Poll::Ready(Some(Ok(token)));
        }
        loop {
            let heard = match ready!(self.poll_waiter(session, context)) {
                Ok(report) => self.heard(session, wanted, report),
                Err(DeadlinePassed) => self.passed(session, wanted),
            };
            if let Some(outcome) = heard {
                return Poll::Ready(outcome);
            }
        }
    }

    fn poll_waiter(
        &mut self,
        session: &Session,
        context: &mut Context<'_>,
    ) -> Poll<Result<Progress, DeadlinePassed>> {
        let runtime = &session.shared.runtime;
        let deadline = self.own_timer.is_none().then_some(self.limit);
        let report = self.waiter.poll(deadline, context, |room| {
            runtime.spawn(room_timer(Arc::clone(room)));
        });
        match &mut self.own_timer {
            // A report comes before the deadline.
            Some(timer) if report.is_pending() => {
                timer.as_mut().poll(context).map(|()| Err(DeadlinePassed))
            }
            _ => report,
        }
    }

    /// What follows from a report; `None` to go on waiting.
    fn heard(
        &mut self,
        session: &Session,
        wanted: Wanted,
        report: Progress,
    ) -> Option<Option<Result<Token, Error>>> {
        let policy = session.settings().on_store_failure;
        match report {
            Progress::Done(outcome, epoch) => Some(session.unless_left(outcome, epoch)),
            Progress::Retry => Some(None),
            Progress::Unstored(error) if policy == OnStoreFailure::Fail => Some(Some(Err(error))),
            // A pair that was issued is served before it is stored, also to a caller that asked for a newer token.
            Progress::Unstored(_) => wanted.issued(session).map(|token| Some(Ok(token))),
            Progress::Running => None,
            // The rotation tries nothing before the pause is over, and may fail again then.
            Progress::Pausing(error, until) => {
                if let Some(token) = wanted.valid(session) {
                    return Some(Some(Ok(token)));
                }
                let error = error.with_retry_after(until.since(session.now()));
                let left = error.retry_after();
                let next = left.and_then(|left| Instant::now().checked_add(left));
                if session.usable().is_some() || next.is_none_or(|next| next > self.deadline) {
                    return Some(Some(Err(error)));
                }
                self.last = Some(Arc::new(error));
                None
            }
            Progress::Waiting => wanted.valid(session).map(|token| Some(Ok(token))),
        }
    }

    /// What follows from a deadline that has passed; `None` to go on waiting.
    fn passed(
        &mut self,
        session: &Session,
        wanted: Wanted,
    ) -> Option<Option<Result<Token, Error>>> {
        if let Some(token) = wanted.valid(session) {
            return Some(Some(Ok(token)));
        }
        if self.limit < self.deadline {
            self.limit = self.deadline;
            if let Some(timer) = &mut self.own_timer {
                timer.as_mut().reset(self.limit);
            }
            return None;
        }
        let after = session.settings().wait;
        let now = session.now();
        let failed = || session.lock().failure(now).map(Arc::new);
        let source = self.last.take().or_else(failed);
        Some(Some(Err(Error::TimedOut { after, source })))
    }
}

/// The future of [`TokenManager::authorization`].
///
/// It is written by hand, because the code of an `async fn` is compiled once and called, and the header would be copied out
/// of it twice, which takes as long as the rest of the common case. This future is compiled into the caller's code, which
/// finds the header where it was made.
#[must_use = "futures do nothing unless awaited"]
pub struct Authorization<'a> {
    pub(super) tokens: &'a TokenManager,
    pub(super) deciding: Deciding,
}

impl Authorization<'_> {
    #[cold]
    fn decide(&mut self, context: &mut Context<'_>) -> Poll<Result<HeaderValue, Error>> {
        let token = ready!(self.deciding.poll(self.tokens, context));
        Poll::Ready(token.and_then(|token| token.authorization()))
    }
}

impl Future for Authorization<'_> {
    type Output = Result<HeaderValue, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.deciding, Deciding::Fresh) {
            let session = &self.tokens.session;
            let snapshot = session.snapshot();
            if let Some(copies) = session.quiet(&snapshot)
                && let Some(header) = &copies.mine().header
            {
                return Poll::Ready(Ok(header.clone()));
            }
        }
        self.decide(context)
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").finish_non_exhaustive()
    }
}

/// The time that an answer which is there at the deadline needs to reach another thread.
const MOMENT: Duration = Duration::from_secs(1);

impl TokenManager {
    /// Returns a valid access token to a thread outside any runtime (one of rayon's, or one that uses `reqwest::blocking`). It
    /// blocks the thread while it waits as [`token`](Self::token) does, up to the [deadline](crate::Builder::wait).
    ///
    /// The rotation itself runs on the manager's runtime. A runtime with a single thread has to be driven meanwhile, by a
    /// `block_on` on another thread than this one.
    ///
    /// # Errors
    ///
    /// [`Error::InsideRuntime`] inside a runtime, also if there is a valid token: await [`token`](Self::token) there, and in
    /// `spawn_blocking` use `Handle::current().block_on(..)`. Otherwise as [`token`](Self::token).
    pub fn blocking_token(&self) -> Result<Token, Error> {
        if Handle::try_current().is_ok() {
            return Err(Error::InsideRuntime);
        }
        if let Some(token) = self.quiet_token() {
            return Ok(token);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let tokens = self.clone();
        let asking = self.session.shared.runtime.spawn(async move {
            // Sending fails where the thread has given up.
            let _ = sender.send(tokens.token().await);
        });
        // The answer itself reports that the time is over, and what failed, unless the runtime stands still.
        let after = self.session.settings().wait;
        match receiver.recv_timeout(after.saturating_add(MOMENT)) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::TimedOut {
                after,
                source: None,
            }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let died = asking.now_or_never().and_then(Result::err);
                Err(self.cause_of_death(died))
            }
        }
    }
}
