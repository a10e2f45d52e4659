//! The scenario that a seed draws.

use std::ops::Range;

use crate::scenario::{
    Act, Answer, Browser, Fault, Form, Net, Point, Scenario, Server, Step, Strategy,
};

/// The scenario that a seed draws.
pub(crate) fn drawn(seed: u64) -> Scenario {
    let mut draw = Draw(seed ^ 0x6272_6f77_7365_7273);
    let is_shared = draw.chance(85);
    let access_ttl = draw.one(&[60, 120, 120, 300, 600]);
    let is_strict = is_shared && draw.chance(80);
    let mut scenario = Scenario {
        seed,
        server: if is_strict {
            Server::Strict
        } else {
            Server::Grace
        },
        form: match is_shared && draw.chance(25) {
            true => Form::Id,
            false => Form::Copy,
        },
        strategy: draw.one(&[
            Strategy::OnRequest,
            Strategy::BackgroundTimer,
            Strategy::OptimisticEarly,
        ]),
        is_shared,
        is_sticky: draw.chance(if is_shared { 35 } else { 70 }),
        cancels: draw.chance(50),
        nodes: draw.one(&[1, 2, 2, 3, 4]),
        access_ttl,
        kept_for: draw.one(&[20, 300, 300, 7_200]),
        latency_ms: draw.one(&[0, 20, 200, 2_000]),
        store_latency_ms: draw.one(&[0, 2, 20, 300]),
        browsers: Vec::new(),
        faults: Vec::new(),
        length: draw.within(3..12) * access_ttl,
    };
    let browsers = draw.within(1..4);
    scenario.browsers = (0..browsers)
        .map(|_| browser(&mut draw, &scenario))
        .collect();
    // A third of all scenarios is calm.
    let faults = draw.one(&[0, 1, 3]);
    scenario.faults = (0..draw.within(faults..2 * faults + 1))
        .map(|_| (moment(&mut draw, &scenario), fault(&mut draw, &scenario)))
        .collect();
    scenario.faults.sort_by_key(|(at, _)| *at);
    scenario
}

fn browser(draw: &mut Draw, scenario: &Scenario) -> Browser {
    let home = draw.index(scenario.nodes);
    let steps = draw.one(&[6, 15, 30]);
    let tabs = draw.one(&[1, 1, 2, 3]);
    let tabs = (0..tabs).map(|_| {
        let mut steps: Vec<_> = (0..draw.within(2..steps))
            .map(|_| Step {
                at: moment(draw, scenario),
                act: act(draw, scenario),
                net: net(draw, scenario),
            })
            .collect();
        steps.sort_by_key(|step| step.at);
        steps
    });
    Browser {
        home,
        tabs: tabs.collect(),
    }
}

/// Half of all moments lie near the time at which a token is due.
fn moment(draw: &mut Draw, scenario: &Scenario) -> u64 {
    let length = scenario.length * 1_000;
    if draw.chance(50) {
        return draw.within(0..length);
    }
    let ttl = scenario.access_ttl * 1_000;
    let due = draw.within(0..length / ttl + 1) * ttl + draw.one(&[0, 0, ttl * 8 / 10]);
    let spread = draw.one(&[100, 3_000, 30_000]);
    (due + draw.within(0..spread)).min(length - 1)
}

fn act(draw: &mut Draw, scenario: &Scenario) -> Act {
    match draw.within(0..100) {
        0..30 => Act::Fetch,
        30..50 => Act::Load,
        50..58 => Act::Reload,
        58..66 => Act::Storm(draw.index(7) + 2),
        66..76 => Act::Abort(draw.within(0..3_000)),
        76..82 => Act::CloseTab(draw.within(0..1_000)),
        82..84 => Act::SignIn,
        84..86 => Act::LogOut,
        86..94 => Act::Stale(draw.index(6) + 1),
        94..97 if scenario.is_shared => Act::Mixed(draw.index(3)),
        _ if scenario.is_shared => Act::Bare,
        _ => Act::Fetch,
    }
}

fn net(draw: &mut Draw, scenario: &Scenario) -> Net {
    Net {
        node: draw.index(scenario.nodes),
        way_ms: draw.one(&[1, 20, 200, 2_000]),
        work_ms: draw.one(&[0, 0, 50, 3_000]),
        back_ms: draw.one(&[1, 20, 200, 2_000, 20_000]),
        is_lost: draw.chance(12),
    }
}

fn fault(draw: &mut Draw, scenario: &Scenario) -> Fault {
    let node = draw.index(scenario.nodes);
    let span = draw.one(&[1, 4, 20, 90]);
    match draw.within(0..20) {
        0..4 => Fault::Kill(node, span),
        4..9 => Fault::KillAt(node, draw.one(&Point::ALL), span),
        9 => Fault::Restart(node, span),
        10..12 => Fault::StoreDown(span),
        12 => Fault::StoreSlow {
            ms: draw.one(&[500, 3_000]),
            span,
        },
        13..16 if scenario.is_shared => Fault::SetBack(draw.index(5) + 1),
        16 => Fault::Unreachable(span),
        17 => Fault::Answer(Answer::LostAfter),
        18 => Fault::Answer(Answer::LostBefore),
        _ => Fault::Answer(Answer::Unavailable),
    }
}

/// A stream of numbers that follow from a seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0..len as u64)).unwrap()
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// True in `percent` of all cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }
}
