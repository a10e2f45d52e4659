//! What must hold, what must be possible, and the notes from which both are judged. They are taken where
//! something happens, with the server's truth at hand, and are no part of what an instance knows.

use stateright::Property;

use crate::commit::is_live;
use crate::config::{Config, Resend};
use crate::instance::{Instance, Leased, Phase, Rotation};
use crate::row::{Held, Mark, Name, Row, Status, Token};
use crate::server::{Answer, Life, Reuse, descends};
use crate::symmetry::LIVES;
use crate::world::{Turn, World};

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A token that may be spent was sent as if it was not.
    DoubleSpend,
    /// It was sent again where the profile does not permit that.
    Unpermitted,
    /// It was sent while a request of another instance for it was out, or a lease of another instance live.
    AtATime,
    /// It was sent by an instance that had read a pair issued for it, or that it is dead.
    Answered,
    /// An older pair took the place of a newer one.
    Overwritten,
    /// The session came back after a logout.
    LogoutUndone,
    /// A lease got a number that had been there.
    NumberRestarted,
    /// A token that may be spent has no lease that says so.
    DoubtWiped,
    /// An instance took an older pair than it held.
    Backwards,
    /// The pair of a later sign-in was revoked for the sake of an earlier one.
    RevokedNewer,
    /// An instance took a session again that it has logged out of.
    LeftAdopted,
    /// A session was ended that none of the unavoidable reasons explains.
    LostWithoutCause,
}

/// Why a session may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The server's answer was read by nobody, or not stored by who did.
    Unread,
    /// A token was sent again that was spent.
    Again,
    /// The store lost a write.
    Failover,
    /// A request was handled after its client had given up.
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

    /// Flaws that a store which forgets makes possible are not counted after it did.
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

/// It is known that this request spent nothing.
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

/// The server handles a request that no instance waits for.
pub(crate) fn arrived(world: &mut World, token: Token) {
    world.cause(Cause::Late);
    world.cause(Cause::Unread);
    world.truths[usize::from(token)].silent = true;
}

/// A pair gives way to one of another sign-in.
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
    // A logout under way may leave a pair that is not revoked.
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

/// Whether the profile asks for an answer, and a request for this token had none, or the holder of its lease is silent.
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

/// The properties, in the order in which they are told.
pub(crate) fn all(config: &Config) -> Vec<Property<Config>> {
    let mut all = vec![
        Property::<Config>::always("no token is spent twice", |_, world: &World| {
            !world.has(Flaw::DoubleSpend)
        }),
        Property::<Config>::always(
            "sent again only as the profile permits",
            |_, world: &World| !world.has(Flaw::Unpermitted),
        ),
        Property::<Config>::always("one instance at a time sends it", |_, world: &World| {
            !world.has(Flaw::AtATime)
        }),
        Property::<Config>::always("nobody sends it after its answer", |_, world: &World| {
            !world.has(Flaw::Answered)
        }),
        Property::<Config>::always("no newer pair is overwritten", |_, world: &World| {
            !world.has(Flaw::Overwritten)
        }),
        Property::<Config>::always("a logout is not undone", |_, world: &World| {
            !world.has(Flaw::LogoutUndone)
        }),
        Property::<Config>::always("lease numbers never restart", |_, world: &World| {
            !world.has(Flaw::NumberRestarted)
        }),
        Property::<Config>::always("a doubt is never wiped", |_, world: &World| {
            !world.has(Flaw::DoubtWiped)
        }),
        Property::<Config>::always("nobody goes back to an older pair", |_, world: &World| {
            !world.has(Flaw::Backwards)
        }),
        Property::<Config>::always("no newer sign-in gives way", |_, world: &World| {
            !world.has(Flaw::RevokedNewer)
        }),
        Property::<Config>::always("what was left is not taken again", |_, world: &World| {
            !world.has(Flaw::LeftAdopted)
        }),
        Property::<Config>::always("no session is lost without cause", |_, world: &World| {
            !world.has(Flaw::LostWithoutCause)
        }),
        Property::<Config>::always("nobody waits for good", |config, world| {
            !config.is_stuck(world)
        }),
        Property::<Config>::always(
            "what was read is stored in the end",
            |config, world: &World| {
                // A token that is sent again may kill what another instance has committed, or is about to.
                let kills = matches!(config.server.reuse, Reuse::KillsFamily | Reuse::LastWins);
                let is_again = world.knows(Cause::Again) || world.knows(Cause::Late);
                let is_killed = kills && is_again;
                let is_lost = world.knows(Cause::Unread) || world.knows(Cause::Failover);
                let is_excused = is_killed || is_lost || !world.is_quiet();
                is_excused || world.store.is_none_or(|row| is_good(world, &row))
            },
        ),
        Property::<Config>::always("a logout revokes the session", |_, world: &World| {
            let is_excused = world.causes != 0 || !world.is_quiet();
            is_excused || world.store.is_none_or(|row| is_revoked(world, &row))
        }),
        Property::<Config>::always(
            "nothing is sent again before a fault",
            |config, world: &World| config.faults != world.faults || is_untroubled(world),
        ),
        Property::<Config>::sometimes("a pair is committed", |_, world: &World| {
            world.store.is_some_and(|row| row.token > Some(0))
        }),
    ];
    for goal in config.goals {
        all.push(goal.property());
    }
    all
}

/// Whether the session goes on from this record, or its token is known to be in doubt.
fn is_good(world: &World, row: &Row) -> bool {
    match (row.state, row.token) {
        (Status::Active, Some(token)) => {
            is_live(&world.truths, token) || row.lease_on_current().is_some()
        }
        // Nobody has what came after it.
        (Status::Rejected(token) | Status::OutcomeUnknown(token), _) => {
            let mut live = (0..)
                .zip(&world.truths)
                .filter(|(_, it)| it.life == Life::Live);
            !live.any(|(other, _)| descends(&world.truths, other, token))
        }
        _ => true,
    }
}

/// Whether nothing of a session that was logged out can be exchanged.
fn is_revoked(world: &World, row: &Row) -> bool {
    let mut family = world.truths.iter().filter(|it| it.family == row.family);
    row.state != Status::LoggedOut || family.all(|truth| truth.life != Life::Live)
}

/// Whether every token was sent once at most, and the session goes on or was logged out.
fn is_untroubled(world: &World) -> bool {
    let state = world.store.map(|row| row.state);
    let goes_on = matches!(state, Some(Status::Active | Status::LoggedOut));
    goes_on && world.truths.iter().all(|truth| !truth.again)
}

/// What must be possible in a world, lest it be so small that nothing is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The server answers again in its grace.
    Repeated,
    /// A token that is sent again saves the session.
    AgainSaves,
    /// A token that is sent again loses it.
    AgainLoses,
    /// The holder of a lease sends again, without any other having been there.
    HolderAgain,
    /// An instance waits for the end of another's pause.
    Paused,
    /// A lease whose request is over is let go.
    LetGo,
    /// A late request loses the session.
    LateLoses,
    OutcomeUnknown,
    Spare,
    Forward,
    LoggedOut,
    SignedIn,
    SecondPair,
    Retaken,
}

impl Goal {
    fn property(self) -> Property<Config> {
        match self {
            Self::Repeated => {
                Property::sometimes("the server answers again", |_, world: &World| {
                    let is_stored = child_is_stored(world, |truth| truth.again);
                    let parent = world
                        .token()
                        .and_then(|token| world.truths[usize::from(token)].parent);
                    let siblings = world.truths.iter().filter(|it| it.parent == parent);
                    is_stored && siblings.count() > 1
                })
            }
            Self::AgainSaves => {
                Property::sometimes("a second sending saves the session", |_, world: &World| {
                    child_is_stored(world, |truth| truth.again)
                })
            }
            Self::AgainLoses => {
                Property::sometimes("a second sending loses the session", |_, world: &World| {
                    world.knows(Cause::Again) && is_lost(world)
                })
            }
            Self::LateLoses => {
                Property::sometimes("a late request loses the session", |_, world: &World| {
                    world.knows(Cause::Late) && is_lost(world)
                })
            }
            Self::HolderAgain => Property::sometimes("a holder sends again", |_, world: &World| {
                leases(world).any(|(old, _)| {
                    let is_its_own =
                        |it: &Instance| it.unclear.is_some_and(|unclear| unclear.name == old.name);
                    !old.released && world.instances.iter().any(is_its_own)
                })
            }),
            Self::Paused => Property::sometimes(
                "an instance waits for another's pause",
                |_, world: &World| {
                    let is_pausing = |it: &Rotation| matches!(it.phase, Phase::Pause { .. });
                    world.instances.iter().any(|instance| {
                        instance.unclear.is_none() && instance.rotations.iter().any(is_pausing)
                    })
                },
            ),
            Self::LetGo => Property::sometimes("a lease is let go", |_, world: &World| {
                let lease = world.store.and_then(|row| row.lease);
                lease.is_some_and(|lease| lease.released)
            }),
            Self::OutcomeUnknown => {
                Property::sometimes("an outcome stays unknown", |_, world: &World| {
                    world
                        .store
                        .is_some_and(|row| matches!(row.state, Status::OutcomeUnknown(_)))
                })
            }
            Self::Spare => Property::sometimes("a pair is outrun and kept", |_, world: &World| {
                world
                    .instances
                    .iter()
                    .any(|instance| instance.spare.is_some())
            }),
            Self::Forward => {
                Property::sometimes("what the store lost is brought back", |_, world: &World| {
                    world.knows(Cause::Failover)
                        && world.instances.iter().any(|it: &Instance| {
                            it.rotations.iter().any(|rotation| match rotation.phase {
                                Phase::Bring(write) => write.next.token > world.token(),
                                _ => false,
                            })
                        })
                })
            }
            Self::Retaken => Property::sometimes(
                "a doubtful lease is found to be ours",
                |_, world: &World| {
                    leases(world).any(|(old, new)| {
                        let is_unsent = |it: &Instance| it.unsent.contains(&old.name);
                        old.doubtful && world.instances.iter().any(is_unsent) && new.doubtful
                    })
                },
            ),
            Self::LoggedOut => Property::sometimes("the user is logged out", |_, world: &World| {
                world
                    .store
                    .is_some_and(|row| row.state == Status::LoggedOut)
            }),
            Self::SignedIn => {
                Property::sometimes("the user is signed in anew", |_, world: &World| {
                    world.store.is_some_and(|row| row.family > 0)
                })
            }
            Self::SecondPair => {
                Property::sometimes("two rotations follow each other", |_, world: &World| {
                    world
                        .store
                        .is_some_and(|row| row.version > 2 && row.family == 0)
                })
            }
        }
    }
}

/// Whether nothing goes on, and the session does not either.
fn is_lost(world: &World) -> bool {
    world.is_quiet()
        && world.store.is_some_and(|row| match row.state {
            Status::Active => row
                .token
                .is_some_and(|token| !is_live(&world.truths, token)),
            Status::Rejected(_) | Status::OutcomeUnknown(_) => true,
            Status::LoggedOut => false,
        })
}

/// The leases that are about to be written in place of one that the store has, which comes first.
fn leases(world: &World) -> impl Iterator<Item = (Mark, Mark)> {
    let old = world.store.and_then(|row| row.lease);
    let rotations = world.instances.iter().flat_map(|it| &it.rotations);
    rotations.filter_map(move |rotation| match rotation.phase {
        Phase::Lease { write, .. } if write.fresh => old.zip(write.next.lease),
        _ => None,
    })
}

fn child_is_stored(world: &World, is_parent: impl Fn(&crate::server::Truth) -> bool) -> bool {
    world
        .store
        .filter(|row| row.state == Status::Active)
        .and_then(|row| row.token)
        .filter(|token| is_live(&world.truths, *token))
        .and_then(|token| world.truths[usize::from(token)].parent)
        .is_some_and(|parent| is_parent(&world.truths[usize::from(parent)]))
}
