//! Leases a token, or finds out what may be done about one that somebody else has leased.

use std::time::Duration;

use super::{Kind, Next, Rotation, Seen, StoreClock, family, store_failed, user_code};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::record::lease::{Candidate, DoubtfulBy, Holder, Lease, LeaseStatus, Permit};
use crate::record::{Record, RecordState};
use crate::state::{ClockReading, UnclearRequest};
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::token::{TokenFamily, TokenPair};

/// By so much the store's time may be off when a lease is written by a clock that was read before: a part of what lies
/// between the end of the send window and the moment at which the lease goes stale.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// How often in a row that may be so, before it is the store's failure.
const CLOCK_JUMPS_LIMIT: u32 = 3;

/// A token that may be sent, and the record that says so.
#[derive(Debug, Clone)]
pub(super) struct Leased {
    pub(super) record: Record,
    /// What the store has: the same, unless that is on its way there.
    pub(super) seen: Seen,
    /// Where there are no leases, the number one would have had.
    pub(super) holder: Holder,
    pub(super) kind: Kind,
    /// The family that the new pair will belong to.
    pub(super) family: TokenFamily,
    /// The send window counts from here.
    pub(super) since: Timestamp,
}

/// A lease of somebody else's, and since when it has been seen, by our own clock.
#[derive(Debug)]
pub(super) struct Observed {
    holder: Holder,
    /// A store that lost writes may show one number twice.
    since: StoreTime,
    at: Timestamp,
}

impl Observed {
    fn new(lease: &Lease, at: Timestamp) -> Self {
        Self {
            holder: lease.holder(),
            since: lease.since,
            at,
        }
    }

    fn is_of(&self, lease: &Lease) -> bool {
        lease.is_of(self.holder) && lease.since == self.since
    }
}

impl Leased {
    fn new(
        record: Record,
        seen: Seen,
        holder: Holder,
        kind: Kind,
        since: Timestamp,
    ) -> Result<Self, Error> {
        // Drawn before anything is sent, because it can fail.
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

    /// The count of sign-ins of the family that the new pair will belong to; `highest` is what this process has seen.
    pub(super) fn sign_ins(&self, highest: u64) -> u64 {
        match self.kind {
            Kind::Refresh => self.record.sign_ins,
            Kind::SignIn => self.record.sign_ins.max(highest).saturating_add(1),
        }
    }

    pub(super) fn pair(&self) -> Option<&TokenPair> {
        self.record.pair.as_ref().map(|stored| &stored.pair)
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        self.record
            .lease
            .as_ref()
            .filter(|lease| lease.is_of(self.holder))
    }
}

impl Rotation {
    /// Leases the token, or waits for whoever has; `None` to look again.
    pub(super) async fn lease(
        &mut self,
        record: &Record,
        seen: &Seen,
        kind: Kind,
    ) -> Result<Option<Leased>, Error> {
        // A pause forbids to send, and not to look.
        if let Some(failure) = self.current_pause(seen) {
            self.wait_for_pause_end(failure, Some(seen.revision()))
                .await?;
            return Ok(None);
        }
        let session = self.session();
        let lease_duration = session.settings().lease_duration;
        let by = self.candidate()?;
        let now = self.store_now(seen.clock);
        // The store did not take, or has lost, what says that the token may be spent.
        let unclear = session.lock().unclear();
        if let Some(unclear) = unclear.filter(|unclear| unclear.digest == record.digest())
            && !record.is_leased()
            && kind == Kind::Refresh
        {
            return self.lease_doubtful(record, unclear, by, seen).await;
        }
        // Without coordination no instance leases a token before it sends it.
        if !self.uses_leases() && record.lease.is_none() {
            let holder = by.holder(record.next_number);
            return Leased::new(record.clone(), seen.clone(), holder, kind, session.now())
                .map(Some);
        }
        let (our_now, wall) = (session.now(), session.wall());
        let status = {
            let state = session.lock();
            record.lease_status(state.own(our_now, wall), now, lease_duration)
        };
        let digest = match kind {
            Kind::Refresh => record.digest(),
            Kind::SignIn => session.key.digest(),
        };
        let next = match (status, record.lease.as_ref()) {
            (LeaseStatus::Live { stale_in }, Some(lease)) => {
                if !self.is_abandoned(lease).await {
                    let limit = stale_in.max(Duration::from_millis(1));
                    self.wait_for_change(seen.revision(), limit).await?;
                    return Ok(None);
                }
                match self.take_over(record, lease, seen).await? {
                    Some(next) => next,
                    None => return Ok(None),
                }
            }
            (LeaseStatus::Stale | LeaseStatus::Unclear, Some(lease)) if kind == Kind::Refresh => {
                match self.take_over(record, lease, seen).await? {
                    Some(next) => next,
                    None => return Ok(None),
                }
            }
            // Or it was attempted for another grant: since then its token has expired, say.
            (LeaseStatus::Unsent, Some(lease)) if lease.digest == digest => record.retaken(by, now),
            _ => record.leased(by, digest, now),
        };
        self.write_lease(next, status == LeaseStatus::Unsent, seen, kind)
            .await
    }

    /// That the token may be spent is written with the lease for the next sending, as far as that is permitted.
    async fn lease_doubtful(
        &mut self,
        record: &Record,
        unclear: UnclearRequest,
        by: Candidate,
        seen: &Seen,
    ) -> Result<Option<Leased>, Error> {
        let now = self.store_now(seen.clock);
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

    /// This instance, as it writes itself into its next lease.
    pub(super) fn candidate(&self) -> Result<Candidate, Error> {
        let session = self.session();
        let random = crate::token::random()
            .map_err(|error| store_failed(StoreError::with_source("no random numbers", error)))?;
        Ok(Candidate {
            owner: session.owner,
            nonce: nonce(random),
            lease_duration: session.settings().lease_duration,
        })
    }

    /// Whether the holder of a lease that seems live is proven dead, or has had all the time it is due
    /// by our own clock, whatever the store's says.
    pub(super) async fn is_abandoned(&mut self, lease: &Lease) -> bool {
        let session = self.flight.session();
        let now = session.now();
        let since = match &self.observed {
            Some(observed) if observed.is_of(lease) => observed.at,
            _ => {
                self.observed = Some(Observed::new(lease, now));
                now
            }
        };
        if now.since(since) >= lease.duration_for(session.settings().lease_duration) {
            return true;
        }
        let store = &session.shared.store;
        store.holder_is_dead(&session.key, lease).await
    }

    /// The token may be spent. What the profile permits is prepared; `None` if that was to end the
    /// session, or to wait.
    async fn take_over(
        &mut self,
        read: &Record,
        lease: &Lease,
        seen: &Seen,
    ) -> Result<Option<Record>, Error> {
        // The remark about the answer to our own request may not be stored.
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

    /// Writes what this instance knows of the token and may not act on: the others have to know it, and need not wait for it.
    async fn share_doubt(&self, noted: &Record, lease: &Lease, seen: &Seen) -> Result<(), Error> {
        if let Some(released) = noted.released(lease.holder(), None) {
            self.swap(seen.revision(), &released)
                .await
                .map_err(store_failed)?;
        }
        Ok(())
    }

    pub(super) fn permit(&self, lease: &Lease) -> Permit {
        let session = self.session();
        let can_sign_in = session.shared.endpoint.can_sign_in();
        lease.permits(session.settings().server.resend, can_sign_in)
    }

    /// The store's time, as far as a lease is concerned that has been watched: a store whose clock was
    /// stepped back does not make it younger than it was seen to be.
    fn store_now_for(&self, lease: &Lease, clock: StoreClock) -> StoreTime {
        let now = self.store_now(clock);
        match &self.observed {
            Some(observed) if observed.is_of(lease) => {
                now.max(lease.since.after(self.session().now().since(observed.at)))
            }
            _ => now,
        }
    }

    pub(super) async fn end_unknown(
        &self,
        record: &Record,
        revision: Option<Revision>,
    ) -> Result<(), Error> {
        let digest = record.digest();
        self.end(record, revision, RecordState::OutcomeUnknown { digest })
            .await
            .map(|_: Next| ())
    }

    /// Writes our lease. A swap without an answer may have been applied: its number is remembered, and a later look
    /// that shows it finds the lease ours. One that was lost was not written.
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
        let number = holder.number;
        let session = self.flight.session();
        // By the store's clock it is older by this than by ours, to those who wait for it to go stale.
        let now = session.now().before(seen.clock.lag());
        let since = match self.attempt {
            Some((attempted, since)) if continues || attempted == number => since,
            _ => now,
        };
        self.attempt = Some((number, since));
        let attempt = ClockReading::new(session.now(), session.wall());
        session.lock().attempted(holder, attempt);
        match user_code::swap_timed(session, seen.revision(), &next).await {
            Ok((Swap::Swapped(revision), clock)) => {
                let (ahead, behind) = match clock {
                    Some(clock) => seen.clock.is_off_by(clock),
                    None => (Duration::ZERO, Duration::ZERO),
                };
                let seen = Seen {
                    entry: Some((next.clone(), revision)),
                    clock: clock.unwrap_or(seen.clock),
                };
                if ahead.max(behind) > CLOCK_TOLERANCE {
                    // To the others it began at another time than it did. It is written again before anything is sent.
                    self.answered = Some(seen);
                    self.clock_jumps += 1;
                    let jumps = "the store's clock is stepped again and again";
                    return match self.clock_jumps < CLOCK_JUMPS_LIMIT {
                        true => Ok(None),
                        false => Err(store_failed(StoreError::new(jumps))),
                    };
                }
                self.clock_jumps = 0;
                Leased::new(next, seen, holder, kind, since.before(ahead)).map(Some)
            }
            Ok((Swap::Lost(entry), clock)) => {
                session.lock().forget_lease(holder);
                self.answered = clock.map(|clock| Seen { entry, clock });
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(key = %self.session().key, %error, "a lease may or may not be stored");
                Err(store_failed(error))
            }
        }
    }
}

/// Half of the bits that were drawn.
fn nonce(random: u128) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half is as random"
    )]
    let nonce = random as u64;
    nonce
}
