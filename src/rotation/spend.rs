//! Sends a leased token, and handles an answer that brings no pair.
//!
//! A token is never sent outside the send window of its lease: after the window, another instance may take the lease
//! over and send the same token.

use std::sync::Arc;
use std::time::Duration;

use super::failure::endpoint_failed;
use super::lease::Leased;
use super::persist::store_next;
use super::{Kind, Rotation, STORE_PAUSE, STORE_TRIES};
use crate::clock::{LATE, Timestamp};
use crate::endpoint::{EndpointError, Grant, Issued, SendWindow};
use crate::error::{Causes, Error};
use crate::record::lease::{LeaseStatus, Own};
use crate::record::reconcile::{Reconciled, reconcile};
use crate::record::{RecordState, cut};
use crate::snapshot::Token;
use crate::state::{ClockReading, Failure, HeldPair};
use crate::store::{StoreError, Swap};
use crate::token::RefreshToken;

/// The time that the endpoint may need beyond its own timeout until its future resolves.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);

/// How often a rotation leases its token again because its process was suspended before the token was sent. The
/// number is limited because on a busy machine an unreachable server looks the same.
const SUSPENDED_LIMIT: u32 = 3;

/// How often in a row the send window may have passed when a lease is written, before the rotation reports a failure
/// of the store.
const MISSED_LIMIT: u32 = 3;

/// A pair as it was read from the server, with the times of its request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) issued: Issued,
    pub(super) sent_at: Timestamp,
    pub(super) took: Duration,
}

impl Rotation {
    /// Sends the leased grant and acts on the answer. Returns `None` if the record has to be loaded again.
    pub(super) async fn exchange(&mut self, leased: Leased) -> Result<Option<Token>, Error> {
        let sent = self.send(&leased).await;
        // The place is another session's from here on: to store a pair or a failure is not the endpoint's work.
        self.leave();
        let error = match sent {
            None => {
                self.release(&leased, None).await;
                return self.window_missed();
            }
            Some(Ok(answer)) => return self.commit(leased, answer).await,
            Some(Err(error)) => error,
        };
        self.missed = 0;
        tracing::debug!(key = %self.session().key, error = %Causes(&error), "a request to the token endpoint brought no new pair");
        if matches!(error, EndpointError::Rejected { .. }) && leased.kind == Kind::Refresh {
            return Box::pin(self.refused(&leased, error)).await;
        }
        if error.is_unclear() && leased.kind == Kind::Refresh {
            return Box::pin(self.unclear(leased, error)).await;
        }
        let failed = endpoint_failed(error, leased.kind);
        let failure = self.fail(failed, leased.record.failures());
        self.release(&leased, Some(&failure)).await;
        // `current_pause` decides after the next load whether the rotation waits, and for how long.
        Ok(None)
    }

    /// The send window had passed and nothing was sent. A store that is this slow several times in a row is reported
    /// as failed.
    fn window_missed(&mut self) -> Result<Option<Token>, Error> {
        self.missed += 1;
        if self.missed < MISSED_LIMIT {
            return Ok(None);
        }
        self.missed = 0;
        let slow = "the store is too slow: the time to send a token had passed when its lease was written, 3 times in a \
             row; make the store faster, or raise the lease duration";
        Err(StoreError::new(slow).into())
    }

    /// Sends the grant once. Returns `None` if nothing was sent because the send window had passed or the session has
    /// changed.
    async fn send(&mut self, leased: &Leased) -> Option<Result<Answer, EndpointError>> {
        let session = &self.flight.session;
        let shared = &session.shared;
        let window_ends = leased.since + session.settings().send_window();
        let window = SendWindow::new(shared.clock.clone(), window_ends);
        // After a logout or a sign-in, no token of the former session is spent.
        if !window.is_open() || session.lock().epoch != self.flight.epoch {
            return None;
        }
        let refresh: Option<RefreshToken> = leased.pair().and_then(|pair| pair.refresh.clone());
        let grant = match (leased.kind, &refresh) {
            (Kind::Refresh, Some(token)) => Grant::Refresh {
                token,
                window: &window,
            },
            _ => Grant::SignIn { window: &window },
        };
        // From here on the token may be sent, so the lease no longer counts as one without a request.
        session.lock().sending(&grant);
        let moment = session.moment();
        let sent_at = moment.now;
        self.sent = Some(ClockReading::new(moment));
        let timeout = session.settings().endpoint_timeout;
        let limit = timeout + TIMEOUT_SLACK;
        let result = shared.endpoint.exchange(grant, limit).await;
        let took = session.now().since(sent_at);
        // The endpoint gave up long after its timeout: the process, or the machine, was suspended meanwhile.
        let is_late = took >= timeout + LATE && self.suspended < SUSPENDED_LIMIT;
        if is_late && matches!(result, Err(EndpointError::NotSent { .. })) {
            self.suspended += 1;
            return None;
        }
        Some(match result {
            Ok(issued) if issued.is_empty() => Err(EndpointError::unknown(
                "the answer held neither an access nor a refresh token",
            )),
            Ok(issued) => Ok(Answer {
                issued,
                sent_at,
                took,
            }),
            Err(error) => Err(error),
        })
    }

    /// The server rejected the token. The session ends, unless the record has a newer token by now, another instance
    /// is still sending this one, or an unused spare pair can take its place.
    async fn refused(
        &mut self,
        leased: &Leased,
        error: EndpointError,
    ) -> Result<Option<Token>, Error> {
        let ours = leased.record.digest();
        // A pair that is still waiting to be stored is stored first. Otherwise the record would show an older token,
        // and the rejected one would be taken for a token that another instance has replaced.
        // The rotation does not give up here: a new rotation would send the dead token again.
        while let Err(error) = store_next(self.session()).await {
            self.wait_for_store(error).await?;
        }
        loop {
            let seen = match self.session().load_patiently().await {
                Ok(seen) => seen,
                Err(error) => {
                    self.wait_for_store(error).await?;
                    continue;
                }
            };
            let Some(record) = seen.record() else {
                return Ok(None);
            };
            if record.digest() != ours || record.state != RecordState::Active {
                return Ok(None);
            }
            let theirs = record.lease.as_ref();
            let theirs = theirs.filter(|it| !it.is_of(leased.holder) && it.digest == ours);
            if let Some(lease) = theirs {
                let now = self.session().store_now(seen.clock);
                let lease_duration = self.session().settings().lease_duration;
                let status = record.lease_status(Own::default(), now, lease_duration);
                if let LeaseStatus::Live { stale_in } = status
                    && !self.is_abandoned(lease).await
                {
                    self.wait_for_change(seen.revision(), stale_in).await?;
                    continue;
                }
            }
            let held = self.session().lock().held().map(HeldPair::summary);
            if matches!(reconcile(Some(record), held), Reconciled::Forward) {
                // A browser has brought a newer pair while the token was on its way, and the refusal says nothing of that one. The
                // next step writes that pair into the record.
                return Ok(None);
            }
            if self.commit_spare(leased, &seen).await? {
                return Ok(None);
            }
            if !self.uses_leases() && self.session().usable().is_some() {
                // Without coordination other instances spend these tokens too, so a rejection does not end the
                // session while its access token is usable.
                self.release(leased, None).await;
                return Err(endpoint_failed(error, leased.kind));
            }
            let ended = record.ended(RecordState::Rejected {
                digest: ours,
                code: error.code().map(|code| cut(code).to_owned()),
                description: error.description().map(|text| cut(text).to_owned()),
            });
            match self.session().swap(seen.revision(), &ended).await {
                Ok(Swap::Lost(_)) => {}
                Ok(Swap::Swapped(_)) => {
                    if !self.session().can_sign_in()
                        && let Some(reason) = ended.state.end()
                    {
                        self.session().end_seen(reason, self.flight.epoch)?;
                    }
                    return Ok(None);
                }
                // The rotation keeps the verdict until it is stored: after a new load, the dead token would be sent
                // again.
                Err(error) => self.wait_for_store(error).await?,
            }
        }
    }

    /// Gives a lease up whose token was not spent under it; a doubt from before stays in the record. After a failure,
    /// the record also says until when no instance sends.
    pub(super) async fn release(&self, leased: &Leased, failure: Option<&Failure>) {
        if leased.lease().is_none() {
            return;
        }
        let now = self.session().store_now(leased.seen.clock);
        let pause = failure.and_then(|failure| Self::not_before(failure, now));
        let mut record = Arc::clone(&leased.record);
        let mut revision = leased.seen.revision();
        for tried in 0..STORE_TRIES {
            let Some(next) = record.released(leased.holder, pause.clone()) else {
                self.session().lock().forget_lease(leased.holder);
                return;
            };
            match self.session().swap(revision, &next).await {
                Ok(Swap::Swapped(_)) => {
                    self.session().lock().forget_lease(leased.holder);
                    return;
                }
                Ok(Swap::Lost(Some((newer, newest)))) => {
                    (record, revision) = (Arc::new(newer), Some(newest))
                }
                Ok(Swap::Lost(None)) => return,
                Err(_) => tokio::time::sleep(STORE_PAUSE * (tried + 1)).await,
            }
        }
        // Nothing was sent under this lease, so the next rotation of this instance may use it as its own.
        let session = self.session();
        let attempt = ClockReading::new(session.moment());
        session.lock().attempted(leased.holder, attempt);
        tracing::warn!(key = %self.session().key, "a lease could not be released; other instances wait until the lease expires");
    }
}
