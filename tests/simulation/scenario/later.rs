//! Kinds of faults that came after the first ones. Each draws from a stream of its own and only adds to a scenario, so
//! that a seed keeps what it meant before: the first stream is closed, and a new kind of fault belongs here.

use super::drawn::moment;
use super::{Answer, Fault, Scenario};
use crate::draw::Draw;

type Kind = (&'static str, fn(&mut Draw, &mut Scenario));

/// The name of a kind is the name of its stream.
const KINDS: [Kind; 1] = [("a refusal", refusal)];

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
