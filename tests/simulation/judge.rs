//! What must be true at the end of a run, when all faults are healed and enough time has passed.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{EndReason, Error, Token};
use tokio::time::sleep;

use crate::callers::served;
use crate::observer::{State, Unaccounted};
use crate::scenario::{Resend, Server, Strategy, seconds};
use crate::world::{Node, World};

/// Enough rounds for the longest pause, and for leases that go stale one after another.
const ROUNDS: usize = 40;

/// An instance that knows of an end does not load the record again before this pause is over.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What an instance reports at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Last {
    Served,
    Ended(EndReason),
    Else(String),
}

pub(crate) async fn judge(world: &Arc<World>) {
    world.heal();
    ask_all(world).await;
    // Nothing fails any more, so the next rotation must succeed too.
    if world.scenario.server != Server::ShortRefresh {
        sleep(seconds(world.scenario.access_ttl + 1)).await;
    }
    let last = ask_all(world).await;
    world.observer.count_unread();
    ends(world, &last);
    left(world).await;
}

async fn ask_all(world: &World) -> Vec<(Node, Last)> {
    let mut last = Vec::new();
    for round in 0..ROUNDS {
        last.clear();
        for node in world.nodes() {
            world.observer.asked(node.id.node);
            let answer = node.manager.token().await;
            let said = said(world, &node, &answer);
            world.note(|| format!("{} in the end: {said:?}", node.id));
            last.push((node, said));
        }
        let is_final = |(_, said): &(Node, Last)| !matches!(said, Last::Else(_));
        // An instance that learns of a newer state reports that state after its next load.
        let agree = last.windows(2).all(|two| two[0].1 == two[1].1);
        let agree = agree || !world.scenario.coordinated && round > 1;
        // A refused caller gets the end that the instance knows. The instance loads the store meanwhile.
        let waited = seconds(world.scenario.longest_lease()) * u32::try_from(round).unwrap();
        let is_sure =
            waited > 2 * LONGEST_PAUSE || last.iter().all(|(_, said)| *said == Last::Served);
        if last.iter().all(is_final) && agree && is_sure {
            break;
        }
        sleep(seconds(world.scenario.longest_lease())).await;
    }
    last
}

fn said(world: &World, node: &Node, answer: &Result<Token, Error>) -> Last {
    match answer {
        Ok(token) => {
            served(world, node, token);
            Last::Served
        }
        Err(Error::Ended { reason, .. }) => Last::Ended(reason.clone()),
        Err(error) => Last::Else(format!(
            "{error}: {:?}",
            std::error::Error::source(error).map(ToString::to_string)
        )),
    }
}

/// Either every instance gets a token, or every instance reports the same end. The truth must not contradict the end.
fn ends(world: &World, last: &[(Node, Last)]) {
    let observer = &world.observer;
    let scenario = &world.scenario;
    for (node, said) in last {
        if let Last::Else(error) = said {
            observer.violation(format!(
                "O5 {} gets neither a token nor an end: {error}",
                node.id
            ));
        }
    }
    let is_served = |(_, said): &&(Node, Last)| *said == Last::Served;
    let served = last.iter().filter(is_served).count();
    let is_alone = scenario.nodes.len() == 1;
    if served != 0 && served != last.len() && scenario.coordinated {
        let said: Vec<_> = last.iter().map(|(node, said)| (node.id, said)).collect();
        observer.violation(format!("O5 instances disagree: {said:?}"));
    }
    let Some(record) = observer.record() else {
        return;
    };
    let is_live = |refresh: &str| {
        world.server.is_live_refresh(refresh) && !observer.log().is_refused(refresh)
    };
    let is_live = record.refresh().is_some_and(is_live);
    for (node, said) in last {
        let Last::Ended(reason) = said else { continue };
        match reason {
            EndReason::LoggedOut => {
                if observer.log().logouts == 0 {
                    observer.violation(format!("O5 {} was never logged out", node.id));
                }
                observer.cause("end: logged out");
            }
            EndReason::Idle => {
                if !scenario.nodes.contains(&Strategy::EndsIdle) {
                    observer.violation(format!("O5 {} is not idle", node.id));
                }
                observer.cause("end: idle");
            }
            reason => {
                // The client counts the lifetime from its request, and the server from its answer.
                let is_live = is_live && scenario.server != Server::ShortRefresh;
                let can_go_on = is_live && record.state == State::Active;
                if can_go_on || scenario.sign_in {
                    observer.violation(format!(
                        "O5 {} ends ({reason}) although the session could go on",
                        node.id
                    ));
                }
                let gives_up =
                    *reason == EndReason::OutcomeUnknown && scenario.resend != Resend::Always;
                if is_live && !can_go_on && gives_up {
                    observer.cause("loss: an unspent token was given up");
                } else if is_live && !can_go_on && *reason != EndReason::Expired {
                    observer.violation(format!("O5 {} gave up a live token: {reason}", node.id));
                }
                if record
                    .refresh()
                    .is_some_and(|it| observer.log().is_revoked(it))
                {
                    observer.cause("a logout that was revoked and not stored");
                }
                let may_expire = scenario.server == Server::ShortRefresh;
                let is_rivalry = !scenario.coordinated && !is_alone;
                if may_expire || is_rivalry || observer.log().has_cause() {
                    observer.cause(match reason {
                        EndReason::Expired => "loss: expired",
                        EndReason::Rejected(_) => "loss: rejected",
                        _ => "loss: outcome unknown",
                    });
                } else {
                    observer.violation(format!("O5 {} ends ({reason}) without a cause", node.id));
                }
            }
        }
    }
}

/// Every pair that an instance read is stored, spent, revoked or outrun by a sibling. A pair may be lost with its
/// instance, or by a store that lost writes.
pub(crate) fn losses(world: &World) {
    let observer = &world.observer;
    let lost: Vec<_> = observer.log().unaccounted().collect();
    for Unaccounted { name, by, how } in lost {
        match how {
            Some(cause) => observer.cause(cause),
            None => observer.violation(format!("O2 {by} read r{name}, and lost it")),
        }
    }
}

/// Longer than the pause between two attempts to revoke a pair, in seconds.
const UNTIL_REVOKED: u64 = 100;

/// After a logout the tokens of the session are dead at the server.
async fn left(world: &World) {
    let observer = &world.observer;
    let live = || {
        let is_live = |token: &str| world.server.is_live_refresh(token);
        observer.log().live_after_logout(is_live)
    };
    if !live().is_empty() {
        sleep(seconds(UNTIL_REVOKED)).await;
    }
    for name in live() {
        observer.violation(format!("O6 r{name} lives on after the logout"));
    }
}
