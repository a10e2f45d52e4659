//! The notes from which the properties are judged. A note is taken where something happens, with the server's truth at
//! hand. Instances never see a note.

use crate::config::{Config, Resend};
use crate::instance::{Leased, Phase, Rotation};
use crate::row::{Held, Mark, Name, Row, Status, Token};
use crate::server::{Answer, Life, descends};
use crate::symmetry::LIVES;
use crate::turn::Turn;
use crate::world::World;

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// An instance sent a token that may be spent as if it was unsent.
    DoubleSpend,
    /// An instance sent a token again although the profile does not permit that.
    Unpermitted,
    /// An instance sent a token while a request of another instance for the token was out, or a lease of another
    /// instance was live.
    AtATime,
    /// An instance sent a token although it had read a pair issued for the token, or that the token is dead.
    Answered,
    /// An older pair replaced a newer one.
    Overwritten,
    /// The session came back after a logout.
    LogoutUndone,
    /// A lease got a number that an earlier lease had.
    NumberRestarted,
    /// A token that may be spent has no doubtful lease.
    DoubtWiped,
    /// An instance took a pair that is older than the pair it held.
    Backwards,
    /// An instance revoked the pair of a later sign-in because of an earlier sign-in.
    RevokedNewer,
    /// An instance adopted a session that it has logged out.
    LeftAdopted,
    /// A session ended although none of the unavoidable causes occurred.
    LostWithoutCause,
}

/// Why a session may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No instance read the server's answer, or the instance that read the answer did not store the pair.
    Unread,
    /// An instance sent a spent token again.
    Again,
    /// The store lost a write.
    Failover,
    /// The server handled a request after its client had given up.
    Late,
}

impl World {
    fn cause(&mut self, cause: Cause) {
        self.causes |= 1 << cause as u8;
    }

    pub fn has(&self, flaw: Flaw) -> bool {
        self.flaws & (1 << flaw as u16) != 0
    }

    pub fn knows(&self, cause: Cause) -> bool {
        self.causes & (1 << cause as u8) != 0
    }

    /// Records a flaw, unless the store has lost a write: such a store makes the flaw possible.
    fn unless_failed_over(&mut self, flaw: Flaw) {
        if !self.knows(Cause::Failover) {
            self.flaw(flaw);
        }
    }
}

/// An instance sends a token under this lease.
pub(crate) fn sent(world: &mut World, config: &Config, at: usize, leased: &Leased) {
    let (token, lease) = (leased.token(), leased.lease());
    let is_out =
        |it: &Rotation| matches!(it.phase, Phase::Sent(other, None) if other.token() == token);
    let mut others = (0..)
        .zip(&world.instances)
        .filter(|(other, _)| *other != at);
    let is_alone = !others.any(|(_, it)| it.life.is_some() && it.rotations.iter().any(is_out));
    let is_anothers = |mark: &Mark| mark.name != leased.name && owner(mark.name) != at;
    let is_live = |mark: &Mark| !mark.released && mark.age < mark.duration;
    let current = world.store.as_ref().and_then(Row::lease_on_current);
    let is_taken = world.token() == Some(token)
        && current.is_some_and(|mark| is_anothers(mark) && is_live(mark))
        && !config.death_shows;
    if !is_alone || is_taken {
        world.unless_failed_over(Flaw::AtATime);
    }
    if world.instances[at].answered & (1 << token) != 0 {
        world.unless_failed_over(Flaw::Answered);
    }
    let truth = &mut world.truths[usize::from(token)];
    let before = *truth;
    truth.sent = true;
    if !lease.doubtful {
        if before.sent || before.life == Life::Spent {
            world.unless_failed_over(Flaw::DoubleSpend);
        }
        return;
    }
    truth.again = true;
    let is_permitted = match config.resend {
        Resend::Always => true,
        Resend::WhenUnavailable => !before.silent,
        Resend::Never => false,
    };
    if before.sent && !is_permitted {
        world.unless_failed_over(Flaw::Unpermitted);
    }
    if before.life == Life::Spent {
        world.cause(Cause::Again);
    }
}

fn owner(lease: Name) -> usize {
    usize::from(lease.owner / LIVES)
}

/// The instance knows that this request spent nothing.
pub(crate) fn not_sent(world: &mut World, token: Token, lease: &Mark) {
    if !lease.doubtful {
        world.truths[usize::from(token)].sent = false;
    }
}

/// A request ends in silence.
pub(crate) fn unread(turn: &mut Turn<'_>) {
    if let Phase::Sent(leased, _) = turn.rotation().phase {
        turn.world.truths[usize::from(leased.token())].silent = true;
    }
    unavailable(turn);
}

/// An answer of the server gets lost on the way.
pub(crate) fn unavailable(turn: &mut Turn<'_>) {
    if let Phase::Sent(_, Some(Answer::Issued(_))) = turn.rotation().phase {
        turn.world.cause(Cause::Unread);
    }
}

/// The server handles a request for whose answer no instance waits.
pub(crate) fn arrived(world: &mut World, token: Token) {
    world.cause(Cause::Late);
    world.cause(Cause::Unread);
    world.truths[usize::from(token)].silent = true;
}

/// A pair gives way to a pair of another sign-in.
pub(crate) fn superseded(world: &mut World, row: Option<Row>, ours: Held) {
    if row.is_some_and(|row| world.nth(row.family) < world.nth(ours.family)) {
        world.flaw(Flaw::RevokedNewer);
    }
}

/// An instance dies.
pub(crate) fn crashed(world: &mut World, at: usize) {
    let instance = &world.instances[at];
    let sent = instance.rotations.iter().filter_map(|it| match it.phase {
        Phase::Sent(leased, _) => Some(usize::from(leased.token())),
        _ => None,
    });
    for token in sent {
        world.truths[token].silent = true;
    }
    let has_unstored = instance.rotations.iter().any(|rotation| {
        matches!(
            rotation.phase,
            Phase::Sent(_, Some(Answer::Issued(_))) | Phase::Commit(_)
        )
    });
    // A logout under way may leave a pair unrevoked.
    if has_unstored || !instance.chores.is_empty() {
        world.cause(Cause::Unread);
    }
}

pub(crate) fn failed_over(world: &mut World) {
    world.cause(Cause::Failover);
}

/// An instance takes a pair.
pub(crate) fn held(world: &mut World, at: usize, new: Held) {
    let instance = &world.instances[at];
    let old = instance.held;
    if instance.out & (1 << new.family) != 0 {
        world.flaw(Flaw::LeftAdopted);
    }
    let Some(old) = old else { return };
    let is_older = descends(&world.truths, old.token, new.token);
    if is_older || world.nth(new.family) < world.nth(old.family) {
        world.flaw(Flaw::Backwards);
    }
}

/// The store takes a record.
pub(crate) fn replaced(world: &mut World, config: &Config, next: &Row) {
    if let Some(token) = next.token.filter(|_| next.state == Status::Active) {
        let may_be_spent = world.truths[usize::from(token)].sent;
        if may_be_spent && next.lease_on_current().is_none() {
            world.unless_failed_over(Flaw::DoubtWiped);
        }
    }
    let Some(old) = world.store else { return };
    let lease = |row: &Row| row.lease.map(|lease| lease.name);
    let is_new_lease = lease(next).is_some() && lease(next) != lease(&old);
    if next.next_number < old.next_number
        || next.committed_number < old.committed_number
        || is_new_lease && lease(next).is_some_and(|lease| lease.number != old.next_number)
        || lease(next).is_some_and(|lease| lease.number >= next.next_number)
    {
        world.unless_failed_over(Flaw::NumberRestarted);
    }
    let is_early = |old: &Mark, new: &Mark| {
        let is_anothers = owner(old.name) != owner(new.name) && old.token == new.token;
        is_anothers && !old.released && old.age < old.duration
    };
    // Clones own each other's leases.
    if let (Some(old), Some(new)) = (&old.lease, &next.lease)
        && is_early(old, new)
        && !config.death_shows
        && !config.clones
    {
        world.unless_failed_over(Flaw::AtATime);
    }
    if old.state == Status::LoggedOut
        && next.state != Status::LoggedOut
        && next.family == old.family
    {
        world.unless_failed_over(Flaw::LogoutUndone);
    }
    let is_older = match (next.token, old.token) {
        (Some(new), Some(old)) => descends(&world.truths, old, new),
        (None, Some(_)) => old.state != Status::LoggedOut,
        (_, None) => false,
    };
    let family = |token: Token| world.truths[usize::from(token)].family;
    let is_foreign = next.token.is_some_and(|token| family(token) != next.family);
    if is_foreign || is_older || world.nth(next.family) < world.nth(old.family) {
        world.unless_failed_over(Flaw::Overwritten);
    }
    let has_reason = match next.state {
        _ if next.state == old.state => true,
        Status::Active | Status::LoggedOut => true,
        Status::Rejected(_) => world.knows(Cause::Again) || world.knows(Cause::Late),
        Status::OutcomeUnknown(token) => is_unknown(world, config, &old, token),
    };
    if !has_reason {
        world.unless_failed_over(Flaw::LostWithoutCause);
    }
}

/// Whether the profile requires an answer, and either a request for this token had none or the holder of its lease is
/// silent.
fn is_unknown(world: &World, config: &Config, old: &Row, token: Token) -> bool {
    let Some(lease) = old.lease_on_current() else {
        return false;
    };
    match config.resend {
        Resend::Always => false,
        Resend::WhenUnavailable => {
            let is_stale = !lease.released && lease.age >= lease.duration;
            world.truths[usize::from(token)].silent || is_stale
        }
        Resend::Never => true,
    }
}
