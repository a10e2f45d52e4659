//! Stores a pair that the server issued, and publishes it to the callers.
//!
//! A pair that was read from the server is never dropped here, because its predecessor is spent: a store that fails
//! is tried again until the runtime has shut down, or until the manager is no longer used and the lease is stale.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::lease::Leased;
use super::logout::revoke_in_background;
use super::persist::{apply_outcome, call_on_rotated, persist, store_in_background};
use super::spend::Answer;
use super::{Kind, Rotation, Seen};
use crate::clock::{Backoff, Timestamp};
use crate::endpoint::{OldPair, Predecessor};
use crate::error::{Causes, Error};
use crate::record::Origin;
use crate::record::commit::{Commit, Rival};
use crate::session::{Session, Unstored};
use crate::settings::OnStoreFailure;
use crate::snapshot::Token;
use crate::state::{Committed, HeldPair, Progress};
use crate::strategy::OnExpiry;
use crate::token::PairId;

/// The pauses between attempts to store a pair.
pub(super) const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), LONGEST_PAUSE);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many pairs one rotation requests if each access token has expired before it can be used: the process may be
/// suspended more than once.
const ISSUED_LIMIT: u32 = 3;

/// The longest grace period of a server, within which it answers the same refresh token again.
const LONGEST_GRACE: Duration = Duration::from_secs(300);

impl Rotation {
    /// Commits an issued pair. Returns `None` if the record has to be loaded again, because another pair took its
    /// place.
    pub(super) async fn commit(
        &mut self,
        leased: Leased,
        mut answer: Answer,
    ) -> Result<Option<Token>, Error> {
        let session = self.session();
        let first_sent = self.first_sent(&leased, answer.sent_at);
        if let Some(at) = first_sent {
            answer.took += answer.sent_at.since(at);
            answer.sent_at = at;
        }
        let predecessor = leased.pair().filter(|_| leased.kind == Kind::Refresh);
        let predecessor = predecessor.map(|pair| Predecessor {
            pair,
            age: self.age_of_predecessor(&leased, answer.sent_at),
        });
        let wall = session.wall();
        let pair = answer.issued.into_pair(predecessor, answer.took, wall);
        // A seed that the server returns unchanged still stands in a configuration, so it keeps its origin. A token
        // of a new sign-in never stands in a configuration; with the origin of a seed, the record would keep its
        // digest for good.
        let is_echo = pair.digest(&session.key) == leased.record.digest();
        let before = leased.record.pair.as_ref().filter(|_| is_echo);
        let origin = before.map_or(Origin::Endpoint, |stored| stored.origin);
        let highest = session.lock().sign_ins;
        let sign_ins = leased.sign_ins(highest);
        let committed = Committed {
            number: leased.holder.number,
            sign_ins,
            upstream: leased.upstream(),
            origin,
            may_be_repeat: first_sent.is_some(),
            is_sign_in: leased.kind == Kind::SignIn,
            sent_at: answer.sent_at,
        };
        let held = session.holding(pair, leased.pair_id(), committed);
        // A slow server or store does not make one rotation request pairs without end, and a rotation after one that
        // already stalled requests one pair only. A session that ends by itself at expiry takes its pair as it is: to
        // find that pair expired would be to take the session for idle.
        let is_slow = session.lock().stalls() > 0;
        self.issued += 1;
        let is_enough = self.issued == ISSUED_LIMIT;
        let is_last = is_enough || is_slow || held.schedule.on_expiry == OnExpiry::End;
        if held.served.is_some() {
            return self.store(&leased, held, is_last).await;
        }
        // The pair is stored even without an access token, because its refresh token is good. The missing access
        // token is reported afterwards.
        self.store(&leased, held, true).await?;
        let retry_after = Duration::ZERO;
        Err(Error::NoAccessToken { retry_after })
    }

    /// How old the leased pair was when its token was sent.
    fn age_of_predecessor(&self, leased: &Leased, sent_at: Timestamp) -> Duration {
        let session = self.session();
        let held = {
            let state = session.lock();
            let held = state
                .held()
                .map(|held| (held.digest, held.committed.sent_at));
            held.filter(|(digest, _)| *digest == leased.record.digest())
        };
        if let Some((_, since)) = held {
            return sent_at.since(since);
        }
        // The user has begun another session meanwhile, so the record's own time is used.
        let issued_at = leased.record.pair.as_ref().map(|stored| stored.issued_at);
        let now = self.session().store_now(leased.seen.clock);
        let age = issued_at.map_or(Duration::ZERO, |issued_at| now.since(issued_at));
        age.saturating_sub(session.now().since(sent_at))
    }

    /// When the pair may have been issued, if its predecessor had been sent before. A server that answers the same
    /// token again repeats its first answer, with the lifetimes of that moment.
    fn first_sent(&self, leased: &Leased, sent_at: Timestamp) -> Option<Timestamp> {
        let session = self.session();
        let (since, ends_itself) = {
            let state = session.lock();
            let on_expiry = state.held().map(|held| held.schedule.on_expiry);
            (leased.lease()?.doubtful?, on_expiry == Some(OnExpiry::End))
        };
        // In a session that ends by itself at expiry, an expired pair would count as idle.
        let is_repeat = leased.kind == Kind::Refresh && !ends_itself;
        let age = self.session().store_now(leased.seen.clock).since(since);
        let half = leased.pair().and_then(|pair| pair.lifetime.access.total());
        let longest = half.map_or(LONGEST_GRACE, |total| LONGEST_GRACE.min(total / 2));
        let first = session.now().before(age).min(sent_at);
        is_repeat.then(|| first.max(sent_at.before(longest)))
    }

    /// Stores and publishes a pair, in the order that the server's profile, the policy for a failing store and the
    /// persistence setting ask for. Returns `None` if the record has to be loaded again: another pair took the place
    /// of this one, or its access token has expired by now and this rotation may request another.
    async fn store(
        &mut self,
        leased: &Leased,
        held: HeldPair,
        is_last: bool,
    ) -> Result<Option<Token>, Error> {
        let session = Arc::clone(self.session());
        let mut unstored = self.unstored(leased, held, is_last);
        if let Some(room) = self.room_behind(&unstored.held)
            && publish_unstored(&session, &mut unstored).await
        {
            let token = unstored.held.token().cloned();
            if unstored.commit.rival == Rival::WinsWhileGood {
                unstored.commit.rival = Rival::Loses;
            }
            store_in_background(&session, unstored, room);
            return Ok(token);
        }
        let mut backoff = STORE_BACKOFF;
        loop {
            let error = match persist(&session, &mut unstored).await {
                Ok(Some(outcome)) => return apply_outcome(&session, unstored, outcome).await,
                Ok(None) => {
                    revoke_in_background(&session, unstored.held.pair);
                    let retry_after = Duration::ZERO;
                    return Err(Error::Collision { retry_after });
                }
                Err(error) => error,
            };
            tracing::warn!(key = %session.key, error = %Causes(&error), "a new pair could not be stored; the manager tries again");
            if !unstored.is_reported {
                session.unpersisted(&error, unstored.epoch);
                unstored.is_reported = true;
            }
            if self.may_publish_unstored() && !unstored.is_published {
                publish_unstored(&session, &mut unstored).await;
            }
            let pause = backoff.next_pause();
            let failed = Error::from(error.clone()).with_retry_after(pause);
            self.flight.report(Progress::Unstored(failed));
            // Once the lease is stale, other instances treat the token as spent. A manager that is no longer used may
            // then stop.
            if session.is_closing()
                && session.now().since(leased.since) >= session.settings().lease_duration
            {
                session.lock().given_up.get_or_insert(error.clone());
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
            // If the record cannot be read either, the next attempt goes against the record that was read last.
            if let Ok(newer) = session.load().await {
                unstored.seen = newer;
            }
        }
    }

    fn unstored(&self, leased: &Leased, held: HeldPair, is_last: bool) -> Unstored {
        let session = self.session();
        let is_rivalry = leased.kind == Kind::SignIn && !self.uses_leases();
        let now = session.store_now(leased.seen.clock);
        let commit = Commit {
            holder: leased.holder,
            base: leased.record.pair_id(),
            predecessor: leased.record.digest(),
            superseded: Vec::new(),
            family: held.pair_id.family,
            sign_ins: held.committed.sign_ins,
            upstream: held.committed.upstream,
            rival: if is_rivalry {
                Rival::WinsWhileGood
            } else {
                Rival::Wins
            },
            pair: session.stored(&held, now),
            seen: session.seen_browser(now),
        };
        Unstored {
            held,
            commit,
            seen: leased.seen.clone(),
            since: leased.since,
            epoch: self.flight.epoch,
            is_last,
            is_published: false,
            is_reported: false,
        }
    }

    /// A place among the pairs that are published before they are stored; `None` if this pair has to be stored first.
    fn room_behind(&self, held: &HeldPair) -> Option<OwnedSemaphorePermit> {
        // No caller waits for a pair without a usable access token.
        let now = self.session().now();
        let is_good = held.served.is_some() && held.schedule.expires_at.is_none_or(|end| now < end);
        let may = self.may_publish_unstored() && is_good;
        may.then(|| self.session().settings().persistence.permit())?
    }

    fn may_publish_unstored(&self) -> bool {
        let settings = self.session().settings();
        settings.on_store_failure == OnStoreFailure::Serve
            && settings.server.old_pair != OldPair::DiesAtFirstUse
    }

    /// The pair of another instance, which had outrun a pair of this one, was rejected before the server ever
    /// accepted it. The pair of this instance, kept as a spare, takes its place. Returns whether there was a spare.
    pub(super) async fn commit_spare(
        &mut self,
        leased: &Leased,
        seen: &Seen,
    ) -> Result<bool, Error> {
        let leased = Leased {
            record: seen.shared(seen.record().unwrap_or(&leased.record)),
            seen: seen.clone(),
            ..leased.clone()
        };
        let session = self.session();
        let spare = session.take_spare(leased.record.family, self.flight.epoch);
        // The spare is not used if its token is the rejected one, or if it was committed and rotated since. An
        // expired spare is not used either, because the record forgets the digests of expired tokens.
        let now = session.now();
        let is_good = |spare: &HeldPair| {
            let expires_at = spare.schedule.refresh_expires_at;
            expires_at.is_none_or(|end| now < end)
        };
        let is_new = |spare: &HeldPair| !leased.record.knows(&spare.digest) && is_good(spare);
        let Some(spare) = spare.filter(is_new) else {
            return Ok(false);
        };
        let pair_id = PairId {
            family: leased.record.family,
            ..leased.pair_id()
        };
        let committed = Committed {
            number: leased.holder.number,
            sign_ins: leased.record.sign_ins,
            ..spare.committed
        };
        let held = session.holding(spare.pair, pair_id, committed);
        self.store(&leased, held, true).await?;
        Ok(true)
    }
}

/// Publishes a pair that is not stored yet. Returns whether callers have it.
async fn publish_unstored(session: &Session, unstored: &mut Unstored) -> bool {
    let Unstored { held, epoch, .. } = unstored;
    call_on_rotated(session, held, *epoch).await;
    unstored.is_published = session.publish(held.clone(), *epoch, unstored.is_last);
    unstored.is_published
}
