//! What must be possible in a world. Without these goals a property could hold because nothing happens.

use serde::Deserialize;
use stateright::Property;

use crate::commit::is_live;
use crate::config::Config;
use crate::instance::{Instance, Phase, Rotation};
use crate::notes::Cause;
use crate::row::{Mark, Status};
use crate::world::World;

/// An event that must be possible in a world. A world without it is too small to show anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The server answers a token again within its grace.
    Repeated,
    /// A second sending of a token saves the session.
    AgainSaves,
    /// A second sending of a token loses the session.
    AgainLoses,
    /// The holder of a lease sends again, without another instance in between.
    HolderAgain,
    /// An instance waits for the end of another instance's pause.
    Paused,
    /// The holder releases a lease whose request has ended.
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
    pub(crate) fn property(self) -> Property<Config> {
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

/// Whether nothing is under way, and the session cannot go on.
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

/// The leases that instances are about to write over a lease in the store, as pairs of the stored and the new lease.
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
