//! Leases a token before it is sent, or decides what may be done about a token that is already leased.
//!
//! A single-use refresh token that is sent twice can end the session, so no instance sends a token that another
//! instance may be sending. Without leases (`Coordination::None`) nothing is leased before a token is sent; a token
//! that may be spent is then leased afterwards, in [`unclear`](super::unclear).

use std::sync::Arc;
use std::time::Duration;

use super::{Kind, Rotation, Seen, StoreClock, family, no_random};
use crate::clock::Timestamp;
use crate::error::{Causes, Error};
use crate::record::lease::{Candidate, DoubtfulBy, Holder, Lease, LeaseStatus, Permit};
use crate::record::marks::Marks;
use crate::record::{Record, RecordState};
use crate::state::{ClockReading, UnclearRequest};
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::token::{PairId, TokenFamily, TokenPair};

/// By how much the store's clock may differ from its expected time when a lease is written. This tolerance is a part
/// of the time between the end of the send window and the moment at which the lease goes stale.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// How often in a row the store's clock may differ by more, before the rotation reports a failure of the store.
const CLOCK_JUMPS_LIMIT: u32 = 3;

/// A token that this instance may send, and the record that says so.
#[derive(Debug, Clone)]
pub(super) struct Leased {
    pub(super) record: Arc<Record>,
    /// What the store holds: the same record, unless that record is still waiting to be stored.
    pub(super) seen: Seen,
    /// The holder of the lease. Without leases: the holder that a lease would have named.
    pub(super) holder: Holder,
    pub(super) kind: Kind,
    /// The family that the new pair will belong to.
    pub(super) family: TokenFamily,
    /// When the lease was first attempted: the send window counts from here.
    pub(super) since: Timestamp,
}

/// A lease of another instance, and since when this instance has seen it, by the session's own clock.
#[derive(Debug)]
pub(super) struct Observed {
    /// The holder, and when the lease was written: a store that lost writes may show one number twice.
    lease: (Holder, StoreTime),
    at: Timestamp,
}

impl Leased {
    fn new(
        record: Arc<Record>,
        seen: Seen,
        holder: Holder,
        kind: Kind,
        since: Timestamp,
    ) -> Result<Self, Error> {
        // The family is drawn before the grant is sent, because drawing random bits can fail.
        let family = match kind {
            Kind::Refresh => record.family,
            Kind::SignIn => family()?,
        };
        Ok(Self {
            record,
            seen,
            holder,
            kind,
            family,
            since,
        })
    }

    /// The count of sign-ins of the family that the new pair will belong to. `highest` is the highest count that this
    /// process has seen.
    pub(super) fn sign_ins(&self, highest: u64) -> u64 {
        match self.kind {
            Kind::Refresh => self.record.sign_ins,
            Kind::SignIn => self.record.sign_ins.max(highest).saturating_add(1),
        }
    }

    /// What is known of the provider's session to which the new pair will belong. Nothing is known of that of a sign-in of the
    /// endpoint's own.
    pub(super) fn upstream(&self) -> Option<Marks> {
        self.record.upstream.filter(|_| self.kind == Kind::Refresh)
    }

    /// The id of the pair that the token is exchanged for.
    pub(super) fn pair_id(&self) -> PairId {
        PairId {
            family: self.family,
            version: self.record.version.saturating_add(1),
        }
    }

    pub(super) fn pair(&self) -> Option<&TokenPair> {
        self.record.pair.as_ref().map(|stored| &stored.pair)
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        let lease = self.record.lease.as_ref();
        lease.filter(|lease| lease.is_of(self.holder))
    }
}

impl Rotation {
    /// Leases the token, or waits for the instance that has leased it. Returns `None` if the record has to be loaded
    /// again.
    pub(super) async fn lease(
        &mut self,
        record: &Record,
        seen: &Seen,
        kind: Kind,
    ) -> Result<Option<Leased>, Error> {
        // A pause forbids sending, but not loading the record.
        if let Some(failure) = self.current_pause(seen) {
            self.wait_for_pause_end(failure, Some(seen.revision()))
                .await?;
            return Ok(None);
        }
        let session = self.session();
        let lease_duration = session.settings().lease_duration;
        let by = self.candidate()?;
        let now = self.session().store_now(seen.clock);
        // This instance knows that the token may be spent, and the record does not say so: the store refused that
        // write, or lost it.
        let unclear = session.lock().unclear();
        if let Some(unclear) = unclear.filter(|unclear| unclear.digest == record.digest())
            && !record.is_leased()
            && kind == Kind::Refresh
        {
            return self.lease_doubtful(record, unclear, by, seen).await;
        }
        // Without coordination, instances do not lease a token before they send it.
        if !self.uses_leases() && record.lease.is_none() {
            if !self.enter(seen).await? {
                return Ok(None);
            }
            let session = self.session();
            let holder = by.holder(record.next_number);
            let (record, seen) = (seen.shared(record), seen.clone());
            return Leased::new(record, seen, holder, kind, session.now()).map(Some);
        }
        let moment = session.moment();
        let status = record.lease_status(session.lock().own(moment), now, lease_duration);
        let digest = match kind {
            Kind::Refresh => record.digest(),
            Kind::SignIn => session.key.digest(),
        };
        let next = match (status, &record.lease) {
            (LeaseStatus::Live { stale_in }, Some(lease)) if !self.is_abandoned(lease).await => {
                let limit = stale_in.max(Duration::from_millis(1));
                self.wait_for_change(seen.revision(), limit).await?;
                None
            }
            (LeaseStatus::Live { .. }, Some(lease)) => self.take_over(record, lease, seen).await?,
            (LeaseStatus::Stale | LeaseStatus::Unclear, Some(lease)) if kind == Kind::Refresh => {
                self.take_over(record, lease, seen).await?
            }
            // A lease that was attempted for the other grant is not written again: its token may have expired since,
            // for example.
            (LeaseStatus::Unsent, Some(lease)) if lease.digest == digest => {
                Some(record.retaken(by, now))
            }
            _ => Some(record.leased(by, digest, now)),
        };
        let Some(next) = next else { return Ok(None) };
        self.write_lease(next, status == LeaseStatus::Unsent, seen, kind)
            .await
    }

    /// Writes that the token may be spent. If the profile permits sending it again, the same swap leases it for that.
    async fn lease_doubtful(
        &mut self,
        record: &Record,
        unclear: UnclearRequest,
        by: Candidate,
        seen: &Seen,
    ) -> Result<Option<Leased>, Error> {
        let now = self.session().store_now(seen.clock);
        let mut noted = record.leased(by, unclear.digest, now);
        let Some(lease) = &mut noted.lease else {
            return Ok(None);
        };
        lease.doubt(unclear.by);
        let lease = lease.clone();
        if self.permit(&lease) == Permit::Nothing {
            self.share_doubt(&noted, &lease, seen).await?;
            return Ok(None);
        }
        match self.take_over(&noted, &lease, seen).await? {
            Some(next) => self.write_lease(next, false, seen, Kind::Refresh).await,
            None => Ok(None),
        }
    }

    /// What this instance writes of itself into its next lease.
    pub(super) fn candidate(&self) -> Result<Candidate, Error> {
        let session = self.session();
        let random = crate::token::random().map_err(no_random)?;
        Ok(Candidate {
            owner: session.shared.owner,
            nonce: nonce(random),
            lease_duration: session.settings().lease_duration,
        })
    }

    /// Whether a lease that seems live by the store's clock may be taken over: its holder is proven dead, or the
    /// lease has lasted its whole duration by the session's own clock.
    pub(super) async fn is_abandoned(&mut self, lease: &Lease) -> bool {
        let now = self.session().now();
        let since = self.observed_since(lease).unwrap_or_else(|| {
            let lease = (lease.holder(), lease.since);
            self.observed = Some(Observed { lease, at: now });
            now
        });
        let session = self.session();
        if now.since(since) >= lease.duration_for(session.settings().lease_duration) {
            return true;
        }
        let store = &session.shared.store;
        store.holder_is_dead(&session.key, lease).await
    }

    /// Since when this rotation has observed the lease.
    fn observed_since(&self, lease: &Lease) -> Option<Timestamp> {
        let observed = self.observed.as_ref();
        let observed = observed.filter(|it| it.lease == (lease.holder(), lease.since));
        observed.map(|observed| observed.at)
    }

    /// The token may be spent. Prepares what the profile permits. Returns `None` if that was to end the session or to
    /// wait.
    async fn take_over(
        &mut self,
        read: &Record,
        lease: &Lease,
        seen: &Seen,
    ) -> Result<Option<Record>, Error> {
        // If the answer to this instance's own request was unclear, the store may not have taken that doubt.
        let mut noted = read.clone();
        let unclear = self.session().lock().unclear();
        if let (Some(lease), Some(unclear)) = (&mut noted.lease, unclear)
            && lease.digest == unclear.digest
        {
            let is_open = lease.is_of(unclear.holder) && lease.answer_is_open();
            let is_worse =
                unclear.by == DoubtfulBy::Silence && lease.by == Some(DoubtfulBy::Unavailable);
            if is_open || is_worse {
                lease.doubt(unclear.by);
            }
        }
        let record = &noted;
        let lease = record.lease.as_ref().unwrap_or(lease);
        match self.permit(lease) {
            Permit::Send => {
                let now = self.store_now_for(lease, seen.clock);
                Ok(Some(record.resent(self.candidate()?, now)))
            }
            Permit::SignIn => {
                self.end_unknown(record, seen.revision()).await?;
                Ok(None)
            }
            Permit::Nothing if record.lease != read.lease => {
                self.share_doubt(record, lease, seen).await?;
                Ok(None)
            }
            Permit::Nothing => {
                self.serve_until_expiry(record, seen).await?;
                Ok(None)
            }
        }
    }

    /// Writes the doubt about a token that this instance may not send again, and gives the lease up: other instances
    /// have to know the doubt, and need not wait for this one.
    async fn share_doubt(&self, noted: &Record, lease: &Lease, seen: &Seen) -> Result<(), Error> {
        if let Some(released) = noted.released(lease.holder(), None) {
            self.session().swap(seen.revision(), &released).await?;
        }
        Ok(())
    }

    pub(super) fn permit(&self, lease: &Lease) -> Permit {
        let session = self.session();
        let can_sign_in = session.can_sign_in();
        lease.permits(session.settings().server.resend, can_sign_in)
    }

    /// The store's time for judging a lease. A lease that this instance has watched does not become younger if the
    /// store's clock is stepped back.
    fn store_now_for(&self, lease: &Lease, clock: StoreClock) -> StoreTime {
        let now = self.session().store_now(clock);
        self.observed_since(lease).map_or(now, |at| {
            now.max(lease.since.after(self.session().now().since(at)))
        })
    }

    pub(super) async fn end_unknown(
        &self,
        record: &Record,
        revision: Option<Revision>,
    ) -> Result<(), Error> {
        let digest = record.digest();
        let unknown = RecordState::OutcomeUnknown { digest };
        self.end(record, revision, unknown).await?;
        Ok(())
    }

    /// Writes the lease of this instance. A swap without an answer may have been applied, so the holder is remembered
    /// first: if a later load shows that lease, this instance knows it as its own. A lost swap was not applied.
    pub(super) async fn write_lease(
        &mut self,
        next: Record,
        continues: bool,
        seen: &Seen,
        kind: Kind,
    ) -> Result<Option<Leased>, Error> {
        let Some(holder) = next.lease.as_ref().map(Lease::holder) else {
            return Ok(None);
        };
        // The store's time in the lease would be too old after a wait, so all is decided anew.
        if !self.enter(seen).await? {
            return Ok(None);
        }
        let number = holder.number;
        let session = &self.flight.session;
        // The other instances measure the age of the lease by the store's clock, which may be ahead by this lag.
        let now = session.now().before(seen.clock.lag());
        let since = match self.attempt {
            Some((attempted, since)) if continues || attempted == number => since,
            _ => now,
        };
        self.attempt = Some((number, since));
        let attempt = ClockReading::new(session.moment());
        session.lock().attempted(holder, attempt);
        let next = Arc::new(next);
        match session.swap_timed(seen.revision(), &next).await {
            Ok((Swap::Swapped(revision), clock)) => {
                let off_by = clock.map(|clock| seen.clock.is_off_by(clock));
                let (ahead, behind) = off_by.unwrap_or_default();
                let seen = Seen {
                    entry: Some((Arc::clone(&next), revision)),
                    clock: clock.unwrap_or(seen.clock),
                };
                if ahead.max(behind) > CLOCK_TOLERANCE {
                    // For the other instances the lease began at another moment than for this one. The lease is
                    // written again before anything is sent.
                    self.answered = Some(seen);
                    self.clock_jumps += 1;
                    let jumps = "the store's clock jumped by more than 1 s at each of the last 3 writes; \
                         check the clock of the store's server";
                    return match self.clock_jumps < CLOCK_JUMPS_LIMIT {
                        true => Ok(None),
                        false => Err(StoreError::new(jumps).into()),
                    };
                }
                self.clock_jumps = 0;
                Leased::new(next, seen, holder, kind, since.before(ahead)).map(Some)
            }
            Ok((Swap::Lost(entry), clock)) => {
                session.lock().forget_lease(holder);
                self.leave();
                self.answered = clock.map(|clock| Seen::new(entry, clock));
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(key = %self.session().key, error = %Causes(&error), "writing a lease failed; the store may hold the lease all the same");
                Err(error.into())
            }
        }
    }
}

/// The lower half of the drawn bits.
fn nonce(random: u128) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half is as random"
    )]
    let nonce = random as u64;
    nonce
}
