//! What must hold, what must be possible, and the notes from which both are judged. They are taken where
//! something happens, with the server's truth at hand, and are no part of what an instance knows.

use stateright::Property;

use crate::config::Config;
use crate::instance::{Instance, Phase};
use crate::land::is_live;
use crate::row::{Held, Mark, Row, Status, Token};
use crate::server::{Answer, Life, Reuse, descends};
use crate::world::World;

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A token that may be spent was sent as if it was not.
    DoubleSpend,
    /// It was sent again more often than the profile permits, after its replay window, or as a last resort before
    /// the quarantine was over.
    Unpermitted,
    /// An older pair took the place of a newer one.
    Overwritten,
    /// The session came back after a logout.
    LogoutUndone,
    /// A claim got a number that had been there.
    NumberRestarted,
    /// A token that may be spent has no claim that says so.
    DoubtWiped,
    /// An instance took an older pair than it held.
    Backwards,
    /// A session was ended that none of the unavoidable reasons explains.
    LostWithoutCause,
}

/// Why a session may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The server's answer was read by nobody, or not stored by who did.
    Unread,
    /// A last resort sent a token that was spent: whoever had spent it was silent for a quarantine.
    Resort,
    /// The store lost a write.
    Failover,
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

/// A token goes out under this claim.
pub(crate) fn sent(world: &mut World, config: &Config, token: Token, claim: &Mark) {
    let truth = &mut world.truths[usize::from(token)];
    let before = truth.sent;
    truth.sent.get_or_insert(0);
    if claim.doubtful.is_none() {
        if before.is_some() {
            world.unless_failed_over(Flaw::DoubleSpend);
        }
    } else if claim.resorts == 0 {
        truth.replays += 1;
        let is_late = before.is_some_and(|age| age >= config.replay_window);
        if truth.replays > 1 || is_late {
            world.unless_failed_over(Flaw::Unpermitted);
        }
    } else {
        truth.resorts += 1;
        let (resorts, is_spent) = (truth.resorts, truth.life == Life::Spent);
        if resorts > config.last_resorts {
            world.unless_failed_over(Flaw::Unpermitted);
        }
        if is_spent {
            world.cause(Cause::Resort);
        }
    }
}

/// It is known that this request spent nothing.
pub(crate) fn not_sent(world: &mut World, token: Token, claim: &Mark) {
    let truth = &mut world.truths[usize::from(token)];
    if claim.doubtful.is_none() {
        truth.sent = None;
    } else if claim.resorts == 0 {
        truth.replays -= 1;
    } else {
        truth.resorts -= 1;
    }
}

pub(crate) fn lost(world: &mut World) {
    world.cause(Cause::Unread);
}

pub(crate) fn crashed(world: &mut World, at: usize) {
    let instance = &world.instances[at];
    let has_unstored = instance.rotations.iter().any(|rotation| {
        matches!(
            rotation.phase,
            Phase::Sent(_, Some(Answer::Issued(_))) | Phase::Land(_)
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
pub(crate) fn held(world: &mut World, old: Option<Held>, new: Held) {
    let Some(old) = old else { return };
    if descends(&world.truths, old.token, new.token) {
        world.flaw(Flaw::Backwards);
    }
    if new.lineage < old.lineage {
        world.unless_failed_over(Flaw::Backwards);
    }
}

/// The store takes a record.
pub(crate) fn replaced(world: &mut World, config: &Config, next: &Row) {
    if let Some(token) = next.token.filter(|_| next.state == Status::Active) {
        let may_be_spent = world.truths[usize::from(token)].sent.is_some();
        if may_be_spent && next.claim_on_current().is_none() {
            world.unless_failed_over(Flaw::DoubtWiped);
        }
    }
    let Some(old) = world.store else { return };
    let claim = |row: &Row| row.claim.map(|claim| (claim.owner, claim.number));
    let is_new_claim = claim(next).is_some() && claim(next) != claim(&old);
    if next.next_number < old.next_number
        || next.committed_number < old.committed_number
        || is_new_claim && claim(next).is_some_and(|(_, number)| number != old.next_number)
        || claim(next).is_some_and(|(_, number)| number >= next.next_number)
    {
        world.unless_failed_over(Flaw::NumberRestarted);
    }
    let is_early = |old: &Mark, new: &Mark| {
        new.resorts > old.resorts && old.age < config.quarantine << old.resorts
    };
    if let (Some(old), Some(new)) = (&old.claim, &next.claim)
        && is_early(old, new)
    {
        world.unless_failed_over(Flaw::Unpermitted);
    }
    if old.state == Status::LoggedOut
        && next.state != Status::LoggedOut
        && next.lineage == old.lineage
    {
        world.unless_failed_over(Flaw::LogoutUndone);
    }
    let is_older = match (next.token, old.token) {
        (Some(new), Some(old)) => descends(&world.truths, old, new),
        (None, Some(_)) => old.state != Status::LoggedOut,
        (_, None) => false,
    };
    if is_older || next.lineage < old.lineage {
        world.unless_failed_over(Flaw::Overwritten);
    }
    let has_reason = match next.state {
        _ if next.state == old.state => true,
        Status::Active | Status::LoggedOut => true,
        Status::Rejected(_) => world.knows(Cause::Resort),
        Status::OutcomeUnknown(_) => {
            let resorts = old.claim_on_current().map_or(0, |claim| claim.resorts);
            resorts >= config.last_resorts
        }
    };
    if !has_reason {
        world.unless_failed_over(Flaw::LostWithoutCause);
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
        Property::<Config>::always("no newer pair is overwritten", |_, world: &World| {
            !world.has(Flaw::Overwritten)
        }),
        Property::<Config>::always("a logout is not undone", |_, world: &World| {
            !world.has(Flaw::LogoutUndone)
        }),
        Property::<Config>::always("claim numbers never restart", |_, world: &World| {
            !world.has(Flaw::NumberRestarted)
        }),
        Property::<Config>::always("a doubt is never wiped", |_, world: &World| {
            !world.has(Flaw::DoubtWiped)
        }),
        Property::<Config>::always("nobody goes back to an older pair", |_, world: &World| {
            !world.has(Flaw::Backwards)
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
                // A last resort may kill what another instance has landed, or is about to.
                let kills = matches!(config.server.reuse, Reuse::KillsFamily | Reuse::LastWins);
                let is_killed = kills && world.knows(Cause::Resort);
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
        Property::<Config>::sometimes("a pair is landed", |_, world: &World| {
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
            is_live(&world.truths, token) || row.claim_on_current().is_some()
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
    let mut family = world.truths.iter().filter(|it| it.family == row.lineage);
    row.state != Status::LoggedOut || family.all(|truth| truth.life != Life::Live)
}

/// Whether every token was sent once at most, and the session goes on or was logged out.
fn is_untroubled(world: &World) -> bool {
    let state = world.store.map(|row| row.state);
    let goes_on = matches!(state, Some(Status::Active | Status::LoggedOut));
    goes_on
        && world
            .truths
            .iter()
            .all(|truth| truth.replays + truth.resorts == 0)
}

/// What must be possible in a world, lest it be so small that nothing is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    Replay,
    ResortSaves,
    ResortKills,
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
            Self::Replay => Property::sometimes("a replay brings the pair", |_, world: &World| {
                child_is_stored(world, |truth| truth.replays > 0)
            }),
            Self::ResortSaves => {
                Property::sometimes("a last resort saves the session", |_, world: &World| {
                    child_is_stored(world, |truth| truth.resorts > 0)
                })
            }
            Self::ResortKills => {
                Property::sometimes("a last resort loses the session", |_, world: &World| {
                    world.knows(Cause::Resort)
                        && world
                            .store
                            .is_some_and(|row| matches!(row.state, Status::Rejected(_)))
                })
            }
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
                "a doubtful claim is found to be ours",
                |_, world: &World| {
                    world.instances.iter().any(|instance: &Instance| {
                        instance
                            .rotations
                            .iter()
                            .any(|rotation| match rotation.phase {
                                Phase::Claim { write, .. } => {
                                    let old = world.store.and_then(|row| row.claim);
                                    let doubt = |claim: &Mark| claim.doubtful.is_some();
                                    write.fresh
                                        && old.as_ref().is_some_and(doubt)
                                        && old.map(|it| (it.owner, it.resorts))
                                            == write.next.claim.map(|it| (it.owner, it.resorts))
                                }
                                _ => false,
                            })
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
                    world.store.is_some_and(|row| row.lineage > 0)
                })
            }
            Self::SecondPair => {
                Property::sometimes("two rotations follow each other", |_, world: &World| {
                    world
                        .store
                        .is_some_and(|row| row.version > 2 && row.lineage == 0)
                })
            }
        }
    }
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
