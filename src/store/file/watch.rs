//! Waiting for changes. Of all callers in a process that wait for changes in one directory, one polls for all: a thousand
//! that poll cost a core.
//!
//! A [`Hub`] has the waiters of a directory, and which of them polls. The caller that polls is a waiter and not a task of its own, because waiters may be on several runtimes, and each
//! runtime may stop. The next waiter takes over when that caller leaves, or when nothing was checked for a while.
//!
//! A poll is one check of all records that callers wait for. Its cost depends on what has changed, and hardly on the
//! number of waiters:
//!
//! - The directory is checked: a file that is replaced, removed or created there changes the directory's time.
//! - The files are checked while the directory changes, and now and then.
//! - A record is read when the stamp of its file has changed, when a waiter comes, and now and then in turn.
//! - Of the proofs of life that are names of one file, one is checked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::access::{self, GroupAccess};
use super::content::{FileId, Found, Stamp, file_id};
use super::liveness::{self, Liveness};
use super::{FileStore, shared};
use crate::clock::{Clock, SystemClock};
use crate::store::{Revision, blocking};
use crate::token::{Digest, Key};

/// The time between two polls: half of the 50 ms within which a change is to be noticed, so that the poll itself may take
/// the other half.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// After this time without a poll, another waiter polls: the runtime of the waiter that polls may be stopped.
const RELIEF: Duration = Duration::from_secs(2);

/// For this number of polls after a change of the directory, the files are checked. The next change may fall within the
/// same tick of the file system's clock, which takes up to 10 ms, and then does not change the directory's time.
const LIVELY: u32 = 4;

/// At every 20th poll the files are checked although the directory has not changed. The file system's clock may be coarser,
/// and a program may have written into a file.
const FILES_EVERY: u32 = 20;

/// How many records a poll reads although their stamps have not changed. Two writes within one tick may have the same
/// stamp.
const READS: usize = 1;

/// How many files with proofs of life a poll checks. There is one for each process that holds leases.
const PROOFS: usize = 32;

/// Returns when the record has changed, or when the holder of its lease dies during the wait.
pub(super) async fn changed(store: &FileStore, key: &Key, seen: Option<Revision>) {
    let hub = Hub::of(&store.directory, store.group);
    let waiter = hub.join(key.digest(), store.path(key), seen);
    let mut round = Round::OfAll;
    let mut tick = pin!(sleep(POLL_INTERVAL));
    loop {
        match waiter.role() {
            Role::Served => return,
            Role::Waits => {
                let rounds = hub.rounds.load(Ordering::Relaxed);
                let woken = timeout(RELIEF, waiter.woken.notified()).await;
                if woken.is_err() && hub.rounds.load(Ordering::Relaxed) == rounds {
                    hub.state.lock().polls = Some(waiter.number);
                }
                continue;
            }
            Role::Polls => {}
        }
        let polling = hub.clone();
        // The poll continues if this waiter is dropped, and serves the others.
        let _ = blocking(move || {
            polling.poll(round);
            Ok(())
        })
        .await;
        if waiter.role() == Role::Polls {
            round = tokio::select! {
                biased;
                () = tick.as_mut() => {
                    tick.set(sleep(POLL_INTERVAL));
                    Round::OfAll
                }
                () = hub.fresh.notified() => Round::OfFresh,
            };
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
    /// The number of polls that have begun.
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
    /// Those that were not served yet.
    waiters: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    seen: Option<Revision>,
    /// Whether the holder of the lease was known to be alive when this waiter came, or later. A death that was known
    /// before is not news: on a strict server the caller knows of it and waits all the same.
    is_death_news: bool,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    OfAll,
    /// Only the records that a waiter came for.
    OfFresh,
}

/// The results of the last polls, and what is next.
#[derive(Debug, Default)]
struct Seen {
    directory: Option<Stamp>,
    /// For how many more polls the files are checked.
    lively: u32,
    polls: u32,
    /// The records that are still to be read although their stamps have not changed.
    to_read: Vec<Digest>,
    /// Where the next poll continues with the proofs.
    proof: usize,
    counts: Counts,
}

/// The number of questions to the file system.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    directories: u64,
    stamps: u64,
    reads: u64,
    proofs: u64,
}

/// The last reading of a record.
#[derive(Debug, Clone, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// Whether a later change would change the stamp.
    is_settled: bool,
    revision: Option<Revision>,
    holder: Option<Holder>,
}

/// The holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    /// Proven by this name of this file.
    IsAlive(PathBuf, FileId),
    IsDead,
}

/// How a record is checked.
#[derive(Debug, Clone, Copy)]
enum Check {
    Read,
    /// The record is read if the stamp of its file differs from this one.
    Compare(Option<Stamp>),
}

/// The work of one poll.
#[derive(Default)]
struct Agenda {
    /// Waiters from this number on came too late for this poll.
    before: u64,
    records: Vec<(Digest, Arc<Path>, Check)>,
    /// One name of each file with proofs of life.
    proofs: BTreeMap<FileId, PathBuf>,
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
        let is_death_news = watched.known.as_ref().and_then(Known::proof).is_some();
        watched.waiters.insert(
            number,
            Waiting {
                seen,
                is_death_news,
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

    fn poll(&self, round: Round) {
        // Another poll is under way. It serves the waiters that came before it, and the next poll serves the others.
        let Some(mut seen) = self.seen.try_lock() else {
            return;
        };
        self.rounds.fetch_add(1, Ordering::Relaxed);
        if let Some(agenda) = self.plan(round, &mut seen) {
            self.carry_out(agenda, &mut seen);
        }
    }

    fn carry_out(&self, agenda: Agenda, seen: &mut Seen) {
        for (session, path, check) in agenda.records {
            let known = self.check(&path, check, seen);
            self.note(&session, known, agenda.before);
        }
        for (file, path) in seen.in_turn(agenda.proofs) {
            seen.counts.proofs += 1;
            if Liveness::at(&path, self.group) != Liveness::Alive {
                self.check_holders(file, agenda.before, seen);
            }
        }
    }

    /// `None` if the directory cannot be checked. It may become usable again, and a caller that waits has its own limit.
    fn plan(&self, round: Round, seen: &mut Seen) -> Option<Agenda> {
        let directory = access::check_directory(&self.directory, self.group).ok()?;
        seen.counts.directories += 1;
        let checks_files = round == Round::OfAll && seen.tick(Stamp::from(&directory));
        let mut state = self.state.lock();
        let fresh = std::mem::take(&mut state.fresh);
        let mut to_read = HashSet::new();
        let mut agenda = Agenda {
            before: state.next,
            ..Agenda::default()
        };
        if round == Round::OfAll {
            if seen.polls == 0 {
                state
                    .records
                    .retain(|_, watched| !watched.waiters.is_empty());
            }
            if seen.polls == 0 && seen.to_read.is_empty() {
                seen.to_read = state.records.keys().copied().collect();
            }
            let left = seen.to_read.len().saturating_sub(READS);
            to_read.extend(seen.to_read.drain(left..));
        }
        let records = &state.records;
        let sessions: Box<dyn Iterator<Item = (&Digest, &Watched)> + '_> = match round {
            Round::OfAll => Box::new(records.iter()),
            Round::OfFresh => Box::new(fresh.iter().filter_map(|it| records.get_key_value(it))),
        };
        for (session, watched) in sessions {
            let known = watched.known.as_ref();
            if round == Round::OfAll
                && let Some((path, file)) = known.and_then(Known::proof)
            {
                let name = || path.to_owned();
                agenda.proofs.entry(file).or_insert_with(name);
            }
            let (is_due, is_fresh) = (to_read.contains(session), fresh.contains(session));
            if !(checks_files || is_due || is_fresh) {
                continue;
            }
            let check = match known {
                Some(known) if !is_due && (known.is_settled || !is_fresh) => {
                    Check::Compare(known.stamp)
                }
                _ => Check::Read,
            };
            agenda.records.push((*session, watched.path.clone(), check));
        }
        Some(agenda)
    }

    /// The record, if it was read.
    fn check(&self, path: &Path, check: Check, seen: &mut Seen) -> Option<Known> {
        if let Check::Compare(stamp) = check {
            seen.counts.stamps += 1;
            if stamp == Stamp::of(path) {
                return None;
            }
        }
        seen.counts.reads += 1;
        let now = SystemClock.wall();
        let Some(found) = Found::read(path, self.group).ok()? else {
            return Some(Known::default());
        };
        // A file with the record of another session may be replaced by the right one.
        if !found.belongs_at(path) {
            return None;
        }
        let holder = found.holder().and_then(|owner| {
            seen.counts.proofs += 1;
            self.holder(liveness::path(path, owner))
        });
        Some(Known {
            stamp: Some(found.stamp),
            is_settled: found.stamp.is_settled(now),
            revision: Some(found.revision),
            holder,
        })
    }

    fn holder(&self, proof: PathBuf) -> Option<Holder> {
        match Liveness::at(&proof, self.group) {
            Liveness::Alive => {
                let file = file_id(&fs::symlink_metadata(&proof).ok()?)?;
                Some(Holder::IsAlive(proof, file))
            }
            Liveness::Dead => Some(Holder::IsDead),
            Liveness::Unknown => None,
        }
    }

    /// Notes the result of a check, and serves the waiters. `known` is `None` if the record was not read; a waiter that came
    /// since may have seen another revision.
    fn note(&self, session: &Digest, known: Option<Known>, before: u64) {
        let mut state = self.state.lock();
        if let Some(watched) = state.records.get_mut(session) {
            watched.known = known.or_else(|| watched.known.take());
            watched.serve(before);
        }
    }

    /// Checks the holders whose proofs are names of this file, until one of them is alive.
    fn check_holders(&self, file: FileId, before: u64, seen: &mut Seen) {
        let of_file: Vec<(Digest, PathBuf)> = {
            let state = self.state.lock();
            let records = state.records.iter();
            let proofs = records.filter_map(|(session, watched)| {
                let (proof, of) = watched.known.as_ref()?.proof()?;
                (of == file).then(|| (*session, proof.to_owned()))
            });
            proofs.collect()
        };
        for (session, proof) in of_file {
            seen.counts.proofs += 1;
            let holder = self.holder(proof.clone());
            if matches!(holder, Some(Holder::IsAlive(..))) {
                return;
            }
            let mut state = self.state.lock();
            let Some(watched) = state.records.get_mut(&session) else {
                continue;
            };
            if let Some(known) = &mut watched.known
                && known.proof() == Some((&proof, file))
            {
                known.holder = holder;
                watched.serve(before);
            }
        }
    }
}

impl Known {
    /// The proof that the holder is alive.
    fn proof(&self) -> Option<(&Path, FileId)> {
        match &self.holder {
            Some(Holder::IsAlive(path, file)) => Some((path, *file)),
            _ => None,
        }
    }
}

impl Watched {
    /// Serves the waiters for which the known record is news. The waiters from number `before` on came during the poll and
    /// may have seen a newer record: the next poll serves them.
    fn serve(&mut self, before: u64) {
        let Some(known) = &self.known else { return };
        self.waiters.retain(|number, waiting| {
            waiting.is_death_news |= known.proof().is_some();
            let is_death = waiting.is_death_news && known.holder == Some(Holder::IsDead);
            let is_news = is_death || waiting.seen != known.revision;
            let is_served = *number < before && is_news;
            if is_served {
                waiting.woken.notify_one();
            }
            !is_served
        });
    }
}

impl Seen {
    /// Notes the stamp of the directory. Returns whether the files are to be checked.
    fn tick(&mut self, directory: Stamp) -> bool {
        self.polls = (self.polls + 1) % FILES_EVERY;
        if self.directory.replace(directory) != Some(directory) {
            self.lively = LIVELY;
        } else {
            self.lively = self.lively.saturating_sub(1);
        }
        self.lively > 0 || self.polls == 0
    }

    fn in_turn(&mut self, proofs: BTreeMap<FileId, PathBuf>) -> Vec<(FileId, PathBuf)> {
        let mut proofs: Vec<_> = proofs.into_iter().collect();
        if proofs.len() > PROOFS {
            let start = self.proof % proofs.len();
            self.proof = start + PROOFS;
            proofs.rotate_left(start);
            proofs.truncate(PROOFS);
        }
        proofs
    }
}

impl Waiter {
    /// The waiter's task. If no waiter polls, this one does.
    fn role(&self) -> Role {
        let mut state = self.hub.state.lock();
        let watched = state.records.get(&self.session);
        if watched.is_none_or(|watched| !watched.waiters.contains_key(&self.number)) {
            return Role::Served;
        }
        match *state.polls.get_or_insert(self.number) == self.number {
            true => Role::Polls,
            false => Role::Waits,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        if let Some(watched) = state.records.get_mut(&self.session) {
            // The known record stays for a while: a caller that waits enters again and again.
            watched.waiters.remove(&self.number);
        }
        // Another waiter polls from now on.
        if state.polls.is_none_or(|number| number == self.number) {
            state.polls = None;
            let mut waiters = state.records.values().flat_map(|one| one.waiters.values());
            waiters.next().inspect(|waiting| waiting.woken.notify_one());
        }
    }
}

#[cfg(test)]
mod tests;
