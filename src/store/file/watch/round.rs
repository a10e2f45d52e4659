//! One check of all records of a directory that callers wait for. Its cost depends on what has changed, and hardly on the
//! number of waiters:
//!
//! - The directory is checked: a file that is replaced, removed or created there changes the directory's time.
//! - The files are checked while the directory changes, and now and then.
//! - A record is read when the stamp of its file has changed, when a waiter comes, and now and then in turn.
//! - Of the proofs of life that are names of one file, one is checked.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Hub, Watched};
use crate::clock::{Clock, SystemClock};
use crate::store::Revision;
use crate::store::file::access;
use crate::store::file::content::{FileId, Found, Stamp, file_id};
use crate::store::file::liveness::{self, Liveness};
use crate::token::Digest;

/// For this number of polls after a change of the directory, the files are checked. The next change may fall within the
/// same tick of the file system's clock, which takes up to 10 ms, and then does not change the directory's time.
pub(super) const LIVELY: u32 = 4;

/// At every 20th poll the files are checked although the directory has not changed. The file system's clock may be coarser,
/// and a program may have written into a file.
const FILES_EVERY: u32 = 20;

/// How many records a poll reads although their stamps have not changed. Two writes within one tick may have the same
/// stamp.
const READS: usize = 1;

/// How many files with proofs of life a poll checks. There is one for each process that holds leases.
const PROOFS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    OfAll,
    /// Only the records that a waiter came for.
    OfFresh,
}

/// The results of the last polls, and what is next.
#[derive(Debug, Default)]
pub(super) struct Seen {
    directory: Option<Stamp>,
    /// For how many more polls the files are checked.
    lively: u32,
    polls: u32,
    /// The records that are still to be read although their stamps have not changed.
    to_read: Vec<Digest>,
    /// Where the next poll continues with the proofs.
    proof: usize,
    pub(super) counts: Counts,
}

/// The number of questions to the file system.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) directories: u64,
    pub(super) stamps: u64,
    pub(super) reads: u64,
    pub(super) proofs: u64,
}

/// The last reading of a record.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    stamp: Option<Stamp>,
    /// Whether a later change would change the stamp.
    is_settled: bool,
    pub(super) revision: Option<Revision>,
    holder: Option<Holder>,
}

/// The holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    /// Proven by this name of this file.
    IsAlive(PathBuf, FileId),
    IsDead,
}

impl Known {
    pub(super) fn holder_is_alive(&self) -> bool {
        self.proof().is_some()
    }

    pub(super) fn holder_is_dead(&self) -> bool {
        self.holder == Some(Holder::IsDead)
    }

    fn proof(&self) -> Option<(&Path, FileId)> {
        match &self.holder {
            Some(Holder::IsAlive(path, file)) => Some((path, *file)),
            _ => None,
        }
    }
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
pub(super) struct Agenda {
    /// Waiters from this number on came too late for this poll.
    before: u64,
    records: Vec<(Digest, Arc<Path>, Check)>,
    /// One name of each file with proofs of life.
    proofs: BTreeMap<FileId, PathBuf>,
}

impl Hub {
    pub(super) fn poll(&self, round: Round) {
        // Another poll is under way. It serves the waiters that came before it, and the next poll serves the others.
        let Some(mut seen) = self.seen.try_lock() else {
            return;
        };
        self.begin_round();
        if let Some(agenda) = self.plan(round, &mut seen) {
            self.carry_out(agenda, &mut seen);
        }
    }

    /// `None` if the directory cannot be checked. It may become usable again, and a caller that waits has its own limit.
    pub(super) fn plan(&self, round: Round, seen: &mut Seen) -> Option<Agenda> {
        let directory = access::check_directory(&self.directory, self.group).ok()?;
        seen.counts.directories += 1;
        let checks_files = round == Round::OfAll && seen.tick(Stamp::from(&directory));
        Some(self.agenda(round, checks_files, seen))
    }

    pub(super) fn carry_out(&self, agenda: Agenda, seen: &mut Seen) {
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

    fn agenda(&self, round: Round, checks_files: bool, seen: &mut Seen) -> Agenda {
        let mut state = self.state();
        let fresh = std::mem::take(&mut state.fresh);
        let mut to_read = HashSet::new();
        let mut agenda = Agenda {
            before: state.next,
            ..Agenda::default()
        };
        if round == Round::OfAll {
            if seen.polls == 0 {
                state.forget();
            }
            if seen.polls == 0 && seen.to_read.is_empty() {
                seen.to_read = state.records.keys().copied().collect();
            }
            let left = seen.to_read.len().saturating_sub(READS);
            to_read.extend(seen.to_read.drain(left..));
            for watched in state.records.values() {
                if let Some((path, file)) = watched.known.as_ref().and_then(Known::proof) {
                    let name = || path.to_owned();
                    agenda.proofs.entry(file).or_insert_with(name);
                }
            }
        }
        let mut add = |session: &Digest, watched: &Watched| {
            let known = watched.known.as_ref();
            let is_settled = known.is_some_and(|known| known.is_settled);
            let check = match known.map(|known| known.stamp) {
                _ if to_read.contains(session) => Check::Read,
                _ if fresh.contains(session) && !is_settled => Check::Read,
                None => Check::Read,
                Some(stamp) => Check::Compare(stamp),
            };
            agenda.records.push((*session, watched.path.clone(), check));
        };
        if checks_files {
            state
                .records
                .iter()
                .for_each(|(session, watched)| add(session, watched));
        } else {
            for session in fresh.union(&to_read) {
                if let Some(watched) = state.records.get(session) {
                    add(session, watched);
                }
            }
        }
        agenda
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
        let mut state = self.state();
        if let Some(watched) = state.records.get_mut(session) {
            watched.known = known.or_else(|| watched.known.take());
            watched.serve(before);
        }
    }

    /// Checks the holders whose proofs are names of this file, until one of them is alive.
    fn check_holders(&self, file: FileId, before: u64, seen: &mut Seen) {
        let of_file: Vec<(Digest, PathBuf)> = {
            let state = self.state();
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
            let mut state = self.state();
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
        let count = proofs.len();
        if count <= PROOFS {
            return proofs.into_iter().collect();
        }
        let start = self.proof % count;
        self.proof = start + PROOFS;
        let mut proofs: Vec<_> = proofs.into_iter().collect();
        proofs.rotate_left(start);
        proofs.truncate(PROOFS);
        proofs
    }
}
