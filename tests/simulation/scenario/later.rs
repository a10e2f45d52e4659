//! Kinds of faults that came after the first ones. Each draws from a stream of its own and only adds to a scenario, so
//! that a seed keeps what it meant before: the first stream is closed, and a new kind of fault belongs here.

use super::drawn::moment;
use super::{Action, Ambush, Answer, Caller, Fault, Point, Scenario, Write};
use crate::draw::Draw;

type Kind = (&'static str, fn(&mut Draw, &mut Scenario));

/// The name of a kind is the name of its stream.
const KINDS: [Kind; 4] = [
    ("a refusal", refusal),
    ("a landing that a sign-in overtakes", overtaken),
    ("a landing that goes unnoticed", unnoticed),
    ("a panic", panic),
];

pub(super) fn add_to(scenario: &mut Scenario) {
    for (name, add) in KINDS {
        add(&mut Draw::named(scenario.seed, name), scenario);
    }
    scenario.faults.sort_by_key(|(at, _)| *at);
}

fn refusal(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(4) {
        let at = moment(draw, scenario);
        scenario.faults.push((at, Fault::Answer(Answer::Refused)));
    }
}

/// An instance waits for an answer while another spends the same token, because the store lost the claim or because
/// they do not coordinate. The first landing fails, and when the store is read again the user signs in anew. Then the
/// new session is refused once.
fn overtaken(draw: &mut Draw, scenario: &mut Scenario) {
    if scenario.window() == 0 || !scenario.is_known {
        return;
    }
    let Some((node, other)) = two_nodes(draw, scenario, 40) else {
        return;
    };
    let at = moment(draw, scenario);
    let landing = Fault::Landing {
        node,
        write: Write::Lost,
        then: (Point::BeforeLoad, Ambush::Hang(1)),
    };
    let overtake = Fault::At(node, Point::AfterLoad, Ambush::Overtake(2));
    scenario.faults.extend([
        (at, Fault::Answer(Answer::SlowAfter(3))),
        (at, landing),
        (at + 2_500, overtake),
    ]);
    if scenario.coordinated {
        scenario.faults.push((at + 1_000, Fault::Failover(1)));
    }
    rotates(scenario, node, &[at + 1]);
    rotates(scenario, other, &[at + 1_200]);
    refused(scenario, node, at + draw.within(10..60) * 1_000);
}

/// An instance lands its pair, is not answered and stands still, and meanwhile another rotates that pair on. Then the
/// newer one is refused once.
fn unnoticed(draw: &mut Draw, scenario: &mut Scenario) {
    let Some((node, other)) = two_nodes(draw, scenario, 4) else {
        return;
    };
    let at = moment(draw, scenario);
    let stands_still = draw.within(20..60);
    let landing = Fault::Landing {
        node,
        write: Write::Unanswered,
        then: (Point::BeforeLoad, Ambush::Pause(stands_still)),
    };
    scenario.faults.push((at, landing));
    rotates(scenario, node, &[at + 1]);
    // The first may find no more than that pair.
    rotates(scenario, other, &[at + 8_000, at + 16_000]);
    refused(
        scenario,
        node,
        at + (stands_still + draw.within(10..30)) * 1_000,
    );
}

fn panic(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(4) {
        let node = draw.index(scenario.nodes.len());
        let at = moment(draw, scenario);
        scenario.faults.push((at, Fault::Panic(node)));
    }
}

/// Two instances, in so many percent of the scenarios that have them.
fn two_nodes(draw: &mut Draw, scenario: &Scenario, percent: u64) -> Option<(usize, usize)> {
    let count = scenario.nodes.len();
    if count < 2 || !draw.chance(percent) {
        return None;
    }
    let node = draw.index(count);
    Some((node, (node + 1 + draw.index(count - 1)) % count))
}

fn rotates(scenario: &mut Scenario, node: usize, at: &[u64]) {
    let actions = at.iter().map(|at| (*at, Action::Rotate)).collect();
    scenario.callers.push(Caller { node, actions });
}

/// The instance rotates, and is refused.
fn refused(scenario: &mut Scenario, node: usize, at: u64) {
    scenario.faults.push((at, Fault::Answer(Answer::Refused)));
    rotates(scenario, node, &[at + 1]);
}
