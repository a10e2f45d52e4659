//! What must be possible in a world. Without these goals a property could hold because nothing happens.

use serde::Deserialize;
use stateright::Property;

use crate::commit::is_live;
use crate::config::Config;
use crate::instance::{Instance, Phase, Rotation};
use crate::notes::Cause;
use crate::row::{Mark, Row, Status};
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
    Released,
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
        let (name, is_reached): (_, fn(&Config, &World) -> bool) = match self {
            Self::Repeated => ("the server answers a token again", |_, world| {
                let parent = world.token().and_then(|token| world.truth(token).parent);
                let siblings = world.truths.iter().filter(|it| it.parent == parent);
                child_is_stored(world) && siblings.count() > 1
            }),
            Self::AgainSaves => ("a second sending saves the session", |_, world| {
                child_is_stored(world)
            }),
            Self::AgainLoses => ("a second sending loses the session", |_, world| {
                world.knows(Cause::Again) && is_lost(world)
            }),
            Self::LateLoses => ("a late request loses the session", |_, world| {
                world.knows(Cause::Late) && is_lost(world)
            }),
            Self::HolderAgain => ("the holder of a lease sends again", |_, world| {
                leases(world).any(|(old, _)| {
                    let is_its_own =
                        |it: &Instance| it.unclear.is_some_and(|unclear| unclear.name == old.name);
                    !old.released && world.instances.iter().any(is_its_own)
                })
            }),
            Self::Paused => ("an instance waits for another's pause", |_, world| {
                let is_pausing = |it: &Rotation| matches!(it.phase, Phase::Pause { .. });
                world.instances.iter().any(|instance| {
                    instance.unclear.is_none() && instance.rotations.iter().any(is_pausing)
                })
            }),
            Self::Released => (
                "a holder releases a lease whose request has ended",
                |_, world| {
                    let lease = world.store.and_then(|row| row.lease);
                    lease.is_some_and(|lease| lease.released)
                },
            ),
            Self::OutcomeUnknown => ("an outcome stays unknown", |_, world| {
                let is_unknown = |row: Row| matches!(row.state, Status::OutcomeUnknown(_));
                world.store.is_some_and(is_unknown)
            }),
            Self::Spare => (
                "an instance keeps a pair that another one outran",
                |_, world| world.instances.iter().any(|it| it.spare.is_some()),
            ),
            Self::Forward => (
                "an instance writes a pair that the store lost",
                |_, world| {
                    let writes_newer = |it: &Rotation| match it.phase {
                        Phase::Bring(write) => write.next.token > world.token(),
                        _ => false,
                    };
                    let mut rotations = world.instances.iter().flat_map(|it| &it.rotations);
                    world.knows(Cause::Failover) && rotations.any(writes_newer)
                },
            ),
            Self::Retaken => (
                "an instance finds that a doubtful lease is its own",
                |_, world| {
                    leases(world).any(|(old, new)| {
                        let is_unsent = |it: &Instance| it.unsent.contains(&old.name);
                        old.doubtful && world.instances.iter().any(is_unsent) && new.doubtful
                    })
                },
            ),
            Self::LoggedOut => ("the user is logged out", |_, world| {
                world
                    .store
                    .is_some_and(|row| row.state == Status::LoggedOut)
            }),
            Self::SignedIn => ("the user is signed in anew", |_, world| {
                world.store.is_some_and(|row| row.family > 0)
            }),
            Self::SecondPair => ("two rotations follow each other", |_, world| {
                world
                    .store
                    .is_some_and(|row| row.version > 2 && row.family == 0)
            }),
        };
        Property::sometimes(name, is_reached)
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

/// Whether the store holds a live pair that was issued for a token that was sent again.
fn child_is_stored(world: &World) -> bool {
    let row = world.store.filter(|row| row.state == Status::Active);
    let token = row.and_then(|row| row.token);
    let token = token.filter(|token| is_live(&world.truths, *token));
    let parent = token.and_then(|token| world.truth(token).parent);
    parent.is_some_and(|parent| world.truth(parent).again)
}
