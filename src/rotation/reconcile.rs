//! Compares a record that was read with the held pair, updates the one that is older, and decides the next step of
//! the rotation. What a session does when its timer wakes it is here as well: it may compare the record before a notice.
//!
//! This step sends no token. The comparison itself is a pure function, [`reconcile`]; this module acts on its result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Kind, Rotation, Seen, family, logout, start};
use crate::error::{EndReason, Error};
use crate::record::reconcile::{Reconciled, reconcile};
use crate::record::{Record, RecordState};
use crate::schedule::Due;
use crate::session::{Session, Wake};
use crate::snapshot::Token;
use crate::state::Notice;
use crate::store::Revision;
use crate::timer::{Seat, Sleeper};

/// The next step after a record was read.
pub(super) enum Next {
    Done(Token),
    Reload,
    /// The token of this record is to be leased. The record is the store's, unless the pair of this instance is still
    /// waiting to be stored.
    Lease(Kind, Arc<Record>),
}

impl Rotation {
    /// Compares the record with the held pair, and updates the one that is older.
    pub(super) async fn reconcile(&mut self, seen: &Seen) -> Result<Next, Error> {
        if let Some(next) = self.enforce_logout(seen).await? {
            return Ok(next);
        }
        if let Some(next) = self.seed(seen).await? {
            return Ok(next);
        }
        let held = {
            let state = self.session().lock();
            // The user has logged out or signed in since this rotation began. Each waiter decides again: a session
            // that began meanwhile must not be judged by the pair of the former one.
            if state.epoch != self.flight.epoch {
                return Err(Error::Pending);
            }
            state.held().cloned()
        };
        let was_committed = |record: &Record| record.committed_number > 0;
        self.has_worked = seen.record().is_some_and(was_committed);
        let now = self.session().store_now(seen.clock);
        let reconciled = reconcile(seen.record(), held.as_ref().map(|held| held.summary()));
        match (reconciled, seen.record()) {
            (Reconciled::Vacant, _) if self.session().can_sign_in() => {
                let vacant = Record::vacant(self.session().key.clone(), family()?);
                // Without leases, no record has to exist before the sign-in.
                if !self.uses_leases() {
                    return Ok(Next::Lease(Kind::SignIn, Arc::new(vacant)));
                }
                self.session().swap(None, &vacant).await?;
                Ok(Next::Reload)
            }
            (Reconciled::Vacant, _) => Err(Error::NoSession),
            (Reconciled::LoggedOut, record) => {
                let epoch = self.flight.epoch;
                if let Some(record) = record {
                    logout::clean_up(self.session(), record, seen, held.as_ref(), epoch).await;
                }
                self.session().end_seen(EndReason::LoggedOut, epoch)?;
                Ok(Next::Reload)
            }
            (Reconciled::Forward, record) => {
                let Some(held) = &held else {
                    return Ok(Next::Reload);
                };
                let session = self.session();
                let next_number = session.lock().next_number;
                let pair = session.stored(held, now);
                let key = &session.key;
                let mut next = Record::forwarded(record, key, held.summary(), pair, next_number);
                if session.keeps_browser() {
                    let version = next.version;
                    next.browser
                        .get_or_insert_with(|| session.browser(version, now));
                }
                // The held pair is already waiting to be stored.
                if session.outbox.has_unstored() {
                    return self.judge(&next, seen).await;
                }
                session.swap(seen.revision(), &next).await?;
                Ok(Next::Reload)
            }
            (Reconciled::Adopt, Some(record)) => {
                let (epoch, took) = (self.flight.epoch, self.flight.took());
                let latest = self.session().latest_store_now(seen.clock);
                if !self.session().adopt(record, latest, epoch, Some(took)) {
                    return Ok(Next::Reload);
                }
                self.judge(record, seen).await
            }
            (Reconciled::Current, Some(record)) => {
                self.session().lock().saw(record);
                self.judge(record, seen).await
            }
            (Reconciled::Adopt | Reconciled::Current, None) => Ok(Next::Reload),
        }
    }

    /// The held pair is the record's. Decides whether it is the newer pair that was asked for, and if not, which
    /// grant brings a newer one.
    async fn judge(&mut self, record: &Record, seen: &Seen) -> Result<Next, Error> {
        let session = self.session();
        let revision = seen.revision();
        let can_sign_in = session.can_sign_in();
        let lease = |kind| Ok(Next::Lease(kind, seen.shared(record)));
        if let Some(reason) = record.state.end() {
            if can_sign_in && reason != EndReason::Idle {
                return lease(Kind::SignIn);
            }
            // Callers that can go on with the held token do not wait for this rotation; a caller that asked for a
            // newer token gets the error.
            session.end_seen(reason, self.flight.epoch)?;
            return Ok(Next::Reload);
        }
        if record.pair.is_none() {
            return match can_sign_in {
                true => lease(Kind::SignIn),
                false => Err(Error::NoSession),
            };
        }
        let moment = session.moment();
        let status = session.lock().status(moment);
        if status.pair_id != self.flight.seen
            && status.due < Due::Mandatory
            && let Some(token) = status.usable
        {
            return Ok(Next::Done(token));
        }
        if status.is_idle {
            return self.end(record, revision, RecordState::Idle).await;
        }
        if status.refresh_is_good {
            return lease(Kind::Refresh);
        }
        if can_sign_in {
            return lease(Kind::SignIn);
        }
        if status.usable.is_some() {
            return Err(Error::NotRotatable);
        }
        self.end(record, revision, RecordState::Expired).await
    }

    /// Writes an end into the record. The next load shows this end, or the record of an instance that was faster.
    pub(super) async fn end(
        &self,
        record: &Record,
        revision: Option<Revision>,
        state: RecordState,
    ) -> Result<Next, Error> {
        self.session().swap(revision, &record.ended(state)).await?;
        Ok(Next::Reload)
    }
}

/// Reads the record before subscribers get a notice that the session ends: another instance may have prolonged the
/// session.
async fn reconcile_before(session: &Session, notice: Notice) {
    let (held, epoch) = {
        let state = session.lock();
        (state.pair_id(), state.epoch)
    };
    let Some(held) = held else { return };
    if let Ok(seen) = session.load().await
        && let Some(record) = seen.record().filter(|record| record.pair.is_some())
        && session.adopt(
            record,
            session.latest_store_now(seen.clock),
            epoch,
            Some(Duration::ZERO),
        )
    {
        return;
    }
    session.notify(notice, held, epoch);
}

/// The pause after a panic, because the cause would mostly make the next attempt panic at once.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// What a session does when its timer wakes it, whether or not a caller asks for a token. A panic does not stop the
/// timer: a session without a timer would expire without a report.
impl Sleeper for Session {
    fn wake_up(self: Arc<Self>) {
        if self.is_closing() || !self.is_used() {
            return;
        }
        match self.wake() {
            Wake::Rotate(flight) => start(flight),
            Wake::Notify(notice) => {
                let runtime = self.shared.runtime.clone();
                runtime.spawn(notify(self, notice));
            }
            Wake::Sleep => {}
        }
    }

    fn seat(&self) -> Option<&Seat> {
        self.seat.get()
    }
}

async fn notify(session: Arc<Session>, notice: Notice) {
    let notified = AssertUnwindSafe(reconcile_before(&session, notice)).catch_unwind();
    if notified.await.is_err() {
        tracing::error!(
            key = %session.key,
            "a session panicked before it could report its end: this is a bug in evertoken, please report it"
        );
        tokio::time::sleep(AFTER_PANIC).await;
    }
    session.notified();
}
