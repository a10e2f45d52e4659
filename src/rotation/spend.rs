//! Sends a token that was claimed, and decides what an answer that is no pair means for it.

use std::sync::Arc;
use std::time::Duration;

use super::behind::store_next;
use super::calls::{STORE_PAUSE, STORE_TRIES, latest_store_now, load_patiently};
use super::claim::Claimed;
use super::{Kind, Rotation, Seen, store_failed};
use crate::clock::{LATE, Timestamp};
use crate::endpoint::{EndpointError, Grant, Issued, SendWindow};
use crate::error::{EndReason, Error};
use crate::record::State;
use crate::record::claim::{Again, Claimant, Permit, Standing};
use crate::served::Token;
use crate::store::{StoreError, Swap};
use crate::token::RefreshToken;

/// What the endpoint may need beyond its own timeout until the future it was asked for resolves.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);

/// How often a rotation claims its token anew because it was stopped before it could send it. On a busy machine a
/// server that is not reached looks the same.
const WOKEN_AT_MOST: u32 = 3;

/// A pair as it was read, with the times of its request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) issued: Issued,
    pub(super) sent_at: Timestamp,
    pub(super) took: Duration,
}

impl Rotation {
    /// Sends what was claimed until there is an answer to act on; `None` to look again.
    pub(super) async fn exchange(&mut self, mut claimed: Claimed) -> Result<Option<Token>, Error> {
        loop {
            let error = match self.send(&claimed).await {
                None => {
                    self.release(&claimed).await;
                    return Ok(None);
                }
                Some(Ok(answer)) => return self.land(claimed, answer).await,
                Some(Err(error)) => error,
            };
            tracing::debug!(key = %self.session().key, %error, "an exchange brought no pair");
            match error {
                EndpointError::Rejected { .. } if claimed.kind == Kind::Refresh => {
                    return self.refused(&claimed, error).await;
                }
                // Refused credentials are told and not tried again by themselves: accounts get locked.
                EndpointError::Rejected { code, message } => {
                    self.release(&claimed).await;
                    let said = message.map_or_else(String::new, |message| format!(": {message}"));
                    let refused = format!("the sign-in was refused: {code}{said}");
                    return Err(endpoint_failed(EndpointError::misconfigured(refused)));
                }
                EndpointError::Unknown { .. } => match self.again(claimed).await? {
                    Some(next) => claimed = next,
                    None => return Ok(None),
                },
                error => {
                    self.release(&claimed).await;
                    return Err(endpoint_failed(error));
                }
            }
        }
    }

    /// Sends the grant once; `None` to look again, if the claim's window has passed and nothing was sent.
    async fn send(&mut self, claimed: &Claimed) -> Option<Result<Answer, EndpointError>> {
        let session = self.flight.session();
        let shared = &session.shared;
        let mut window_ends = claimed.since + session.settings().send_window();
        let store_now = latest_store_now(session, claimed.seen.clock);
        if claimed.kind == Kind::Refresh
            && let Some(left) = claimed
                .claim()
                .and_then(|claim| claim.replay_left(&session.settings().server, store_now))
        {
            window_ends = window_ends.min(session.now() + left);
        }
        let window = SendWindow::new(shared.clock.clone(), window_ends);
        // Nothing is spent any more on a session that the user has left or replaced.
        if !window.is_open() || session.lock().epoch() != self.flight.epoch() {
            return None;
        }
        let refresh: Option<RefreshToken> = claimed.pair().and_then(|pair| pair.refresh.clone());
        let grant = match (claimed.kind, &refresh) {
            (Kind::Refresh, Some(token)) => Grant::Refresh {
                token,
                window: &window,
            },
            _ => Grant::SignIn { window: &window },
        };
        // From here on the claim is not one under which nothing was sent.
        session.lock().sending();
        let sent_at = session.now();
        let timeout = session.settings().endpoint_timeout;
        let limit = timeout + TIMEOUT_SLACK;
        let result = shared.endpoint.exchange(grant, limit).await;
        let took = session.now().since(sent_at);
        // It gave up when its time had been over for a while: the process, or the machine, did not run meanwhile.
        let is_late = took >= timeout + LATE && self.woken < WOKEN_AT_MOST;
        if is_late && matches!(result, Err(EndpointError::NotSent { .. })) {
            self.woken += 1;
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

    /// No answer was read. The claim says so, and whatever the profile permits at once is prepared.
    async fn again(&mut self, mut claimed: Claimed) -> Result<Option<Claimed>, Error> {
        if !self.uses_claims() {
            // Nothing kept the record from changing meanwhile, be it to what was on its way there.
            store_next(self.session()).await?;
            claimed.seen = load_patiently(self.session()).await?;
            match claimed.seen.record() {
                Some(record) if record.digest() == claimed.record.digest() => {
                    claimed.record = record.clone();
                }
                None if claimed.kind == Kind::SignIn => {}
                _ => return Ok(None),
            }
        }
        let mut record = claimed.record;
        if record.claim.is_none() {
            let session = self.session();
            let now = self.store_now(claimed.seen.clock);
            // What it says of the token is true since it was sent.
            let since = now.before(session.now().since(claimed.since));
            // After a sign-in, nothing is known against the token that the record holds.
            let digest = match claimed.kind {
                Kind::Refresh => record.digest(),
                Kind::SignIn => session.key.digest(),
            };
            let by = Claimant {
                owner: claimed.holder.owner,
                nonce: claimed.holder.nonce,
                patience: session.settings().quarantine,
            };
            record = record.claimed(by, digest, since);
        }
        let doubted = record.doubted(claimed.holder);
        let revision = match self.swap(claimed.seen.revision(), &doubted).await {
            Ok(Swap::Swapped(revision)) => revision,
            Ok(Swap::Lost(_)) => return Ok(None),
            // The claim stands without the remark; whoever finds it stale is as careful.
            Err(_) if self.uses_claims() => return Ok(None),
            // There is none: to look again would be to send again, at once and without end.
            Err(error) => return Err(store_failed(error)),
        };
        let Some(claim) = doubted.claim.clone() else {
            return Ok(None);
        };
        let seen = Seen {
            entry: Some((doubted.clone(), revision)),
            clock: claimed.seen.clock,
        };
        match self.permit(&claim, seen.clock) {
            Permit::Send(Again::Replay) => {
                let next =
                    doubted.taken_over(self.claimant()?, Again::Replay, self.store_now(seen.clock));
                self.write_claim(next, false, &seen, claimed.kind).await
            }
            // A sign-in that may have worked harms nobody if it is done again.
            Permit::SignIn if claimed.kind == Kind::SignIn => {
                self.swap(Some(revision), &doubted.ended(doubted.state))
                    .await?;
                let unread = EndpointError::unknown("the answer to a sign-in was not read");
                Err(endpoint_failed(unread))
            }
            Permit::SignIn | Permit::Nothing => {
                self.end_unknown(&doubted, Some(revision)).await?;
                Ok(None)
            }
            // The claim stays, and is waited for like anybody's until it is stale.
            Permit::Send(Again::LastResort) | Permit::Wait(_) => Ok(None),
        }
    }

    /// The server does not accept the token: nobody may spend it again, unless somebody has a newer one.
    async fn refused(
        &mut self,
        claimed: &Claimed,
        error: EndpointError,
    ) -> Result<Option<Token>, Error> {
        let ours = claimed.record.digest();
        // Or it would be taken for one that somebody has replaced.
        if !self.uses_claims() {
            store_next(self.session()).await?;
        }
        loop {
            let seen = load_patiently(self.session()).await?;
            let Some(record) = seen.record() else {
                return Ok(None);
            };
            if record.digest() != ours || record.state != State::Active {
                return Ok(None);
            }
            let theirs = record
                .claim
                .as_ref()
                .filter(|claim| !claim.is_of(claimed.holder));
            if let Some(claim) = theirs.filter(|claim| claim.digest == ours) {
                let now = self.store_now(seen.clock);
                let quarantine = self.session().settings().quarantine;
                if let Standing::Live { stale_in } = record.standing(&[], now, quarantine)
                    && !self.is_given_up(&claim.clone()).await
                {
                    self.wait_for_change(seen.revision(), stale_in).await?;
                    continue;
                }
            }
            if self.land_spare(claimed, &seen).await? {
                return Ok(None);
            }
            if !self.uses_claims() && self.session().usable().is_some() {
                // Others spend these tokens without telling us, so this says nothing of the session.
                return Err(endpoint_failed(error));
            }
            let ended = record.ended(State::Rejected { digest: ours });
            match self.swap(seen.revision(), &ended).await {
                Ok(Swap::Lost(_)) => {}
                Ok(Swap::Swapped(_)) if self.session().shared.endpoint.can_sign_in() => {
                    return Ok(None);
                }
                Ok(Swap::Swapped(_)) => {
                    let ended = self
                        .session()
                        .end_seen(EndReason::Rejected, self.flight.epoch());
                    return ended.map_or(Ok(None), Err);
                }
                Err(error) => return Err(store_failed(error)),
            }
        }
    }

    /// Gives a claim up whose token is known to be unspent, or that was doubtful before.
    async fn release(&self, claimed: &Claimed) {
        if claimed.claim().is_none() {
            return;
        }
        let mut record = claimed.record.clone();
        let mut revision = claimed.seen.revision();
        for tried in 0..STORE_TRIES {
            let Some(next) = record.released(claimed.holder) else {
                self.session().lock().settle(claimed.holder);
                return;
            };
            match self.swap(revision, &next).await {
                Ok(Swap::Swapped(_)) => {
                    self.session().lock().settle(claimed.holder);
                    return;
                }
                Ok(Swap::Lost(Some((newer, newest)))) => (record, revision) = (newer, Some(newest)),
                Ok(Swap::Lost(None)) => return,
                Err(_) => tokio::time::sleep(STORE_PAUSE * (tried + 1)).await,
            }
        }
        // Nothing was sent under it, so the next rotation may find it ours.
        self.session().lock().attempted(claimed.holder);
        tracing::warn!(key = %self.session().key, "a claim could not be released");
    }
}

fn endpoint_failed(source: EndpointError) -> Error {
    Error::Endpoint {
        source: Arc::new(source),
        retry_after: Duration::ZERO,
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        store_failed(error)
    }
}
