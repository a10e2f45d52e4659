//! The only place where a pair is replaced. It never asks *when*: it is started for a pair that somebody
//! wants renewed, and works in a task of its own, so that no caller can cancel it.
//!
//! One rotation is a loop: **look** at the record (adopt what is newer, write forward what the store
//! lost, respect an end), **lease** the token by compare-and-swap, **spend** it inside the lease's
//! window, **commit** what was issued. Whenever another instance was faster, the loop starts over with
//! what that one wrote. The rules themselves are in [`record`](crate::record); here is what awaits.
//!
//! - [`reconcile`]: which of the record and what is held is newer, and what is to be done
//! - [`lease`]: who may send a token
//! - [`spend`]: sending it, and what to do about an answer that is no pair
//! - [`unclear`]: an answer that does not say whether the token is spent
//! - [`failure`]: what a failure means, and the pause after it
//! - [`commit`], [`persist`]: storing and publishing what was issued, before callers have it or behind their backs
//! - [`begin`], [`logout`]: seeds, pairs of a new sign-in, and logging out
//! - [`revoke`]: pairs that are not used any more
//! - [`user_code`]: the store and the endpoint, which may ask back

mod begin;
mod commit;
mod failure;
mod lease;
mod logout;
mod persist;
mod reconcile;
mod revoke;
mod spend;
mod unclear;
mod user_code;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

pub(crate) use self::begin::{reopen, replace};
use self::lease::Observed;
pub(crate) use self::logout::log_out;
use self::reconcile::Next;
pub(crate) use self::user_code::is_inside;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::record::Record;
use crate::session::{Flight, Seen, Session, StoreClock, Wake};
use crate::settings::Coordination;
use crate::snapshot::Token;
use crate::state::{ClockReading, Notice, Progress};
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::timer::{Seat, Sleeper};
use crate::token::TokenFamily;

/// The pause between two looks that found the same.
const UNCHANGED_PAUSE: Duration = Duration::from_millis(20);

/// Who waits for a change looks at the clock so often before it reads a record that the store calls unchanged: a
/// reading costs more than a look, and the store may be wrong.
const POLLS_WITHOUT_READ: u32 = 6;

/// Runs the rotation on the manager's runtime.
pub(crate) fn start(flight: Flight) {
    let runtime = flight.session().shared.runtime.clone();
    let id = user_code::id(flight.session());
    let span = tracing::info_span!("rotation", key = %flight.session().key);
    let task = user_code::INSIDE.scope(id, async move {
        let mut rotation = Rotation {
            flight,
            attempt: None,
            observed: None,
            issued: 0,
            suspended: 0,
            missed: 0,
            clock_jumps: 0,
            sent: None,
            has_worked: false,
            is_counted: false,
            has_paused: false,
            answered: None,
        };
        let run = AssertUnwindSafe(rotation.run()).catch_unwind().await;
        let outcome = run.unwrap_or_else(|_| {
            tracing::error!("a rotation panicked: this is a bug in evertoken");
            let died = Error::TaskDied {
                retry_after: Duration::ZERO,
            };
            Err(rotation.fail(died, 0).error)
        });
        rotation.release_unclear().await;
        rotation.flight.finish(outcome);
    });
    runtime.spawn(task.instrument(span));
}

/// Before a notice of the session's end: another instance may have prolonged it.
pub(crate) async fn reconcile_before(session: &Session, notice: Notice) {
    let (held, epoch) = {
        let state = session.lock();
        let Some(held) = state.pair_id() else {
            return;
        };
        (held, state.epoch())
    };
    if let Ok(seen) = user_code::load(session).await
        && let Some(record) = seen.record().filter(|record| record.pair.is_some())
        && session.adopt(
            record,
            user_code::latest_store_now(session, seen.clock),
            epoch,
            Duration::ZERO,
        )
    {
        return;
    }
    session.tell(notice, held, epoch);
}

struct Rotation {
    flight: Flight,
    /// The first attempt at the lease that is being made: its number, and when. The send window counts
    /// from it, because a swap that timed out may have been applied then.
    attempt: Option<(u64, Timestamp)>,
    /// The lease of somebody else that is being waited for.
    observed: Option<Observed>,
    /// How many pairs were issued to it.
    issued: u32,
    /// How often its time to send was over because the process did not run.
    suspended: u32,
    /// How often in a row its time to send was over because the store was slow.
    missed: u32,
    /// How often in a row the store's clock was another one when a lease was written.
    clock_jumps: u32,
    /// When its token was sent last.
    sent: Option<ClockReading>,
    /// Whether a pair was ever committed under this key.
    has_worked: bool,
    /// Whether the failure that it ends with was counted.
    is_counted: bool,
    /// Whether it has waited for the end of a pause since it looked last.
    has_paused: bool,
    /// What the store holds, as the answer to a swap said: it need not be loaded.
    answered: Option<Seen>,
}

/// Which grant is to be leased and exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refresh,
    SignIn,
}

impl Rotation {
    fn session(&self) -> &Arc<Session> {
        self.flight.session()
    }

    /// Goes on through failures that pass by themselves, as long as the token is needed. [`Error::Pending`] if that is over,
    /// or if the user has done something: then each waiter decides anew.
    async fn run(&mut self) -> Result<Token, Error> {
        loop {
            let error = match self.attempt().await {
                Err(error) => error,
                done => return done,
            };
            if matches!(error, Error::ShutDown | Error::Pending) || self.is_counted {
                return Err(error);
            }
            let is_of_store = matches!(error, Error::Store { .. });
            let failure = self.fail(error, 0);
            if !is_of_store {
                return Err(failure.error);
            }
            // There is nothing to watch.
            self.wait_for_pause_end(failure, None).await?;
        }
    }

    /// Until there is a newer pair, or until something fails.
    async fn attempt(&mut self) -> Result<Token, Error> {
        // What is leased next is what the store holds.
        if self.uses_leases() {
            persist::store_next(self.session()).await?;
        }
        let mut before = None;
        self.answered = self.session().take_written();
        loop {
            let seen = match self.answered.take() {
                Some(seen) => seen,
                None => self.load().await.map_err(store_failed)?,
            };
            // A store that says "changed" or "lost" and shows the same record again, as a replica that
            // lags behind does, is not asked without pause.
            if before == Some(seen.revision()) && !std::mem::take(&mut self.has_paused) {
                tokio::time::sleep(UNCHANGED_PAUSE).await;
            }
            before = Some(seen.revision());
            match self.reconcile(&seen).await? {
                Next::Done(token) => return Ok(token),
                Next::Reload => {}
                Next::Lease(kind, record) => {
                    let Some(leased) = self.lease(&record, &seen, kind).await? else {
                        continue;
                    };
                    if let Some(token) = self.exchange(leased).await? {
                        return Ok(token);
                    }
                }
            }
        }
    }

    async fn load(&self) -> Result<Seen, StoreError> {
        user_code::load(self.session()).await
    }

    async fn swap(&self, seen: Option<Revision>, next: &Record) -> Result<Swap, StoreError> {
        user_code::swap(self.session(), seen, next).await
    }

    fn store_now(&self, clock: StoreClock) -> StoreTime {
        user_code::store_now(self.session(), clock)
    }

    /// Waits until the record may have changed, `limit` at most; callers with a valid token do not.
    async fn wait_for_change(
        &self,
        revision: Option<Revision>,
        limit: Duration,
    ) -> Result<(), Error> {
        let session = self.session();
        self.flight.report(Progress::Waiting);
        let (began, poll_interval) = (session.now(), session.settings().poll_interval);
        let limit = limit.min(poll_interval * POLLS_WITHOUT_READ);
        let mut changed = pin!(session.shared.store.changed(&session.key, revision, limit));
        loop {
            tokio::select! {
                () = &mut changed => break,
                () = session.closing() => break,
                // The timer of `changed` stands still while a machine sleeps, and the clock does not.
                () = tokio::time::sleep(poll_interval) => {
                    if session.now().since(began) >= limit {
                        break;
                    }
                }
            }
        }
        if session.is_closing() {
            return Err(Error::ShutDown);
        }
        self.flight.report(Progress::Running);
        Ok(())
    }

    fn uses_leases(&self) -> bool {
        self.session().settings().coordination == Coordination::Lease
    }
}

fn store_failed(source: StoreError) -> Error {
    Error::Store {
        source,
        retry_after: Duration::ZERO,
    }
}

fn family() -> Result<TokenFamily, Error> {
    TokenFamily::random()
        .map_err(|error| store_failed(StoreError::with_source("no random numbers", error)))
}

/// The pause after a panic, which would mostly come again at once.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// What a session does at the moments of its plan, whether a caller asks or not. A panic does not end that: a session whose
/// timer is gone dies without a report.
impl Sleeper for Session {
    fn wake_up(self: Arc<Self>) {
        if self.is_closing() {
            return;
        }
        match self.wake() {
            Wake::Rotate(flight) => start(flight),
            Wake::Tell(notice) => {
                let runtime = self.shared.runtime.clone();
                runtime.spawn(announce(self, notice));
            }
            Wake::Sleep => {}
        }
    }

    fn seat(&self) -> Option<&Seat> {
        Self::seat(self)
    }
}

async fn announce(session: Arc<Session>, notice: Notice) {
    let announced = AssertUnwindSafe(reconcile_before(&session, notice)).catch_unwind();
    if announced.await.is_err() {
        tracing::error!("a session panicked before its end: this is a bug in evertoken");
        tokio::time::sleep(AFTER_PANIC).await;
    }
    session.told();
}
