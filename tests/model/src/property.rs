//! The properties that must hold in every state.

use stateright::Property;

use crate::commit::is_live;
use crate::config::Config;
use crate::notes::{Cause, Flaw};
use crate::row::{Row, Status};
use crate::server::{Life, Reuse, descends};
use crate::world::World;

/// The properties that no state breaks, each with the flaw that shows a violation.
macro_rules! never {
    ($($name:literal: $flaw:ident,)*) => {
        vec![$(Property::<Config>::always($name, |_, world: &World| !world.has(Flaw::$flaw))),*]
    };
}

/// The properties, in the order in which they are reported.
pub(crate) fn all(config: &Config) -> Vec<Property<Config>> {
    let mut all = never![
        "no token is spent twice": DoubleSpend,
        "a token is sent again only as the profile permits": Unpermitted,
        "one instance at a time sends a token": AtATime,
        "no token is sent after its answer": Answered,
        "no newer pair is overwritten": Overwritten,
        "a logout is not undone": LogoutUndone,
        "lease numbers never restart": NumberRestarted,
        "a token that may be spent has a doubtful lease": DoubtWiped,
        "no instance goes back to an older pair": Backwards,
        "no pair of a later sign-in is revoked for an earlier one": RevokedNewer,
        "no instance adopts a session that it has logged out": LeftAdopted,
        "no session is lost without a cause": LostWithoutCause,
    ];
    all.extend([
        Property::<Config>::always("no instance waits for ever", |config, world| {
            !config.is_stuck(world)
        }),
        Property::<Config>::always(
            "a pair that was read is stored in the end",
            |config, world: &World| {
                // A token that is sent again may kill a pair that another instance has committed or is about to commit.
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
            "no token is sent again before a fault",
            |config, world: &World| config.faults != world.faults || is_untroubled(world),
        ),
        Property::<Config>::sometimes("a pair is committed", |_, world: &World| {
            world.store.is_some_and(|row| row.token > Some(0))
        }),
    ]);
    for goal in &config.goals {
        all.push(goal.property());
    }
    all
}

/// Whether the session can go on from this record, or the record notes a doubt about its token.
fn is_good(world: &World, row: &Row) -> bool {
    match (row.state, row.token) {
        (Status::Active, Some(token)) => {
            is_live(&world.truths, token) || row.lease_on_current().is_some()
        }
        // No successor of the token is live, so an instance cannot hold one.
        (Status::Rejected(token) | Status::OutcomeUnknown(token), _) => {
            let mut live = (0..)
                .zip(&world.truths)
                .filter(|(_, it)| it.life == Life::Live);
            !live.any(|(other, _)| descends(&world.truths, other, token))
        }
        _ => true,
    }
}

/// Whether no token of a logged-out session can be exchanged.
fn is_revoked(world: &World, row: &Row) -> bool {
    let mut family = world.truths.iter().filter(|it| it.family == row.family);
    row.state != Status::LoggedOut || family.all(|truth| truth.life != Life::Live)
}

/// Whether every token was sent at most once, and the session goes on or was logged out.
fn is_untroubled(world: &World) -> bool {
    let state = world.store.map(|row| row.state);
    let goes_on = matches!(state, Some(Status::Active | Status::LoggedOut));
    goes_on && world.truths.iter().all(|truth| !truth.again)
}
