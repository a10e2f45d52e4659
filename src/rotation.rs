//! The rotation: the only place where a token pair is replaced by a newer one.
//!
//! A rotation never decides *when* a pair is replaced: [`state`](crate::state) decides that and starts a rotation. A
//! rotation never runs in a caller's task: it has a task of its own, so that a caller that is cancelled does not
//! cancel a request that may already have spent the refresh token. The rules of the protocol are pure functions in
//! [`record`](crate::record); this module makes the calls to the store and to the endpoint between them.
//!
//! # One rotation
//!
//! A rotation is a loop of four steps. Whenever another instance was faster, the loop starts over with the record
//! that the other instance wrote.
//!
//! 1. **Reconcile**: load the record and compare it with the pair that this instance holds. Adopt what is newer,
//!    write forward what the store lost, respect an end.
//! 2. **Lease**: write into the record, by compare-and-swap, that this instance is going to spend the token.
//! 3. **Spend**: send the token inside the send window of the lease.
//! 4. **Commit**: store the pair that the server issued, and publish it to the callers.
//!
//! # Example: two instances, one token
//!
//! Instances A and B share a store. Both hold the pair with refresh token `r1`, and its access token nears its end.
//!
//! 1. A and B each start a rotation ([`start`]) and load the same record, at revision 7 ([`Rotation::attempt`]). For
//!    both, `reconcile` finds that the record holds the held pair, and that the pair has to be refreshed:
//!    `Next::Lease`.
//! 2. Both swap a lease against revision 7 (`lease`, then `write_lease`). The swap of A becomes revision 8. The swap of
//!    B is lost; its answer brings the record at revision 8, which B keeps in `answered` and need not load.
//! 3. A sends `r1` (`exchange`, `send`). B reconciles revision 8, finds the live lease of A, and waits until the
//!    record changes or the lease goes stale (`wait_for_change`). Callers of B whose access token is still valid do
//!    not wait.
//! 4. The server answers A with the pair of `r2`. A writes it over revision 8 (`commit`, then `persist::persist`):
//!    the record holds `r2` as revision 9, without a lease, and remembers the digest of `r1` as past. A publishes the
//!    pair and resolves the flight with the new token.
//! 5. The store reports the change to B. B loads revision 9, adopts the pair of `r2` and resolves its own flight with
//!    it. The server has seen `r1` once.
//!
//! If the answer to A is lost, A cannot tell whether `r1` is spent: [`unclear`] marks the lease as doubtful, and the
//! profile of the server decides whether the token may be sent again. If A dies in step 3, its lease goes stale, and
//! B decides by the same rule (`take_over`).
//!
//! # Modules
//!
//! - [`reconcile`]: compares the record with the held pair and decides the next step
//! - [`place`]: takes a place at the token endpoint before the lease, where many sessions share the endpoint
//! - [`lease`]: writes a lease, or decides what may be done about the lease of another instance
//! - [`spend`]: sends the token, and handles answers that bring no pair
//! - [`unclear`]: handles an answer that does not say whether the token is spent
//! - [`failure`]: classifies a failure, and waits for the end of the pause after it
//! - [`commit`], [`persist`]: store the issued pair and publish it, in the order that the settings ask for
//! - [`present`]: what a pair that a browser brings is to the session
//! - [`begin`], [`logout`]: a seed, the pair of a new sign-in, a logout, and revoking pairs that are no longer used
//! - [`upstream`]: a logout that the provider sends, of the session that it means and of no other one

mod begin;
mod commit;
mod failure;
mod lease;
mod logout;
mod persist;
mod place;
mod present;
mod reconcile;
mod spend;
mod unclear;
mod upstream;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

pub(crate) use self::begin::{reopen, replace};
use self::lease::Observed;
pub(crate) use self::logout::log_out;
pub(crate) use self::present::{Known, look_up, note, pin, place_now};
use self::reconcile::Next;
pub(crate) use self::upstream::{LoggedOut, log_out_if_meant};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::record::Record;
use crate::session::{Flight, Place, Seen, Session, StoreClock};
use crate::settings::Coordination;
use crate::snapshot::Token;
use crate::state::{ClockReading, Progress};
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::token::{Digest, TokenFamily};

/// The pause before the store is asked again after it showed the same record twice.
const UNCHANGED_PAUSE: Duration = Duration::from_millis(20);

/// While an instance waits for a change, it compares the clock this many times with its deadline before it reads a
/// record that the store reports as unchanged. A read costs more than a comparison, but the report of the store may
/// be wrong.
const POLLS_WITHOUT_READ: u32 = 6;

/// How often the store is asked again where one failure must not decide, and the first pause between the attempts.
const STORE_TRIES: u32 = 3;
const STORE_PAUSE: Duration = Duration::from_millis(100);

/// Runs a rotation as a task on the manager's runtime. A panic of the task becomes an error for the callers.
pub(crate) fn start(flight: Flight) {
    let runtime = flight.session.shared.runtime.clone();
    let id = id(&flight.session);
    let span = tracing::info_span!("rotation", key = %flight.session.key);
    let task = INSIDE.scope(id, async move {
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
            place: None,
        };
        let run = AssertUnwindSafe(rotation.run()).catch_unwind().await;
        let outcome = run.unwrap_or_else(|_| {
            tracing::error!("a rotation panicked: this is a bug in evertoken, please report it");
            let retry_after = Duration::ZERO;
            let died = Error::TaskDied { retry_after };
            Err(rotation.fail(died, 0).error)
        });
        rotation.leave();
        rotation.release_unclear().await;
        rotation.flight.finish(outcome);
    });
    runtime.spawn(task.instrument(span));
}

/// One rotation under way, with what its steps have to remember from one attempt to the next.
struct Rotation {
    flight: Flight,
    /// The number of the lease that is being written, and the moment of the first attempt to write it. The send
    /// window counts from that moment, because a swap that timed out may have been applied then.
    attempt: Option<(u64, Timestamp)>,
    /// The lease of another instance that this rotation waits for.
    observed: Option<Observed>,
    /// How many pairs the server has issued to this rotation.
    issued: u32,
    /// How often the send window passed because the process was suspended.
    suspended: u32,
    /// How often in a row the send window had passed when the lease was written, because the store was slow.
    missed: u32,
    /// How often in a row the store's clock had jumped when a lease was written.
    clock_jumps: u32,
    /// When this rotation last sent a token.
    sent: Option<ClockReading>,
    /// Whether a pair was ever committed under this key. If not, a wrong configuration is the likeliest cause of a
    /// refusal.
    has_worked: bool,
    /// Whether the failure that ends this rotation is already counted.
    is_counted: bool,
    /// Whether this rotation has waited for the end of a pause, or for a place, since it last loaded the record.
    has_paused: bool,
    /// What the store holds according to the answer to a swap. It saves the next load.
    answered: Option<Seen>,
    /// The place at the token endpoint, from just before the lease until the endpoint has answered.
    place: Option<Place>,
}

/// The grant that is leased and exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refresh,
    SignIn,
}

impl Rotation {
    fn session(&self) -> &Arc<Session> {
        &self.flight.session
    }

    /// Runs attempts until one succeeds, and retries failures of the store as long as a caller or the worker needs
    /// the token. Returns [`Error::Pending`] when the token is no longer needed, or when the user has logged out or
    /// signed in: each waiter then decides again.
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
            // While the store fails, there is no revision whose change could end the pause early.
            self.wait_for_pause_end(failure, None).await?;
        }
    }

    /// One attempt: repeats the four steps until a newer pair is held, or until a step fails.
    async fn attempt(&mut self) -> Result<Token, Error> {
        let mut before = None;
        self.answered = self.session().take_written();
        loop {
            let seen = match self.answered.take() {
                Some(seen) => seen,
                None => self.session().load().await?,
            };
            // A replica that lags behind may report a change, or a lost swap, and still show the same record. The
            // store is then not asked again without a pause.
            if before == Some(seen.revision()) && !std::mem::take(&mut self.has_paused) {
                tokio::time::sleep(UNCHANGED_PAUSE).await;
            }
            before = Some(seen.revision());
            match self.reconcile(&seen).await? {
                Next::Done(token) => return Ok(token),
                Next::Reload => self.leave(),
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

    /// Waits until the record may have changed, for `limit` at most. Waiters whose callers hold a valid token are
    /// released meanwhile.
    async fn wait_for_change(
        &mut self,
        revision: Option<Revision>,
        limit: Duration,
    ) -> Result<(), Error> {
        self.leave();
        let session = self.session();
        self.flight.report(Progress::Waiting);
        let (began, poll_interval) = (session.now(), session.settings().poll_interval);
        let limit = limit.min(poll_interval * POLLS_WITHOUT_READ);
        let mut changed = pin!(session.shared.store.changed(&session.key, revision, limit));
        loop {
            tokio::select! {
                () = &mut changed => break,
                () = session.unused() => break,
                // The timer inside `changed` stands still while a machine sleeps; the session's clock does not.
                () = tokio::time::sleep(poll_interval) => {
                    if session.now().since(began) >= limit {
                        break;
                    }
                }
            }
        }
        session.refuse_unused()?;
        self.flight.report(Progress::Running);
        Ok(())
    }

    fn uses_leases(&self) -> bool {
        self.session().settings().coordination == Coordination::Lease
    }
}

/// The calls of the store. The store is user code, so each call notes when it was made.
impl Session {
    /// Loads the record. An answer that took longer than the store's timeout comes from before the machine was suspended.
    /// A lease that is based on it would be too old to send under, so the record is loaded once more.
    async fn load(&self) -> Result<Seen, StoreError> {
        let seen = self.load_once().await?;
        if seen.clock.lag() > self.settings().store_timeout {
            return self.load_once().await;
        }
        Ok(seen)
    }

    async fn load_once(&self) -> Result<Seen, StoreError> {
        let asked = self.now();
        let loaded = self.shared.store.load(&self.key).await?;
        let (read, at) = (loaded.now, self.now());
        Ok(Seen::new(loaded.entry, StoreClock { read, asked, at }))
    }

    /// Loads the record, and tries again after a failure.
    async fn load_patiently(&self) -> Result<Seen, StoreError> {
        patiently(|| self.load()).await
    }

    /// Whether the store knows this token as one of the session's, although the record that was read does not: past
    /// tokens leave a record in time, and the store may keep their digests. The record may also have come to know the
    /// token since it was read.
    async fn was_ours(&self, digest: &Digest) -> Result<bool, StoreError> {
        let found = self.shared.store.find(digest).await?;
        Ok(found.as_ref() == Some(&self.key))
    }

    async fn swap(&self, seen: Option<Revision>, next: &Record) -> Result<Swap, StoreError> {
        let (swap, _) = self.swap_timed(seen, next).await?;
        Ok(swap)
    }

    /// Swaps the record, and returns the store's clock if the store reports its time.
    async fn swap_timed(
        &self,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreClock>), StoreError> {
        let asked = self.now();
        let swapping = self.shared.store.swap_timed(&self.key, seen, next);
        let (swap, read) = swapping.await?;
        let at = self.now();
        let clock = read.map(|read| StoreClock { read, asked, at });
        // As in `load`, the answer may be from before the machine was suspended.
        let limit = self.settings().store_timeout;
        Ok((swap, clock.filter(|clock| clock.lag() <= limit)))
    }

    /// The store's time at least: a lease is never taken for older than it is.
    fn store_now(&self, clock: StoreClock) -> StoreTime {
        clock.read.after(self.now().since(clock.at))
    }

    /// The store's time at most: a token is never taken for younger than it is.
    fn latest_store_now(&self, clock: StoreClock) -> StoreTime {
        self.store_now(clock).after(clock.lag())
    }

    /// Runs work that no caller owns. A shutdown waits for its end.
    fn in_background(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let chore = self.chore();
        self.shared.runtime.spawn(async move {
            work.await;
            drop(chore);
        });
    }
}

/// Makes a call of the store, and repeats it where one failure must not decide.
pub(crate) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 0;
    loop {
        match call().await {
            Err(_) if tries < STORE_TRIES => {
                tries += 1;
                tokio::time::sleep(STORE_PAUSE * tries).await;
            }
            answer => return answer,
        }
    }
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Self {
        Self::Store {
            source,
            retry_after: Duration::ZERO,
        }
    }
}

fn family() -> Result<TokenFamily, StoreError> {
    TokenFamily::random().map_err(no_random)
}

pub(crate) fn no_random(source: getrandom::Error) -> StoreError {
    let gave_none =
        "the operating system's random source failed; check the sandbox of this process";
    StoreError::with_source(gave_none, source)
}

tokio::task_local! {
    /// The session whose rotation runs in this task.
    static INSIDE: usize;
}

fn id(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

/// Whether the calling task is the rotation of any session.
pub(crate) fn is_inside_any() -> bool {
    INSIDE.try_with(|_| ()).is_ok()
}

/// Whether the calling task is the session's own rotation, which would wait for itself.
pub(crate) fn is_inside(session: &Arc<Session>) -> bool {
    INSIDE
        .try_with(|inside| *inside == id(session))
        .unwrap_or(false)
}
