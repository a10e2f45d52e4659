//! Waiting for changes. Of all callers in a process that wait for changes in one directory, one polls for all: a thousand
//! that poll cost a core.
//!
//! - A [`Hub`] has the waiters of a directory, and which of them polls. It never waits and never reads a file.
//! - A [`round`] is one check of the records that callers wait for.
//!
//! The caller that polls is a waiter and not a task of its own, because waiters may be on several runtimes, and each
//! runtime may stop. The next waiter takes over when that caller leaves, or when nothing was checked for a while.

mod round;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use self::round::{Known, Round, Seen};
use super::access::GroupAccess;
use super::{FileStore, shared};
use crate::store::Revision;
use crate::store::call::blocking;
use crate::token::{Digest, Key};

/// The time between two polls: half of the 50 ms within which a change is to be noticed, so that the poll itself may take
/// the other half.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// After this time without a poll, another waiter polls: the runtime of the waiter that polls may be stopped.
const RELIEF: Duration = Duration::from_secs(2);

/// Returns when the record has changed, or when the holder of its lease dies during the wait.
pub(super) async fn changed(store: &FileStore, key: &Key, seen: Option<Revision>) {
    let hub = Hub::of(&store.directory, store.group);
    let waiter = hub.join(key.digest(), store.path(key), seen);
    loop {
        match waiter.role() {
            Role::Served => return,
            Role::Polls => poll(&waiter).await,
            Role::Waits => wait(&waiter).await,
        }
    }
}

async fn poll(waiter: &Waiter) {
    let mut round = Round::OfAll;
    let mut tick = pin!(sleep(POLL_INTERVAL));
    loop {
        let hub = waiter.hub.clone();
        // The poll continues if this waiter is dropped, and serves the others.
        let polling = blocking(move || {
            hub.poll(round);
            Ok(())
        });
        let _ = polling.await;
        if waiter.role() != Role::Polls {
            return;
        }
        round = tokio::select! {
            biased;
            () = tick.as_mut() => {
                tick.set(sleep(POLL_INTERVAL));
                Round::OfAll
            }
            () = waiter.hub.fresh.notified() => Round::OfFresh,
        };
    }
}

async fn wait(waiter: &Waiter) {
    loop {
        let rounds = waiter.hub.rounds();
        if timeout(RELIEF, waiter.woken.notified()).await.is_ok() {
            return;
        }
        if waiter.hub.rounds() == rounds {
            waiter.take_over();
            return;
        }
    }
}

/// One hub for each directory, however many stores were opened there.
static HUBS: Mutex<BTreeMap<(PathBuf, GroupAccess), Weak<Hub>>> = Mutex::new(BTreeMap::new());

/// The waiters of a directory.
#[derive(Debug)]
struct Hub {
    directory: PathBuf,
    group: GroupAccess,
    state: Mutex<State>,
    /// A waiter came, and its record was not read since.
    fresh: Notify,
    rounds: AtomicU64,
    /// Locked during a poll: a second poll at the same time would see the same.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<Digest, Watched>,
    /// The records that a waiter came for since the last poll.
    fresh: HashSet<Digest>,
    /// The waiter that polls.
    polls: Option<u64>,
    /// The number of the next waiter.
    next: u64,
}

/// A record that callers wait for.
#[derive(Debug)]
struct Watched {
    path: Arc<Path>,
    known: Option<Known>,
    waiters: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    seen: Option<Revision>,
    /// Whether the holder of the lease was known to be alive when this waiter came, or later. A death that was known
    /// before is not news: on a strict server the caller knows of it and waits all the same.
    is_death_news: bool,
    is_served: bool,
    woken: Arc<Notify>,
}

/// The task of a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// To return: there is news.
    Served,
    /// To poll for all waiters.
    Polls,
    /// To wait until it is woken.
    Waits,
}

/// A caller that waits, until it is dropped.
#[derive(Debug)]
struct Waiter {
    hub: Arc<Hub>,
    woken: Arc<Notify>,
    session: Digest,
    number: u64,
}

impl Hub {
    fn of(directory: &Path, group: GroupAccess) -> Arc<Self> {
        let place = (directory.to_owned(), group);
        shared(&HUBS, place, || Self {
            directory: directory.to_owned(),
            group,
            state: Mutex::default(),
            fresh: Notify::new(),
            rounds: AtomicU64::new(0),
            seen: Mutex::default(),
        })
    }

    /// Adds a waiter for a session, whose record is at `path`.
    fn join(self: &Arc<Self>, session: Digest, path: PathBuf, seen: Option<Revision>) -> Waiter {
        let woken = Arc::new(Notify::new());
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        let watched = state.records.entry(session).or_insert_with(|| Watched {
            path: path.into(),
            known: None,
            waiters: BTreeMap::new(),
        });
        let is_death_news = watched.known.as_ref().is_some_and(Known::holder_is_alive);
        watched.waiters.insert(
            number,
            Waiting {
                seen,
                is_death_news,
                is_served: false,
                woken: woken.clone(),
            },
        );
        state.fresh.insert(session);
        drop(state);
        self.fresh.notify_one();
        Waiter {
            hub: self.clone(),
            woken,
            session,
            number,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The number of rounds that have begun.
    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    fn begin_round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

impl Watched {
    /// Serves the waiters for which the known record is news. The waiters from number `before` on came during the poll and
    /// may have seen a newer record: the next poll serves them.
    fn serve(&mut self, before: u64) {
        let Some(known) = &self.known else { return };
        for (number, waiting) in &mut self.waiters {
            waiting.is_death_news |= known.holder_is_alive();
            let is_news =
                waiting.seen != known.revision || waiting.is_death_news && known.holder_is_dead();
            if *number < before && !waiting.is_served && is_news {
                waiting.is_served = true;
                waiting.woken.notify_one();
            }
        }
    }

    fn is_served(&self, number: u64) -> bool {
        self.waiters
            .get(&number)
            .is_none_or(|waiting| waiting.is_served)
    }
}

impl State {
    /// Removes the records without waiters.
    fn forget(&mut self) {
        self.records
            .retain(|_, watched| !watched.waiters.is_empty());
    }

    /// Leaves the polling to another waiter.
    fn pass_on(&mut self) {
        self.polls = None;
        let mut waiters = self.records.values().flat_map(|watched| &watched.waiters);
        if let Some((_, waiting)) = waiters.find(|(_, waiting)| !waiting.is_served) {
            waiting.woken.notify_one();
        }
    }
}

impl Waiter {
    /// The waiter's task. If no waiter polls, this one does.
    fn role(&self) -> Role {
        let mut state = self.hub.state();
        let watched = state.records.get(&self.session);
        if watched.is_none_or(|watched| watched.is_served(self.number)) {
            return Role::Served;
        }
        match *state.polls.get_or_insert(self.number) == self.number {
            true => Role::Polls,
            false => Role::Waits,
        }
    }

    /// Polls in place of a waiter that has stopped.
    fn take_over(&self) {
        self.hub.state().polls = Some(self.number);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if let Some(watched) = state.records.get_mut(&self.session) {
            // The known record stays for a while: a caller that waits enters again and again.
            watched.waiters.remove(&self.number);
        }
        if state.polls == Some(self.number) || state.polls.is_none() {
            state.pass_on();
        }
    }
}
