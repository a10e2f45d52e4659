//! Claims a token, sends it, and decides what an answer that is no pair means for it.

use std::sync::Arc;
use std::time::Duration;

use super::calls::{STORE_PAUSE, STORE_TRIES, load_patiently};
use super::{Kind, Next, Rotation, Seen, StoreClock, guarded, lineage, store_failed};
use crate::clock::Timestamp;
use crate::endpoint::{EndpointError, Grant, Issued, SendWindow};
use crate::error::{EndReason, Error};
use crate::record::claim::{Again, Claim, Holder, Permit, Standing};
use crate::record::{Record, State};
use crate::served::Token;
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::token::{Lineage, RefreshToken, TokenPair};

/// What the endpoint may need beyond its own timeout until the future it was asked for resolves.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);

/// A token that may be sent, and the record that says so.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) record: Record,
    /// The same, as the store has it.
    pub(super) seen: Seen,
    /// Where there are no claims, the number one would have had.
    pub(super) holder: Holder,
    pub(super) kind: Kind,
    /// The lineage that the new pair will belong to.
    pub(super) lineage: Lineage,
    /// The send window counts from here.
    pub(super) since: Timestamp,
}

impl Claimed {
    fn new(
        record: Record,
        seen: Seen,
        holder: Holder,
        kind: Kind,
        since: Timestamp,
    ) -> Result<Self, Error> {
        // Drawn before anything is sent, because it can fail.
        let lineage = match kind {
            Kind::Refresh => record.lineage,
            Kind::SignIn => lineage()?,
        };
        Ok(Self {
            record,
            seen,
            holder,
            kind,
            lineage,
            since,
        })
    }

    pub(super) fn pair(&self) -> Option<&TokenPair> {
        self.record.pair.as_ref().map(|stored| &stored.pair)
    }

    fn claim(&self) -> Option<&Claim> {
        self.record
            .claim
            .as_ref()
            .filter(|claim| claim.is_of(self.holder))
    }
}

/// A pair as it was read, with the times of its request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) issued: Issued,
    pub(super) sent_at: Timestamp,
    pub(super) took: Duration,
}

impl Rotation {
    /// Claims the token, or waits for whoever has; `None` to look again.
    pub(super) async fn claim(
        &mut self,
        seen: &Seen,
        kind: Kind,
    ) -> Result<Option<Claimed>, Error> {
        let Some(record) = seen.record() else {
            return Ok(None);
        };
        let session = self.session();
        let (owner, quarantine) = (session.owner, session.settings().quarantine);
        let now = self.store_now(seen.clock);
        // Without coordination nobody claims; but a token that may be spent is remembered, as a claim.
        if !self.uses_claims() && record.claim.is_none() {
            let holder = Holder {
                owner,
                number: record.next_number,
            };
            return Claimed::new(record.clone(), seen.clone(), holder, kind, session.now())
                .map(Some);
        }
        let standing = record.standing(owner, session.lock().unsent(), now, quarantine);
        let next = match (standing, record.claim.as_ref()) {
            (Standing::Live { stale_in }, Some(claim)) => {
                if !self.is_given_up(claim).await {
                    let limit = stale_in.max(Duration::from_millis(1));
                    self.wait_for_change(seen.revision(), limit).await?;
                    return Ok(None);
                }
                match self.take_over(record, claim, seen).await? {
                    Some(next) => next,
                    None => return Ok(None),
                }
            }
            (Standing::Stale, Some(claim)) if kind == Kind::Refresh => {
                match self.take_over(record, claim, seen).await? {
                    Some(next) => next,
                    None => return Ok(None),
                }
            }
            // Attempted for a replay, whose time has run out since.
            (Standing::Ours, Some(claim))
                if kind == Kind::Refresh
                    && claim
                        .replay_left(&session.settings().server, now)
                        .is_some_and(|left| left.is_zero()) =>
            {
                match self.take_over(record, claim, seen).await? {
                    Some(next) => next,
                    None => return Ok(None),
                }
            }
            (Standing::Ours, Some(_)) => record.retaken(owner, now),
            _ => {
                let digest = match kind {
                    Kind::Refresh => record.digest(),
                    Kind::SignIn => session.key.digest(),
                };
                record.claimed(owner, digest, now)
            }
        };
        self.write_claim(next, standing == Standing::Ours, seen, kind)
            .await
    }

    /// Whether the holder of a claim that seems live is proven dead, or has had all the time it is due
    /// by our own clock, whatever the store's says.
    async fn is_given_up(&mut self, claim: &Claim) -> bool {
        let session = self.flight.session();
        let holder = Holder {
            owner: claim.owner,
            number: claim.number,
        };
        let now = session.now();
        let since = match self.observed {
            Some((observed, since)) if observed == holder => since,
            _ => {
                self.observed = Some((holder, now));
                now
            }
        };
        if now.since(since) >= claim.patience(session.settings().quarantine) {
            return true;
        }
        let asking = async {
            session
                .shared
                .store
                .holder_is_dead(&session.key, claim)
                .await
        };
        guarded(session.settings().store_timeout, asking).await == Ok(true)
    }

    /// The token may be spent. What the profile permits is prepared; `None` if that was to end the
    /// session, or to wait.
    async fn take_over(
        &self,
        record: &Record,
        claim: &Claim,
        seen: &Seen,
    ) -> Result<Option<Record>, Error> {
        match self.permit(claim, seen.clock) {
            Permit::Send(again) => {
                let now = self.store_now_for(claim, seen.clock);
                Ok(Some(record.taken_over(self.session().owner, again, now)))
            }
            Permit::Wait(left) => {
                self.wait_for_change(seen.revision(), left).await?;
                Ok(None)
            }
            Permit::SignIn | Permit::Nothing => {
                self.end_unknown(record, seen.revision()).await?;
                Ok(None)
            }
        }
    }

    fn permit(&self, claim: &Claim, clock: StoreClock) -> Permit {
        let session = self.session();
        let settings = session.settings();
        let can_sign_in = session.shared.endpoint.can_sign_in();
        claim.permits(
            &settings.server,
            can_sign_in,
            settings.quarantine,
            self.store_now_for(claim, clock),
        )
    }

    /// The store's time, as far as a claim is concerned that has been watched: a store whose clock was
    /// stepped back does not make it younger than it was seen to be.
    fn store_now_for(&self, claim: &Claim, clock: StoreClock) -> StoreTime {
        let now = self.store_now(clock);
        match self.observed {
            Some((holder, since)) if claim.is_of(holder) => {
                now.max(claim.since.after(self.session().now().since(since)))
            }
            _ => now,
        }
    }

    async fn end_unknown(&self, record: &Record, revision: Option<Revision>) -> Result<(), Error> {
        let digest = record.digest();
        self.end(record, revision, State::OutcomeUnknown { digest })
            .await
            .map(|_: Next| ())
    }

    /// Writes our claim. A swap that fails may have landed: its number is remembered, and a later look
    /// that shows it finds the claim ours.
    async fn write_claim(
        &mut self,
        next: Record,
        continues: bool,
        seen: &Seen,
        kind: Kind,
    ) -> Result<Option<Claimed>, Error> {
        let Some(number) = next.claim.as_ref().map(|claim| claim.number) else {
            return Ok(None);
        };
        let session = self.flight.session();
        let now = session.now();
        let since = match self.attempt {
            Some((attempted, since)) if continues || attempted == number => since,
            _ => now,
        };
        self.attempt = Some((number, since));
        session.lock().attempted(number);
        match self.swap(seen.revision(), &next).await {
            Ok(Swap::Swapped(revision)) => {
                let holder = Holder {
                    owner: self.session().owner,
                    number,
                };
                let seen = Seen {
                    entry: Some((next.clone(), revision)),
                    clock: seen.clock,
                };
                Claimed::new(next, seen, holder, kind, since).map(Some)
            }
            Ok(Swap::Lost(_)) => Ok(None),
            Err(error) => {
                tracing::warn!(key = %self.session().key, %error, "a claim may or may not be stored");
                Err(store_failed(error))
            }
        }
    }

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

    /// Sends the grant once; `None` if the claim's window has passed and nothing was sent.
    async fn send(&mut self, claimed: &Claimed) -> Option<Result<Answer, EndpointError>> {
        let session = self.flight.session();
        let shared = &session.shared;
        let mut window_ends = claimed.since + session.settings().send_window();
        let store_now = self.store_now(claimed.seen.clock);
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
        let limit = session.settings().endpoint_timeout + TIMEOUT_SLACK;
        let exchanging = async { shared.endpoint.exchange(grant).await };
        let result = match guarded(limit, exchanging).await {
            Ok(result) => result,
            Err(trouble) => Err(EndpointError::unknown(trouble)),
        };
        let took = session.now().since(sent_at);
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
    async fn again(&mut self, claimed: Claimed) -> Result<Option<Claimed>, Error> {
        let mut record = claimed.record;
        if record.claim.is_none() {
            let now = self.store_now(claimed.seen.clock);
            record = record.claimed(claimed.holder.owner, record.digest(), now);
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
                    doubted.taken_over(claim.owner, Again::Replay, self.store_now(seen.clock));
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
                if let Standing::Live { stale_in } =
                    record.standing(self.session().owner, &[], now, quarantine)
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
        let number = claimed.holder.number;
        let mut record = claimed.record.clone();
        let mut revision = claimed.seen.revision();
        for tried in 0..STORE_TRIES {
            let Some(next) = record.released(claimed.holder) else {
                self.session().lock().settle(number);
                return;
            };
            match self.swap(revision, &next).await {
                Ok(Swap::Swapped(_)) => {
                    self.session().lock().settle(number);
                    return;
                }
                Ok(Swap::Lost(Some((newer, newest)))) => (record, revision) = (newer, Some(newest)),
                Ok(Swap::Lost(None)) => return,
                Err(_) => tokio::time::sleep(STORE_PAUSE * (tried + 1)).await,
            }
        }
        // Nothing was sent under it, so the next rotation may find it ours.
        self.session().lock().attempted(number);
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
