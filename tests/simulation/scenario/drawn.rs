//! The scenario that a seed draws.

use std::ops::Range;

use super::{
    Action, Ambush, Answer, Caller, Fault, Point, Resend, Scenario, Server, Strategy, Write, later,
};

/// The scenario that a seed draws.
pub(crate) fn drawn(seed: u64) -> Scenario {
    let mut scenario = first(seed);
    later::add_to(&mut scenario);
    scenario
}

/// What the first stream of the seed decides. Do not add draws here: one more draw changes the scenario of every seed.
fn first(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed);
    let server = server(&mut draw);
    let access_ttl = draw.one(&[30, 60, 120, 300, 600]);
    let length = draw.within(2..8) * access_ttl.max(100);
    let count = draw.within(1..6);
    let (timeout, lease_duration, wait) = draw.one(&[(30, 60, 35), (30, 60, 35), (5, 21, 12)]);
    let sign_in = draw.chance(15);
    let workers = match draw.chance(25) {
        true => draw.index(3) + 1,
        false => 0,
    };
    let mut scenario = Scenario {
        seed,
        server,
        is_known: draw.chance(80),
        resend: match draw.chance(85) {
            true => Resend::Always,
            false => Resend::Never,
        },
        sign_in,
        seeded: !sign_in || draw.chance(50),
        access_ttl,
        latency_ms: draw.one(&[0, 20, 200, 2_000]),
        store_latency_ms: draw.one(&[0, 2, 20, 500]),
        timeout,
        lease_duration,
        lease_durations: Vec::new(),
        wait,
        store_timeout: draw.one(&[5, 5, 5, 12]),
        coordinated: draw.chance(85),
        workers,
        fails_unstored: workers == 0 && draw.chance(15),
        nodes: (0..count).map(|_| strategy(&mut draw)).collect(),
        callers: Vec::new(),
        faults: Vec::new(),
        length,
    };
    // Otherwise the lease would leave no time for sending.
    scenario.lease_duration = lease_duration.max(timeout + 2 * scenario.store_timeout + 6);
    // Write-behind is refused with leases.
    if scenario.coordinated {
        scenario.workers = 0;
    }
    let callers = draw.one(&[1, 3, 8, 20, 49]) + 1;
    scenario.callers = (0..draw.within(1..callers))
        .map(|_| caller(&mut draw, &scenario))
        .collect();
    let faults = draw.one(&[1, 3, 6, 12]);
    scenario.faults = (0..draw.within(0..faults + 1))
        .map(|_| (moment(&mut draw, &scenario), fault(&mut draw, &scenario)))
        .collect();
    scenario.faults.sort_by_key(|(at, _)| *at);
    scenario
}

fn server(draw: &mut Draw) -> Server {
    draw.one(&[
        Server::Strict,
        Server::Strict,
        Server::Strict,
        Server::NoFamily,
        Server::GraceSamePair,
        Server::Fork,
        Server::LastWins,
        Server::Echo,
        Server::Omit,
        Server::OldAccessDies,
        Server::ShortRefresh,
    ])
}

fn strategy(draw: &mut Draw) -> Strategy {
    match draw.within(0..20) {
        0..6 => Strategy::OnRequest,
        6..11 => Strategy::BackgroundTimer,
        11..17 => Strategy::OptimisticEarly,
        17 => Strategy::EndsIdle,
        _ => Strategy::Greedy,
    }
}

/// Half of all moments lie near the time at which a token is due.
pub(super) fn moment(draw: &mut Draw, scenario: &Scenario) -> u64 {
    let length = scenario.length * 1_000;
    if draw.chance(50) {
        return draw.within(0..length);
    }
    let ttl = scenario.access_ttl * 1_000;
    let due = draw.within(0..length / ttl + 1) * ttl + draw.one(&[0, ttl * 8 / 10, ttl - 5_000]);
    (due + draw.within(0..3_000)).min(length - 1)
}

fn caller(draw: &mut Draw, scenario: &Scenario) -> Caller {
    let node = draw.index(scenario.nodes.len());
    let mut actions: Vec<_> = (0..draw.within(1..9))
        .map(|_| (moment(draw, scenario), action(draw)))
        .collect();
    actions.sort_by_key(|(at, _)| *at);
    Caller { node, actions }
}

fn action(draw: &mut Draw) -> Action {
    match draw.within(0..20) {
        0..11 => Action::Token,
        11..13 => Action::TryToken,
        13..15 => Action::Rotate,
        15 => Action::ValidFor(draw.within(5..60)),
        16..18 => Action::Reject,
        _ => Action::Drop(draw.within(0..3_000)),
    }
}

fn fault(draw: &mut Draw, scenario: &Scenario) -> Fault {
    let node = draw.index(scenario.nodes.len());
    let lease_duration = scenario.lease_duration;
    let span = draw.one(&[1, 4, 10, 40, lease_duration + 10, lease_duration * 3]);
    match draw.within(0..36) {
        0..9 => Fault::Answer(answer(draw, scenario)),
        9..12 => Fault::Write(node, write(draw)),
        12..20 => Fault::At(node, draw.one(&Point::ALL), ambush(draw, span)),
        20 => Fault::StoreDown(span),
        21 => Fault::StoreSlow {
            ms: draw.one(&[200, 3_000, 8_000]),
            seconds: span,
        },
        22 => Fault::Partition(node, span),
        23 => Fault::Failover(draw.index(3) + 1),
        24 => Fault::Unreachable(span),
        25..27 => Fault::Crash(node, span),
        27 => Fault::Pause(node, span),
        28 => Fault::Suspend(draw.one(&[3, 30, 90, 700])),
        29 => Fault::StepWall(node, draw.one(&[-7_200, -60, 30, 3_600])),
        30 if draw.chance(30) => Fault::RevokeAll,
        31 => Fault::Logout(node),
        32 => Fault::Replace(node),
        33 => Fault::SignIn(node),
        34 => Fault::Restart(node, span),
        _ => Fault::Answer(Answer::LostAfter),
    }
}

fn answer(draw: &mut Draw, scenario: &Scenario) -> Answer {
    let slow = draw.one(&[
        3,
        scenario.timeout - 1,
        scenario.timeout + 2,
        scenario.lease_duration + 15,
    ]);
    match draw.within(0..14) {
        0 => Answer::NotSent,
        1 | 2 => Answer::LostBefore,
        3 | 4 => Answer::LostAfter,
        5 => Answer::SlowBefore(slow),
        6 | 7 => Answer::SlowAfter(slow),
        8 => Answer::Status500,
        9 => Answer::Later(draw.one(&[0, 5, 60])),
        10 => Answer::Misconfigured,
        11 => Answer::NoAccess,
        _ => Answer::Garbled,
    }
}

fn write(draw: &mut Draw) -> Write {
    match draw.within(0..3) {
        0 => Write::Unanswered,
        1 => Write::Lost,
        _ => Write::Late(draw.one(&[2, 7, 40, 100])),
    }
}

fn ambush(draw: &mut Draw, span: u64) -> Ambush {
    match draw.within(0..10) {
        0..3 => Ambush::Hang(span),
        3..6 => Ambush::Pause(span),
        6..8 => Ambush::Crash(span),
        8 => Ambush::Logout,
        _ => Ambush::Replace,
    }
}

/// Random numbers that depend on a seed alone, by SplitMix64: small, and good enough.
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own, from the seed and a name. A draw from one stream shifts no other stream.
    pub(super) fn named(seed: u64, name: &str) -> Self {
        let mix = |seed, byte| Self(seed ^ u64::from(byte)).bits();
        Self(name.bytes().fold(seed, mix))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.bits() % (range.end - range.start)
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0..len as u64)).unwrap()
    }

    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// True in `percent` of all cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::scenario::written;

    #[test]
    fn the_first_stream_of_a_seed_still_draws_the_same_scenario() {
        let mut sum = Sha256::new();
        for seed in (0..1_000).chain([153_079, 199_999]) {
            sum.update(written("a seed", &first(seed)));
        }
        let sum = sum.finalize();
        let sum: String = sum.iter().map(|it| format!("{it:02x}")).collect();
        let known = "dec448293821794d53b27f200aad8fb8ad80153ab3cec9f47c891b03e61d4b71";
        assert_eq!(sum, known);
    }

    #[test]
    fn a_later_kind_of_fault_only_adds_to_the_scenario_of_a_seed() {
        for seed in 0..1_000 {
            let (first, mut drawn) = (first(seed), drawn(seed));
            let mut faults = first.faults.iter();
            assert!(faults.all(|fault| drawn.faults.contains(fault)));
            assert!(drawn.callers.starts_with(&first.callers));
            // Settings that were added later.
            assert!(drawn.resend == first.resend || drawn.resend == Resend::WhenUnavailable);
            drawn.resend = first.resend;
            let writes_behind = !first.coordinated && drawn.workers > 0;
            assert!(writes_behind || drawn.workers == first.workers);
            drawn.workers = first.workers;
            drawn.fails_unstored = first.fails_unstored;
            drawn.lease_durations.clear();
            drawn.callers.clone_from(&first.callers);
            drawn.faults.clone_from(&first.faults);
            assert_eq!(drawn, first, "seed {seed}");
        }
    }
}
