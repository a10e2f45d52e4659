//! One check all that is waited for in a directory. What it costs depends on what changed, and hardly on how many
//! wait:
//!
//! - the directory is checked: a file that was replaced, removed or created there changes its time;
//! - the files are checked while that changes, and now and then;
//! - a record is read when its file polls different, when a waiter comes, and in turn with the others now and then;
//! - of the proofs of life that are names of one file, one is checked.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hub::{Hub, Watched};
use crate::clock::{Clock, SystemClock};
use crate::store::Revision;
use crate::store::file::access;
use crate::store::file::content::{Found, Stamp};
use crate::store::file::liveness::{self, FileId, Liveness};
use crate::token::Digest;

/// For so many polls after a change of the directory the files are checked: the next change may fall within the
/// same tick of the file system's clock, which takes up to 10 ms, and would not show.
pub(super) const LIVELY: u32 = 4;

/// Every so many polls the files are checked although the directory polls the same: its clock may be coarser,
/// and a program may have written into a file.
const FILES_EVERY: u32 = 20;

/// How many records a poll reads although they poll the same. Two writes within one tick, to files of one length in one
/// place, cannot be told apart from outside.
const READS: usize = 1;

/// How many files that prove lives a poll asks for. There is one for each process that holds leases.
const PROOFS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    OfAll,
    /// Only of records that a waiter came for.
    OfFresh,
}

/// What the last polls saw, and what is next.
#[derive(Debug, Default)]
pub(super) struct Seen {
    directory: Option<Stamp>,
    /// For how many polls the directory counts as one that changes.
    lively: u32,
    polls: u32,
    /// The records that are still to be read although they poll the same.
    to_read: Vec<Digest>,
    /// Where to go on with the proofs.
    proof: usize,
    pub(super) counts: Counts,
}

/// What was asked of the file system.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) directories: u64,
    pub(super) stamps: u64,
    pub(super) reads: u64,
    pub(super) proofs: u64,
}

/// A record as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    stamp: Option<Stamp>,
    /// Whether a file that was changed since would poll different.
    is_settled: bool,
    pub(super) revision: Option<Revision>,
    holder: Option<Holder>,
}

/// The holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    /// By the proof that has this name, which is one of this file's.
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
    /// It is read if its file polls different.
    Compare(Option<Stamp>),
}

/// What one poll is to do.
#[derive(Default)]
pub(super) struct Agenda {
    /// Waiters from this number on came too late for it.
    before: u64,
    records: Vec<(Digest, Arc<Path>, Check)>,
    /// One name of each file that proves a life.
    proofs: BTreeMap<FileId, PathBuf>,
}

impl Hub {
    pub(super) fn poll(&self, round: Round) {
        // Another poll is under way. It serves those who were there when it began, and the next one serves the others.
        let Some(mut seen) = self.looking.try_lock() else {
            return;
        };
        self.begin_round();
        if let Some(agenda) = self.plan(round, &mut seen) {
            self.carry_out(agenda, &mut seen);
        }
    }

    /// `None` if the directory cannot be checked: that may be mended, and who waits has a limit.
    pub(super) fn plan(&self, round: Round, seen: &mut Seen) -> Option<Agenda> {
        let directory = access::check_directory(&self.directory, self.group).ok()?;
        seen.count(|counts| counts.directories += 1);
        let checks_files = round == Round::OfAll && seen.tick(Stamp::from(&directory));
        Some(self.agenda(round, checks_files, seen))
    }

    pub(super) fn carry_out(&self, agenda: Agenda, seen: &mut Seen) {
        for (session, path, poll) in agenda.records {
            let known = self.check(&path, poll, seen);
            self.has_looked_at(&session, known, agenda.before);
        }
        for (file, path) in seen.in_turn(agenda.proofs) {
            seen.count(|counts| counts.proofs += 1);
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
            let poll = match known.map(|known| known.stamp) {
                _ if to_read.contains(session) => Check::Read,
                _ if fresh.contains(session) && !is_settled => Check::Read,
                None => Check::Read,
                Some(stamp) => Check::Compare(stamp),
            };
            agenda.records.push((*session, watched.path.clone(), poll));
        };
        if checks_files {
            for (session, watched) in &state.records {
                add(session, watched);
            }
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
    fn check(&self, path: &Path, poll: Check, seen: &mut Seen) -> Option<Known> {
        if let Check::Compare(stamp) = poll {
            seen.count(|counts| counts.stamps += 1);
            if stamp == Stamp::of(path) {
                return None;
            }
        }
        seen.count(|counts| counts.reads += 1);
        let now = SystemClock.wall();
        let Some(found) = Found::read(path, self.group).ok()? else {
            return Some(Known::default());
        };
        // The record of another session may be mended, too.
        if !found.belongs_at(path) {
            return None;
        }
        let holder = found.candidate().and_then(|owner| {
            seen.count(|counts| counts.proofs += 1);
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
                let file = liveness::file_id(&proof)?;
                Some(Holder::IsAlive(proof, file))
            }
            Liveness::Over => Some(Holder::IsDead),
            Liveness::Unknown => None,
        }
    }

    /// `known` is `None` if the record polls the same; a waiter that came since may have seen another one.
    fn has_looked_at(&self, session: &Digest, known: Option<Known>, before: u64) {
        let mut state = self.state();
        if let Some(watched) = state.records.get_mut(session) {
            watched.known = known.or_else(|| watched.known.take());
            watched.serve(before);
        }
    }

    /// Of the holders whose proofs are names of a file, until one of them is alive.
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
            seen.count(|counts| counts.proofs += 1);
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
    /// Whether the files are to be checked.
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

    fn count(&mut self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts);
    }
}
