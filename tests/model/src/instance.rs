//! One process: what its session holds, and how far its rotations are. A step is one call of the store or of the
//! server, with everything that the instance computes up to the next call.

use crate::row::{By, Held, Mark, Name, Row, Token};
use crate::server::Answer;

/// The part of `State` and `Session` that rotations see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance {
    /// The number of this life of the process; `None` while the process is down.
    pub life: Option<u8>,
    pub held: Option<Held>,
    pub spare: Option<Held>,
    pub next_number: u8,
    pub sign_ins: u8,
    /// Leases that the instance attempted, and under which it sent nothing.
    pub unsent: Vec<Name>,
    /// Whether the instance knows that its machine has slept since the first of these attempts. A copy knows that, and
    /// the leases may belong to the original.
    pub slept: bool,
    /// The lease whose request has ended with an unclear answer.
    pub unclear: Option<UnclearRequest>,
    /// For how many more ticks the instance sends nothing after a failure of its own.
    pub pause: u8,
    pub logout_stage: Option<LogoutStage>,
    /// The rotation that callers wait for, and the rotations without a waiter.
    pub rotations: Vec<Rotation>,
    /// The user's requests, in order.
    pub chores: Vec<Chore>,
    /// How often callers may still ask the instance for a new pair.
    pub demands: u8,
    pub starts: u8,
    /// The families that the instance has logged out, a bit each.
    pub out: u16,
    /// The tokens for which the instance has read a pair or a rejection, a bit each. The instance itself does not know
    /// this set.
    pub answered: u16,
}

/// The counterpart of `state::UnclearRequest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnclearRequest {
    pub name: Name,
    pub by: By,
}

/// The progress of a logout; the counterpart of `state::LogoutStage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogoutStage {
    Asked,
    Written,
}

/// A task of `Rotation::run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rotation {
    /// The pair for which a caller requests a successor. A process that was just started takes the pair it finds for
    /// expired.
    pub seen: Option<(u8, u8)>,
    pub fresh_start: bool,
    /// The user has acted since the rotation began: the rotation goes on without a waiter.
    pub orphan: bool,
    /// The number of the lease under way, and the ticks since its first attempt.
    pub attempt: Option<(u8, u8)>,
    pub phase: Phase,
}

/// A swap to be made, and whether the store still has the record on which the swap is based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Write {
    pub next: Row,
    pub fresh: bool,
}

/// A token that the instance may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leased {
    /// The record with the lease, as the instance wrote it.
    pub record: Row,
    pub fresh: bool,
    pub name: Name,
    /// Ticks since the first attempt to lease.
    pub age: u8,
}

impl Leased {
    pub fn token(&self) -> Token {
        self.record.token.expect("a pair was leased")
    }

    pub fn lease(&self) -> &Mark {
        self.record.lease.as_ref().expect("the lease was written")
    }
}

/// A pair that the instance read from an answer and has yet to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unstored {
    pub held: Held,
    pub name: Name,
    pub base: (u8, u8),
    pub predecessor: Token,
    /// The record that the store held at the last load, and whether the store still holds it.
    pub seen: Option<Row>,
    pub fresh: bool,
    pub published: bool,
    /// Whether the pair is a spare: the instance loads the store again afterwards.
    pub spare: bool,
}

/// The next call of the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// `Rotation::load`, then `reconcile`, `judge` and `lease`.
    Reconciled,
    /// A swap after which the instance loads the store again: a forward or an end.
    Bring(Write),
    /// `wait_for_change`, for at most this many ticks.
    Wait { fresh: bool, left: u8 },
    /// `wait_for_pause_end`, for at most this many ticks.
    Pause { fresh: bool, left: u8 },
    /// `write_lease`.
    Lease { write: Write, age: u8 },
    /// `send`, until the token leaves.
    Send(Leased),
    /// The token has left.
    Sent(Leased, Option<Answer>),
    /// The swap of `unclear`.
    Doubt(Leased, Write),
    /// The swap of `apply_permit`: nothing more can be tried under this lease.
    Yield(Name, Write),
    /// `refused`, up to its next load.
    Refused(Leased),
    /// `refused`, which waits for the lease of another instance.
    RefusedWait {
        leased: Leased,
        fresh: bool,
        left: u8,
    },
    /// The swap of `refused`.
    Reject(Leased, Write),
    /// `persist`.
    Commit(Unstored),
    /// `release`, with a pause after it if the attempt has failed.
    Release {
        leased: Leased,
        tried: bool,
        failed: bool,
    },
    /// `release_unclear`, up to its load.
    ReleaseUnclear,
    /// The swap of `release_unclear`.
    ReleaseUnclearSwap(Name, Write),
    /// `logout::clear`.
    Clear(Write),
}

/// The actions of the user: `log_out` and `replace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chore {
    Leave {
        held: Option<Held>,
        spare: Option<Held>,
    },
    LeaveSwap {
        held: Option<Held>,
        spare: Option<Held>,
        write: Write,
    },
    Clear(Write),
    /// `left` is whether the user has logged out since.
    Replace {
        token: Token,
        left: bool,
    },
    /// `behind` is the pair of a session that the user has logged out. The swap removes that pair from the store.
    ReplaceSwap {
        token: Token,
        left: bool,
        behind: Option<Token>,
        write: Write,
    },
}

impl Instance {
    pub fn new(held: Option<Held>, demands: u8) -> Self {
        Self {
            life: Some(0),
            held,
            spare: None,
            next_number: 1,
            sign_ins: held.map_or(0, |held| held.sign_ins),
            unsent: Vec::new(),
            slept: false,
            unclear: None,
            pause: 0,
            logout_stage: None,
            rotations: Vec::new(),
            chores: Vec::new(),
            demands,
            starts: 1,
            out: 0,
            answered: 0,
        }
    }

    /// Whether a caller waits for a rotation.
    pub fn waits(&self) -> bool {
        self.rotations.iter().any(|rotation| !rotation.orphan)
    }

    /// `State::next_epoch`.
    pub fn turn(&mut self) {
        for rotation in &mut self.rotations {
            rotation.orphan = true;
        }
        self.unclear = None;
    }

    /// `State::attempted`.
    pub fn attempted(&mut self, lease: Name) {
        if self.unsent.is_empty() {
            self.slept = false;
        }
        if !self.unsent.contains(&lease) {
            self.unsent.push(lease);
        }
    }

    /// `State::sending`.
    pub fn sending(&mut self) {
        self.unsent.clear();
        self.unclear = None;
    }

    /// `State::forget_lease`.
    pub fn forget_lease(&mut self, lease: Name) {
        self.unsent.retain(|attempted| *attempted != lease);
        self.unclear.take_if(|unclear| unclear.name == lease);
    }

    /// `State::saw`.
    pub fn saw(&mut self, row: &Row) {
        self.next_number = self.next_number.max(row.next_number);
        self.sign_ins = self.sign_ins.max(row.sign_ins);
    }

    /// Whether `State::hold` takes a pair.
    pub fn may_hold(&self) -> bool {
        self.logout_stage != Some(LogoutStage::Asked)
    }

    /// `State::begin`.
    pub fn begin(&mut self, held: Held) {
        self.next_number = self.next_number.max(held.number + 1);
        self.sign_ins = self.sign_ins.max(held.sign_ins);
        self.pause = 0;
        self.spare.take_if(|spare| spare.family != held.family);
        self.held = Some(held);
        self.logout_stage = None;
    }

    /// `State::set_end` with a logout.
    pub fn end_logged_out(&mut self) {
        self.held = None;
        self.spare = None;
    }

    /// Every pending swap finds the store changed.
    pub fn store_changed(&mut self) {
        for rotation in &mut self.rotations {
            rotation.phase.store_changed();
        }
        for write in self.chores.iter_mut().filter_map(Chore::write) {
            write.fresh = false;
        }
    }

    pub fn tick(&mut self, age: &impl Fn(&mut Row), window: u8) {
        self.each_row(&mut |row| age(row));
        self.pause = self.pause.saturating_sub(1);
        for rotation in &mut self.rotations {
            if let Some((_, since)) = &mut rotation.attempt {
                *since = (*since + 1).min(window);
            }
            rotation.phase.tick(window);
        }
    }
}

impl Chore {
    /// The swap that the task makes next.
    pub(crate) fn write(&mut self) -> Option<&mut Write> {
        match self {
            Self::LeaveSwap { write, .. }
            | Self::Clear(write)
            | Self::ReplaceSwap { write, .. } => Some(write),
            Self::Leave { .. } | Self::Replace { .. } => None,
        }
    }
}

impl Phase {
    /// The swap that the rotation makes next.
    pub(crate) fn write(&mut self) -> Option<&mut Write> {
        match self {
            Self::Bring(write)
            | Self::Lease { write, .. }
            | Self::Yield(_, write)
            | Self::ReleaseUnclearSwap(_, write)
            | Self::Clear(write)
            | Self::Doubt(_, write)
            | Self::Reject(_, write) => Some(write),
            _ => None,
        }
    }

    /// The token that the rotation may send or has sent.
    pub(crate) fn leased(&mut self) -> Option<&mut Leased> {
        match self {
            Self::Send(leased)
            | Self::Sent(leased, _)
            | Self::Doubt(leased, _)
            | Self::Refused(leased)
            | Self::RefusedWait { leased, .. }
            | Self::Reject(leased, _)
            | Self::Release { leased, .. } => Some(leased),
            _ => None,
        }
    }

    fn store_changed(&mut self) {
        if let Some(write) = self.write() {
            write.fresh = false;
        }
        match self {
            // Without an effect from here on, the time that was left would only tell states apart.
            Self::Wait { fresh, left }
            | Self::Pause { fresh, left }
            | Self::RefusedWait { fresh, left, .. } => (*fresh, *left) = (false, 0),
            Self::Commit(unstored) => unstored.fresh = false,
            Self::Refused(_) => {}
            _ => {
                if let Some(leased) = self.leased() {
                    leased.fresh = false;
                }
            }
        }
    }

    fn tick(&mut self, window: u8) {
        match self {
            Self::Lease { age, .. } => *age = (*age + 1).min(window),
            Self::Wait { left, .. } | Self::Pause { left, .. } | Self::RefusedWait { left, .. } => {
                *left = left.saturating_sub(1);
            }
            _ => {}
        }
        if let Some(leased) = self.leased() {
            leased.age = (leased.age + 1).min(window);
        }
    }
}
