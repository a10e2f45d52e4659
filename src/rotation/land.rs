//! Stores what was issued and publishes it. A pair that was read from the server is never dropped here:
//! a store that fails is tried again until the manager's runtime or its last user is gone.

use std::sync::Arc;
use std::time::Duration;

use super::calls::revoke;
use super::claim::Claimed;
use super::guard::guarded;
use super::spend::Answer;
use super::{Kind, Rotation, SAME_AGAIN, Seen};
use crate::endpoint::{OldPair, Predecessor};
use crate::error::{EndReason, Error};
use crate::record::Record;
use crate::record::land::{Landing, Verdict};
use crate::served::Token;
use crate::settings::OnStoreFailure;
use crate::state::{Held, Progress};
use crate::store::Swap;
use crate::token::{Identity, TokenPair};

/// Pauses between attempts to store a pair, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Rotation {
    /// Lands what was issued; `None` to look again, where another pair took its place.
    pub(super) async fn land(
        &mut self,
        claimed: Claimed,
        answer: Answer,
    ) -> Result<Option<Token>, Error> {
        let session = self.session();
        let pair = {
            let state = session.lock();
            let predecessor = match (claimed.kind, claimed.pair(), state.held()) {
                (Kind::Refresh, Some(pair), Some(held)) => Some(Predecessor {
                    pair,
                    age: answer.sent_at.since(held.sent_at),
                }),
                _ => None,
            };
            answer
                .issued
                .into_pair(predecessor, answer.took, session.wall())
        };
        let identity = Identity {
            lineage: claimed.lineage,
            version: claimed.record.version + 1,
        };
        // A seed that the server echoes is still what stands in somebody's configuration. What a
        // sign-in brings never does, and would be kept for good.
        let first = claimed.record.pair.as_ref().is_some_and(|stored| {
            stored.first && pair.digest(&session.key) == claimed.record.digest()
        });
        let held = session.holding(pair, identity, claimed.holder.number, first, answer.sent_at);
        if held.token.is_some() {
            return self.store(&claimed, held).await;
        }
        // The refresh token is kept first; that there is no access token is judged second.
        self.store(&claimed, held).await?;
        Err(Error::NoAccessToken {
            retry_after: Duration::ZERO,
        })
    }

    /// Stores and publishes a pair, in the order that the server's profile and the policy for a failing
    /// store ask for; `None` if another pair took its place.
    async fn store(&mut self, claimed: &Claimed, held: Held) -> Result<Option<Token>, Error> {
        let session = self.flight.session().clone();
        let mut seen = claimed.seen.clone();
        let epoch = self.flight.epoch();
        let (mut published, mut told) = (false, false);
        let mut pause = FIRST_PAUSE;
        loop {
            let now = self.store_now(seen.clock);
            let landing = Landing {
                holder: claimed.holder,
                base: claimed.record.identity(),
                predecessor: claimed.record.digest(),
                lineage: held.identity.lineage,
                pair: session.stored(&held, now),
            };
            let error = match landing.judge(seen.record(), &session.key, now) {
                Verdict::Write(next) => match self.swap(seen.revision(), &next).await {
                    Ok(Swap::Swapped(_)) => {
                        let identity = next.identity();
                        return self.publish_landed(held, identity, published).await;
                    }
                    Ok(Swap::Lost(newer)) => {
                        let newest = newer.as_ref().map(|(_, revision)| *revision);
                        // As in `run`: a store that answers from the past is not asked without pause.
                        if newest == seen.revision() {
                            tokio::time::sleep(SAME_AGAIN).await;
                        }
                        seen.entry = newer;
                        continue;
                    }
                    Err(error) => error,
                },
                Verdict::Landed => {
                    let identity = seen.record().map_or(held.identity, Record::identity);
                    return self.publish_landed(held, identity, published).await;
                }
                Verdict::LoggedOut => {
                    self.revoke_aside(held.pair);
                    let ended = session.end_seen(EndReason::LoggedOut, epoch);
                    return ended.map_or(Ok(None), Err);
                }
                Verdict::Superseded => {
                    self.revoke_aside(held.pair);
                    return Ok(None);
                }
                Verdict::Outrun => {
                    session.lock().set_spare(held);
                    return Ok(None);
                }
                Verdict::Condemned => {
                    let ended = session.end_seen(EndReason::Rejected, epoch);
                    return ended.map_or(Ok(None), Err);
                }
            };
            tracing::warn!(key = %session.key, %error, "a new pair could not be stored; trying again");
            if !told {
                session.unpersisted(&error);
                told = true;
            }
            if self.may_publish_unstored() && !published {
                self.save_elsewhere(&held).await;
                session.publish(held.clone(), epoch);
                published = true;
            }
            self.flight.report(Progress::Unstored(error.clone().into()));
            // Once the claim is stale, others treat the token as spent: then a manager that nobody
            // uses any more may go.
            if session.is_closing()
                && session.now().since(claimed.since) >= session.settings().quarantine
            {
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // Where it cannot even be read, the next attempt is made against what was read last.
            if let Ok(newer) = self.load().await {
                seen = newer;
            }
        }
    }

    /// Revokes a pair that gave way. Nobody waits for that but a shutdown.
    fn revoke_aside(&self, pair: TokenPair) {
        let session = Arc::clone(self.flight.session());
        let runtime = session.shared.runtime.clone();
        let chore = session.chore();
        runtime.spawn(async move {
            // It was said already if that failed.
            let _ = revoke(&session, &pair).await;
            drop(chore);
        });
    }

    fn may_publish_unstored(&self) -> bool {
        let settings = self.session().settings();
        settings.on_store_failure == OnStoreFailure::Serve
            && settings.server.old_pair != OldPair::DiesAtFirstUse
    }

    /// The record has it; now everybody may.
    async fn publish_landed(
        &self,
        mut held: Held,
        identity: Identity,
        published: bool,
    ) -> Result<Option<Token>, Error> {
        let session = self.session();
        if !published {
            self.save_elsewhere(&held).await;
        }
        if held.identity != identity {
            held = session.holding(held.pair, identity, held.number, held.first, held.sent_at);
        }
        let token = held.token.clone();
        let is_new = !published || session.lock().identity() != Some(identity);
        // A logout that came in between has ended the record, or will, and revokes its pair; a new
        // sign-in has replaced it, or will.
        if is_new && !session.publish(held, self.flight.epoch()) {
            return Ok(None);
        }
        Ok(token)
    }

    /// Gives the pair to those who save pairs themselves, before anybody uses it.
    async fn save_elsewhere(&self, held: &Held) {
        let session = self.session();
        let Some(on_rotated) = &session.shared.on_rotated else {
            return;
        };
        let saving = async { on_rotated.call(held.pair.clone()).await };
        if let Err(trouble) = guarded(session.settings().store_timeout, saving).await {
            tracing::warn!(key = %session.key, "the callback for new pairs {trouble}");
        }
    }

    /// Another instance's pair turned out to be dead before it was accepted once: ours, which it outran,
    /// takes its place. Returns whether there was one.
    pub(super) async fn land_spare(
        &mut self,
        claimed: &Claimed,
        seen: &Seen,
    ) -> Result<bool, Error> {
        let Some(spare) = self.session().lock().take_spare() else {
            return Ok(false);
        };
        let claimed = Claimed {
            record: seen.record().unwrap_or(&claimed.record).clone(),
            seen: seen.clone(),
            ..claimed.clone()
        };
        let session = self.session();
        let identity = Identity {
            lineage: claimed.record.lineage,
            version: claimed.record.version + 1,
        };
        let held = session.holding(
            spare.pair,
            identity,
            claimed.holder.number,
            spare.first,
            spare.sent_at,
        );
        self.store(&claimed, held).await?;
        Ok(true)
    }
}
