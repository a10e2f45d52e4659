//! Who waits for changes in one directory, and which of them polls. Nothing here waits or reads a file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::round::{Known, Seen};
use crate::store::Revision;
use crate::store::file::access::GroupAccess;
use crate::token::Digest;

/// One for each directory, however many stores were opened there.
static HUBS: Mutex<BTreeMap<(PathBuf, GroupAccess), Weak<Hub>>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) directory: PathBuf,
    pub(super) group: GroupAccess,
    state: Mutex<State>,
    /// A record is waited for that was not checked since.
    pub(super) fresh: Notify,
    rounds: AtomicU64,
    /// Held for one poll: a second one would see the same.
    pub(super) looking: Mutex<Seen>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) records: HashMap<Digest, Watched>,
    /// The records that a waiter came for since they were read last.
    pub(super) fresh: HashSet<Digest>,
    /// The waiter that polls.
    polls: Option<u64>,
    /// Waiters are numbered in the order in which they came.
    pub(super) next: u64,
}

/// A record that is waited for.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) path: Arc<Path>,
    pub(super) known: Option<Known>,
    waiters: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    seen: Option<Revision>,
    /// Whether the holder of the lease was known to be alive when this waiter came, or later. A death that was known
    /// before is no news: on a strict server the caller knows of it and waits on.
    is_death_news: bool,
    is_served: bool,
    woken: Arc<Notify>,
}

/// What a waiter has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: there is news.
    Served,
    Polls,
    Waits,
}

/// A place among those who wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) hub: Arc<Hub>,
    pub(super) woken: Arc<Notify>,
    session: Digest,
    number: u64,
}

impl Hub {
    pub(super) fn of(directory: &Path, group: GroupAccess) -> Arc<Self> {
        let mut hubs = HUBS.lock();
        let place = (directory.to_owned(), group);
        if let Some(hub) = hubs.get(&place).and_then(Weak::upgrade) {
            return hub;
        }
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let hub = Arc::new(Self {
            directory: directory.to_owned(),
            group,
            state: Mutex::default(),
            fresh: Notify::new(),
            rounds: AtomicU64::new(0),
            looking: Mutex::default(),
        });
        hubs.insert(place, Arc::downgrade(&hub));
        hub
    }

    /// The record of the key with this digest is at `path`.
    pub(super) fn join(
        self: &Arc<Self>,
        session: Digest,
        path: PathBuf,
        seen: Option<Revision>,
    ) -> Waiter {
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Counts those that were begun.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn begin_round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

impl Watched {
    /// Serves the waiters to which what is known is news. Not those from number `before` on: they came during the poll,
    /// may have seen more than it did, and are served by the next one.
    pub(super) fn serve(&mut self, before: u64) {
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
}

impl State {
    /// What is known of records that are not waited for any more.
    pub(super) fn forget(&mut self) {
        self.records
            .retain(|_, watched| !watched.waiters.is_empty());
    }

    /// Leaves looking to another waiter.
    fn pass_on(&mut self) {
        self.polls = None;
        let mut waiters = self.records.values().flat_map(|watched| &watched.waiters);
        if let Some((_, waiting)) = waiters.find(|(_, waiting)| !waiting.is_served) {
            waiting.woken.notify_one();
        }
    }
}

impl Waiter {
    /// Takes the place of the one that polls if there is none.
    pub(super) fn role(&self) -> Role {
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

    /// In place of one that does not.
    pub(super) fn take_over(&self) {
        self.hub.state().polls = Some(self.number);
    }
}

impl Watched {
    fn is_served(&self, number: u64) -> bool {
        self.waiters
            .get(&number)
            .is_none_or(|waiting| waiting.is_served)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if let Some(watched) = state.records.get_mut(&self.session) {
            // What is known of it stays for a while: who waits comes again and again.
            watched.waiters.remove(&self.number);
        }
        if state.polls == Some(self.number) || state.polls.is_none() {
            state.pass_on();
        }
    }
}
