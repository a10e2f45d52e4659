//! How a pair comes to be held: adopted from the store, given by the user, or issued to this manager. What was read before a
//! logout or a sign-in of the user is outdated, and changes nothing.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::Session;
use crate::clock::Timestamp;
use crate::error::{EndReason, Error};
use crate::event::Event;
use crate::record::reconcile::{Reconciled, reconcile};
use crate::record::{Record, StoredPair};
use crate::schedule::{Pacing, Schedule};
use crate::snapshot::Copies;
use crate::state::{Committed, HeldPair};
use crate::store::{StoreError, StoreTime};
use crate::token::{Key, PairId, TokenFamily, TokenPair};
use crate::user_code::{UserCodeError, guarded};

impl Session {
    /// Makes a held pair of a pair. It asks the strategy, which is user code, so the state must not be locked.
    pub(crate) fn holding(
        &self,
        mut pair: TokenPair,
        pair_id: PairId,
        committed: Committed,
    ) -> HeldPair {
        let settings = self.settings();
        let sent_at = committed.sent_at;
        let life = pair.lifetime;
        let plan = self.strategy().plan(&life);
        let pacing = Pacing {
            leeway: settings.leeway,
            shortest_interval: settings.shortest_interval,
            jitter: settings.jitter * draw(),
        };
        let sent_wall = self.wall().saturating_sub(self.now().since(sent_at));
        let prefix = &self.shared.prefix;
        let served = pair.access.as_ref();
        let served = served.map(|access| Copies::new(access, pair_id, prefix));
        // The pair and the token that is served share one buffer.
        pair.access = served.as_ref().map(|served| served.access());
        let can_refresh = pair.refresh.is_some();
        HeldPair {
            digest: pair.digest(&self.key),
            schedule: Schedule::new(&plan, &life, pacing, can_refresh, sent_at, sent_wall),
            served,
            pair,
            pair_id,
            committed,
        }
    }

    /// Makes a held pair of the record's pair.
    fn stored_pair(&self, record: &Record, store_now: StoreTime) -> Option<HeldPair> {
        let stored = record.pair.clone()?;
        let committed = Committed {
            number: record.committed_number,
            sign_ins: record.sign_ins,
            upstream: record.upstream,
            origin: stored.origin,
            may_be_repeat: false,
            is_sign_in: false,
            sent_at: self.now().before(store_now.since(stored.issued_at)),
        };
        Some(self.holding(stored.pair, record.pair_id(), committed))
    }

    /// Holds the record's pair, which another instance rotated, an earlier process stored, or the seed brought. Subscribers know
    /// the seed, so the seed's pair has not been `waited` for and is no event. Returns `false` for a pair of a session that was
    /// logged out of, which does not come back, and for one that was read before the user logged out or signed in.
    pub(crate) fn adopt(
        &self,
        record: &Record,
        store_now: StoreTime,
        epoch: u64,
        waited: Option<Duration>,
    ) -> bool {
        let Some(held) = self.stored_pair(record, store_now) else {
            return true;
        };
        let pair_id = held.pair_id;
        let moment = self.moment();
        let mut state = self.lock();
        state.saw(record);
        let Some(mut current) = state.in_epoch(epoch) else {
            return false;
        };
        if reconcile(Some(record), current.held().map(HeldPair::summary)) != Reconciled::Adopt {
            return false;
        }
        let held = current.hold(held);
        self.republish(&current, moment);
        drop(state);
        if held && let Some(waited) = waited {
            tracing::debug!(key = %self.key, version = pair_id.version, "the manager adopted a pair from the store");
            self.send(Event::Adopted { pair_id, waited });
        }
        held
    }

    /// Holds the record's pair, which the user gave to this manager after logging out `logouts` times. It is an error if the
    /// user has logged out since, because the later logout wins.
    pub(crate) fn begin(
        &self,
        record: &Record,
        store_now: StoreTime,
        logouts: u64,
        news: Option<Event>,
    ) -> Result<(), Error> {
        let held = self.stored_pair(record, store_now);
        let moment = self.moment();
        let mut state = self.lock();
        if state.logouts != logouts {
            return Err(Error::ended(EndReason::LoggedOut));
        }
        let Some(held) = held else {
            return Ok(());
        };
        self.forget_written();
        state.saw(record);
        let wakeups = state.begin_anew(held);
        self.republish(&state, moment);
        drop(state);
        drop(wakeups);
        if let Some(event) = news {
            self.send(event);
        }
        Ok(())
    }

    /// Publishes a pair that the server issued to this manager. Returns `false` if the user has logged out or signed in since the
    /// rotation began.
    ///
    /// A server that issues a token which has expired before the request for it is left alone for a while. A token that expired
    /// after the request took too long to arrive: it is rotated once more, unless it is the last one that is asked for.
    pub(crate) fn publish(&self, held: HeldPair, epoch: u64, is_last: bool) -> bool {
        let pair_id = held.pair_id;
        let moment = self.moment();
        let now = moment.now;
        let Committed {
            sent_at,
            is_sign_in,
            may_be_repeat,
            ..
        } = held.committed;
        let took = now.since(sent_at);
        let judged_at = if is_last { now } else { sent_at };
        let mut state = self.lock();
        let Some(mut current) = state.in_epoch(epoch) else {
            return false;
        };
        let old = current.held();
        let stalled = old.is_some_and(|old| brought_nothing(old, &held, now));
        let stalls = current.stalls();
        if !current.hold(held) {
            return false;
        }
        current.issued(now, may_be_repeat);
        let expired = current.usable(judged_at).is_none();
        if stalled || expired {
            current.stall(stalls, self.settings(), now);
        }
        self.republish(&current, moment);
        drop(state);
        tracing::info!(key = %self.key, version = pair_id.version, ?took, is_sign_in, "the server issued a new pair");
        self.send(Event::Rotated {
            pair_id,
            took,
            is_sign_in,
        });
        true
    }

    /// Keeps a pair of this manager over which another instance committed its own, for as long as its epoch lasts.
    pub(crate) fn keep_spare(&self, spare: HeldPair, epoch: u64) {
        if let Some(mut current) = self.lock().in_epoch(epoch) {
            current.keep_spare(spare);
        }
    }

    /// The spare, if it is of this family and the epoch lasts.
    pub(crate) fn take_spare(&self, family: TokenFamily, epoch: u64) -> Option<HeldPair> {
        self.lock().in_epoch(epoch)?.take_spare(family)
    }

    /// Reports that a pair could not be stored yet. The pair is served, or kept.
    pub(crate) fn unpersisted(&self, error: &StoreError, epoch: u64) {
        if self.lock().epoch == epoch {
            let error = error.clone();
            self.send(Event::Unpersisted { error });
        }
    }

    /// The pair as it is stored: its times are the store's.
    pub(crate) fn stored(&self, held: &HeldPair, store_now: StoreTime) -> StoredPair {
        StoredPair {
            issued_at: store_now.before(self.now().since(held.committed.sent_at)),
            origin: held.committed.origin,
            pair: held.pair.clone(),
        }
    }
}

/// Whether the server issued the access token again that was held, and that was still valid.
fn brought_nothing(old: &HeldPair, new: &HeldPair, now: Timestamp) -> bool {
    old.pair.access == new.pair.access && old.schedule.expires_at.is_none_or(|end| now < end)
}

/// A random share, 0 to 1. It is 0, so that there is no jitter, where the system has no random numbers.
pub(crate) fn draw() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    crate::token::random().map_or(0.0, |bits| {
        ((bits >> 75) as u64) as f64 / (1_u64 << 53) as f64
    })
}

/// The user's callback for each new pair, which gets the session's key too.
pub(crate) struct OnRotated(Box<Callback>);

type Callback = dyn Fn(&Key, TokenPair) -> Saving + Send + Sync;

type Saving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl OnRotated {
    pub(crate) fn new<F>(callback: impl Fn(&Key, TokenPair) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |key, pair| Box::pin(callback(key, pair))))
    }

    pub(crate) async fn call(
        &self,
        key: &Key,
        pair: TokenPair,
        limit: Duration,
    ) -> Result<(), UserCodeError> {
        guarded(limit, async { (self.0)(key, pair).await }).await
    }
}

impl fmt::Debug for OnRotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRotated")
    }
}
