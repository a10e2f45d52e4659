//! Compares a record that was read with the held pair, updates the one that is older, and decides the next step of
//! the rotation.
//!
//! This step sends no token. The comparison itself is a pure function, [`reconcile`]; this module acts on its result.

use super::{Kind, Rotation, Seen, family, logout, user_code};
use crate::error::{EndReason, Error};
use crate::record::reconcile::{Reconciled, reconcile};
use crate::record::{Record, RecordState};
use crate::schedule::Due;
use crate::snapshot::Token;
use crate::store::Revision;

/// The next step after a record was read.
pub(super) enum Next {
    Done(Token),
    Reload,
    /// The token of this record is to be leased. The record is the store's, unless the pair of this instance is still
    /// waiting to be stored.
    Lease(Kind, Box<Record>),
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
            if state.epoch() != self.flight.epoch() {
                return Err(Error::Pending);
            }
            state.held().cloned()
        };
        let was_committed = |record: &Record| record.committed_number > 0;
        self.has_worked = seen.record().is_some_and(was_committed);
        let now = self.store_now(seen.clock);
        match reconcile(seen.record(), held.as_ref().map(|held| held.summary())) {
            Reconciled::Vacant if self.session().shared.endpoint.can_sign_in() => {
                let vacant = Record::vacant(self.session().key.clone(), family()?);
                // Without leases, no record has to exist before the sign-in.
                if !self.uses_leases() {
                    return Ok(Next::Lease(Kind::SignIn, Box::new(vacant)));
                }
                self.swap(None, &vacant).await?;
                Ok(Next::Reload)
            }
            Reconciled::Vacant => Err(Error::NoSession),
            Reconciled::LoggedOut => {
                if let Some(record) = seen.record() {
                    let epoch = self.flight.epoch();
                    logout::clean_up(self.session(), record, seen, held.as_ref(), epoch).await;
                }
                self.ended(EndReason::LoggedOut)
            }
            Reconciled::Forward => {
                if let Some(held) = &held {
                    let session = self.session();
                    let next_number = session.lock().next_number();
                    let pair = session.stored(held, now);
                    let next = Record::forwarded(
                        seen.record(),
                        &session.key,
                        held.summary(),
                        pair,
                        next_number,
                    );
                    // The held pair is already waiting to be stored.
                    if session.outbox.is_behind() {
                        return self.judge(&next, seen).await;
                    }
                    self.swap(seen.revision(), &next).await?;
                }
                Ok(Next::Reload)
            }
            Reconciled::Adopt => match seen.record() {
                Some(record) => {
                    let (epoch, took) = (self.flight.epoch(), self.flight.took());
                    let latest = user_code::latest_store_now(self.session(), seen.clock);
                    if !self.session().adopt(record, latest, epoch, took) {
                        return Ok(Next::Reload);
                    }
                    self.judge(record, seen).await
                }
                None => Ok(Next::Reload),
            },
            Reconciled::Current => match seen.record() {
                Some(record) => {
                    self.session().lock().saw(record);
                    self.judge(record, seen).await
                }
                None => Ok(Next::Reload),
            },
        }
    }

    /// The held pair is the record's. Decides whether it is the newer pair that was asked for, and if not, which
    /// grant brings a newer one.
    async fn judge(&mut self, record: &Record, seen: &Seen) -> Result<Next, Error> {
        let session = self.session();
        let revision = seen.revision();
        let can_sign_in = session.shared.endpoint.can_sign_in();
        if let Some(reason) = record.state.end() {
            if can_sign_in && reason != EndReason::Idle {
                return Ok(Next::Lease(Kind::SignIn, Box::new(record.clone())));
            }
            let Some(error) = session.end_seen(reason, self.flight.epoch()) else {
                return Ok(Next::Reload);
            };
            // Callers that can go on with the held token do not wait for this rotation; a caller that asked for a
            // newer token gets the error.
            return Err(error);
        }
        if record.pair.is_none() {
            return if can_sign_in {
                Ok(Next::Lease(Kind::SignIn, Box::new(record.clone())))
            } else {
                Err(Error::NoSession)
            };
        }
        let (now, wall) = (session.now(), session.wall());
        let status = session.lock().status(now, wall);
        if status.pair_id != self.flight.seen()
            && status.due < Due::Mandatory
            && let Some(token) = status.usable
        {
            return Ok(Next::Done(token));
        }
        if status.is_idle {
            return self.end(record, revision, RecordState::Idle).await;
        }
        if status.refresh_is_good {
            return Ok(Next::Lease(Kind::Refresh, Box::new(record.clone())));
        }
        if can_sign_in {
            return Ok(Next::Lease(Kind::SignIn, Box::new(record.clone())));
        }
        if status.usable.is_some() {
            return Err(Error::NotRotatable);
        }
        self.end(record, revision, RecordState::Expired).await
    }

    /// The record says that the session has ended. Reports that end, unless the user has logged out or signed in
    /// since.
    fn ended(&self, reason: EndReason) -> Result<Next, Error> {
        match self.session().end_seen(reason, self.flight.epoch()) {
            Some(error) => Err(error),
            None => Ok(Next::Reload),
        }
    }

    /// Writes an end into the record. The next load shows this end, or the record of an instance that was faster.
    pub(super) async fn end(
        &self,
        record: &Record,
        revision: Option<Revision>,
        state: RecordState,
    ) -> Result<Next, Error> {
        self.swap(revision, &record.ended(state)).await?;
        Ok(Next::Reload)
    }
}
