//! Handles an answer that does not say whether the token is spent: a page, an answer of a gateway, or none at all.
//!
//! The lease stays in the record and becomes doubtful. Its holder sends the same token again after a pause, as far as
//! the server's profile permits that. This module never takes an unclear answer for a rejection: only the server's
//! own word ends a session, and a session that was given up too early costs the user a new sign-in.

use std::sync::Arc;
use std::time::Duration;

use super::failure::{cause, endpoint_failed};
use super::lease::Leased;
use super::persist::store_next;
use super::{Kind, Rotation, STORE_TRIES, Seen};
use crate::endpoint::EndpointError;
use crate::error::Error;
use crate::record::lease::{Candidate, DoubtfulBy, Permit, permits};
use crate::record::{Record, RecordState};
use crate::snapshot::Token;
use crate::state::{Failure, Timer, UnclearRequest};
use crate::store::Swap;

/// Stands for an expiry that is not known.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

impl Rotation {
    /// Writes into the lease that its token may be spent, with a pause in which no instance sends. The next step
    /// loads the record.
    pub(super) async fn unclear(
        &mut self,
        mut leased: Leased,
        error: EndpointError,
    ) -> Result<Option<Token>, Error> {
        let by = match &error {
            EndpointError::Page { .. } | EndpointError::Unavailable { .. } => {
                DoubtfulBy::Unavailable
            }
            _ => DoubtfulBy::Silence,
        };
        // A machine may have been copied while the request was out; the copy reads a broken connection although the
        // request goes on elsewhere. A process that was merely suspended cannot tell itself from such a copy, so both
        // treat the lease as another instance's. A page, by contrast, was read by the process that it was meant for.
        let moment = self.session().moment();
        let was_awake = self.sent.is_none_or(|sent| sent.was_awake(moment));
        if by == DoubtfulBy::Silence && !was_awake && self.uses_leases() {
            let failed = endpoint_failed(error, leased.kind);
            self.fail(failed, leased.record.failures());
            return Ok(None);
        }
        // This instance remembers the unclear request first: the request is over even if the store fails.
        self.remember_unclear(&leased, by);
        let failed = endpoint_failed(error, leased.kind);
        if !self.uses_leases() {
            let is_ours = self.lease_after_sending(&mut leased, by).await;
            if !matches!(is_ours, Ok(true)) {
                self.fail(failed, leased.record.failures());
                return is_ours.map(|_| None);
            }
            self.remember_unclear(&leased, by);
        }
        let mut cause = cause(&failed, leased.record.failures(), self.session().settings());
        // A sign-in, or the news that nothing more can be tried, does not depend on the fate of the token and needs
        // no pause.
        let can_sign_in = self.session().can_sign_in();
        let resend = self.session().settings().server.resend;
        cause.has_no_pause = permits(Some(by), resend, can_sign_in) != Permit::Send;
        let failure = self.fail_with(failed, cause);
        let lease_duration = self.session().settings().lease_duration;
        for _ in 0..STORE_TRIES {
            let now = self.session().store_now(leased.seen.clock);
            let Some(pause) = Self::not_before(&failure, now) else {
                break;
            };
            let doubted = leased
                .record
                .doubted(leased.holder, by, pause, lease_duration, now);
            match self.session().swap(leased.seen.revision(), &doubted).await {
                Ok(Swap::Swapped(revision)) => {
                    let entry = Some((doubted.clone(), revision));
                    let seen = Seen::new(entry, leased.seen.clock);
                    self.apply_permit(&doubted, &seen).await?;
                    break;
                }
                // The lease is no longer this instance's, but the token is as doubtful as before.
                Ok(Swap::Lost(_)) => self.session().lock().lost(leased.holder),
                // The lease stays in the record without the doubt. An instance that finds it stale is as careful.
                Err(_) if self.uses_leases() => break,
                // There is no lease in the record: to load the record again would be to send the token again.
                Err(error) => return Err(error.into()),
            }
            // Without coordination, another instance may have written at the same time what became of the token.
            if self.uses_leases() || !self.lease_after_sending(&mut leased, by).await? {
                break;
            }
            self.remember_unclear(&leased, by);
        }
        Ok(None)
    }

    /// Remembers that the request under this lease is over and its answer unclear.
    fn remember_unclear(&self, leased: &Leased, by: DoubtfulBy) {
        let Some(sent) = self.sent else { return };
        let unclear = UnclearRequest {
            holder: leased.holder,
            digest: leased.record.digest(),
            by,
            sent,
            is_held: true,
        };
        let mut state = self.session().lock();
        // After a logout or a sign-in, the state belongs to the rotations of another session.
        if state.epoch == self.flight.epoch {
            state.sent(unclear);
        }
    }

    /// Does at once what the profile asks for instead of sending the token again.
    async fn apply_permit(&mut self, doubted: &Record, seen: &Seen) -> Result<(), Error> {
        let Some(lease) = &doubted.lease else {
            return Ok(());
        };
        match self.permit(lease) {
            Permit::SignIn => self.end_unknown(doubted, seen.revision()).await,
            // The lease is given up, so that other instances find out at once that nothing more can be tried.
            Permit::Nothing => {
                if let Some(released) = doubted.released(lease.holder(), None) {
                    self.session().swap(seen.revision(), &released).await?;
                    self.session().lock().lost(lease.holder());
                }
                Ok(())
            }
            Permit::Send => Ok(()),
        }
    }

    /// The token may be spent and may not be sent again: the session lasts as long as its access token.
    pub(super) async fn serve_until_expiry(
        &mut self,
        record: &Record,
        seen: &Seen,
    ) -> Result<(), Error> {
        let session = self.session();
        let now = session.now();
        let until = {
            let state = session.lock();
            let is_usable = state.usable(now).is_some();
            let held = state.held().filter(|_| is_usable);
            // An access token without a known expiry is served until an API rejects it.
            held.map(|held| held.schedule.expires_at.unwrap_or(now + FAR))
        };
        let Some(until) = until else {
            return self.end_unknown(record, seen.revision()).await;
        };
        let unsure = EndpointError::unknown(
            "the refresh token may be spent, and the server's profile does not permit sending it again",
        );
        let error = endpoint_failed(unsure, Kind::Refresh);
        let failure = Failure {
            is_final: true,
            ..Failure::new(error, until.since(now), now, record.failures())
        };
        self.flight.learn_of_failure(&failure, Timer::AfterPause);
        // The rotation wakes at every poll interval, because an API may reject the token meanwhile.
        let poll_at = now + session.settings().poll_interval;
        let failure = Failure {
            until: until.min(poll_at),
            ..failure
        };
        self.wait_for_pause_end(failure, Some(seen.revision()))
            .await
    }

    /// Without coordination no instance leases a token before sending it; this instance still writes that the token
    /// may be spent. Returns whether the lease that says so is this instance's. It is not if the record holds another
    /// token, an end, or another instance's lease on this token.
    async fn lease_after_sending(
        &mut self,
        leased: &mut Leased,
        by: DoubtfulBy,
    ) -> Result<bool, Error> {
        // The record may have changed meanwhile, also by a pair that was waiting to be stored.
        store_next(self.session()).await?;
        for _ in 0..STORE_TRIES {
            leased.seen = self.session().load_patiently().await?;
            match leased.seen.record() {
                Some(record)
                    if record.state == RecordState::Active
                        && record.digest() == leased.record.digest() =>
                {
                    leased.record = leased.seen.shared(record);
                }
                // The session has ended, or the record holds another token.
                _ => return Ok(false),
            }
            if leased.lease().is_some() {
                return Ok(true);
            }
            if !leased.record.is_leased() {
                self.lease_backdated(leased);
                return Ok(true);
            }
            let digest = leased.record.digest();
            let theirs = leased.record.lease.as_ref();
            if theirs.is_none_or(|lease| lease.digest != digest) {
                // Another instance is signing in under this lease, which stays as it is.
                return Ok(false);
            }
            let noted = leased.record.noted(by);
            let swap = self.session().swap(leased.seen.revision(), &noted).await;
            if let Swap::Swapped(_) = swap? {
                break;
            }
        }
        Ok(false)
    }

    /// Leases a token that was sent without a lease.
    fn lease_backdated(&self, leased: &mut Leased) {
        let session = self.session();
        let now = self.session().store_now(leased.seen.clock);
        // The lease begins when the token was sent, because its doubt is true since then.
        let since = now.before(session.now().since(leased.since));
        let by = Candidate {
            owner: leased.holder.owner,
            nonce: leased.holder.nonce,
            lease_duration: session.settings().lease_duration,
        };
        let digest = leased.record.digest();
        leased.record = Arc::new(leased.record.leased(by, digest, since));
        if let Some(lease) = &leased.record.lease {
            leased.holder = lease.holder();
        }
    }

    /// Gives up the lease of an unclear request when the rotation ends, so that another instance need not wait for it
    /// to go stale.
    pub(super) async fn release_unclear(&self) {
        let session = self.session();
        let unclear = {
            let state = session.lock();
            let unclear = state.unclear().filter(|unclear| unclear.is_held);
            unclear.filter(|_| state.epoch == self.flight.epoch)
        };
        let Some(UnclearRequest { holder, by, .. }) = unclear else {
            return;
        };
        let Ok(seen) = session.load_patiently().await else {
            return;
        };
        let now = session.now();
        let pause = session.lock().pause(now);
        let pause = pause
            .and_then(|failure| Self::not_before(&failure, self.session().store_now(seen.clock)));
        let next = seen.record().cloned().and_then(|mut record| {
            // The store may not have taken the doubt; the token may be spent all the same.
            if let Some(lease) = record.lease.as_mut().filter(|lease| lease.is_of(holder)) {
                lease.doubt(by);
            }
            record.released(holder, pause)
        });
        let is_gone = match next {
            Some(next) => matches!(
                self.session().swap(seen.revision(), &next).await,
                Ok(Swap::Swapped(_))
            ),
            None => true,
        };
        if is_gone {
            session.lock().lost(holder);
        }
    }
}
