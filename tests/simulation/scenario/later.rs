//! Kinds of faults and settings that were added after the first stream. Each kind draws from a stream of its own and
//! only adds to a scenario, so that a seed keeps its meaning. The first stream is closed: a new kind of fault belongs
//! here.

use super::drawn::{Draw, moment};
use super::{Action, Ambush, Answer, Caller, Fault, Point, Resend, Scenario, Write};

type Kind = (&'static str, fn(&mut Draw, &mut Scenario));

/// The name of a kind is the name of its stream.
const KINDS: [Kind; 14] = [
    ("a refusal", refusal),
    ("a commit that a sign-in overtakes", overtaken),
    ("a commit that goes unnoticed", unnoticed),
    ("a panic", panic),
    ("when a token is sent again", resend),
    ("unlike lease durations", unlike),
    ("a request that the server handles late", late),
    ("pages", pages),
    ("an outage", outage),
    ("a client that is refused", client),
    ("a store that is set back", set_back),
    ("a verdict that cannot be stored", verdict),
    ("a sign-in that is refused", sign_in_refused),
    ("pairs that are stored later", stored_later),
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

/// An instance waits for an answer while another instance spends the same token, because the store lost the lease or
/// because the instances do not coordinate. The first commit fails, and the user signs in anew when the store is read
/// again. Then the server refuses the new session once.
fn overtaken(draw: &mut Draw, scenario: &mut Scenario) {
    if scenario.window() == 0 || !scenario.is_known {
        return;
    }
    let Some((node, other)) = two_nodes(draw, scenario, 40) else {
        return;
    };
    let at = moment(draw, scenario);
    let commit = Fault::Commit {
        node,
        write: Write::Lost,
        then: (Point::BeforeLoad, Ambush::Hang(1)),
    };
    let overtake = Fault::At(node, Point::AfterLoad, Ambush::Overtake(2));
    scenario.faults.extend([
        (at, Fault::Answer(Answer::SlowAfter(3))),
        (at, commit),
        (at + 2_500, overtake),
    ]);
    if scenario.coordinated {
        scenario.faults.push((at + 1_000, Fault::Failover(1)));
    }
    rotates(scenario, node, &[at + 1]);
    rotates(scenario, other, &[at + 1_200]);
    refused(scenario, node, at + draw.within(10..60) * 1_000);
}

/// An instance commits its pair, gets no answer and stands still. Meanwhile another instance rotates that pair. Then
/// the server refuses the newer pair once.
fn unnoticed(draw: &mut Draw, scenario: &mut Scenario) {
    let Some((node, other)) = two_nodes(draw, scenario, 4) else {
        return;
    };
    let at = moment(draw, scenario);
    let stands_still = draw.within(20..60);
    let commit = Fault::Commit {
        node,
        write: Write::Unanswered,
        then: (Point::BeforeLoad, Ambush::Pause(stands_still)),
    };
    scenario.faults.push((at, commit));
    rotates(scenario, node, &[at + 1]);
    // The first rotation may find only that pair.
    rotates(scenario, other, &[at + 8_000, at + 16_000]);
    let then = stands_still + draw.within(10..30);
    refused(scenario, node, at + then * 1_000);
}

fn panic(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(4) {
        let node = draw.index(scenario.nodes.len());
        let at = moment(draw, scenario);
        scenario.faults.push((at, Fault::Panic(node)));
    }
}

/// Some scenarios that would send a token again always or never do so only when the server is unavailable.
fn resend(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(12) {
        scenario.resend = Resend::WhenUnavailable;
    }
}

fn unlike(draw: &mut Draw, scenario: &mut Scenario) {
    if scenario.nodes.len() > 1 && draw.chance(15) {
        let lease_duration = scenario.lease_duration;
        let own = |_: &_| lease_duration * draw.one(&[1, 1, 2, 3]);
        scenario.lease_durations = scenario.nodes.iter().map(own).collect();
    }
}

/// The client gives up, and the server handles the request before, during or after the second sending of the token.
fn late(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(20) {
        let after = draw.one(&[1, 2, 3, 4, 8, 40]);
        let answer = Answer::SlowBefore(scenario.timeout + after);
        let at = moment(draw, scenario);
        scenario.faults.push((at, Fault::Answer(answer)));
    }
}

const STATUSES: [u16; 10] = [301, 400, 401, 403, 404, 408, 413, 502, 503, 504];

/// One page or several in a row, with or without a commit behind them.
fn pages(draw: &mut Draw, scenario: &mut Scenario) {
    if !draw.chance(30) {
        return;
    }
    let at = moment(draw, scenario);
    for _ in 0..draw.one(&[1, 1, 2, 3, 5]) {
        let status = draw.one(&STATUSES);
        let answer = match draw.chance(30) {
            true => Answer::StatusAfter(status),
            false => Answer::Status(status),
        };
        scenario.faults.push((at, Fault::Answer(answer)));
    }
}

fn outage(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(10) {
        let answer = match draw.within(0..8) {
            0 => Answer::NotSent,
            1 => Answer::LostBefore,
            2 => Answer::Status500,
            3 => Answer::Misconfigured,
            4 => Answer::Later(draw.one(&[0, 30])),
            _ => Answer::Status(draw.one(&STATUSES)),
        };
        let span = draw.one(&[10, 40, 130, 400]);
        let at = moment(draw, scenario);
        scenario.faults.push((at, Fault::Outage(answer, span)));
    }
}

fn client(draw: &mut Draw, scenario: &mut Scenario) {
    if draw.chance(8) {
        let answer = draw.one(&[Answer::Misconfigured, Answer::UserNeeded]);
        let at = moment(draw, scenario);
        scenario.faults.push((at, Fault::Answer(answer)));
    }
}

/// The store shows a session again that the user has replaced or logged out.
fn set_back(draw: &mut Draw, scenario: &mut Scenario) {
    if !draw.chance(6) {
        return;
    }
    let node = draw.index(scenario.nodes.len());
    let at = moment(draw, scenario);
    let what = match draw.chance(50) {
        true => Fault::Logout(node),
        false => Fault::Replace(node),
    };
    let back_at = at + draw.within(1..20) * 1_000;
    let writes = draw.index(4) + 1;
    let faults = [(at, what), (back_at, Fault::Failover(writes))];
    scenario.faults.extend(faults);
    let other = draw.index(scenario.nodes.len());
    rotates(scenario, other, &[back_at + draw.within(1..5_000)]);
}

/// An answer is lost, and the server refuses the sign-in that follows.
fn sign_in_refused(draw: &mut Draw, scenario: &mut Scenario) {
    if scenario.sign_in && draw.chance(30) {
        let at = moment(draw, scenario);
        let answers = [Answer::LostBefore, Answer::Misconfigured];
        let faults = answers.map(|answer| (at, Fault::Answer(answer)));
        scenario.faults.extend(faults);
    }
}

/// The server refuses a token, and the store is down when the instance reads the refusal.
fn verdict(draw: &mut Draw, scenario: &mut Scenario) {
    // Otherwise the instance would have given up by then.
    if scenario.timeout < 30 || !draw.chance(8) {
        return;
    }
    let node = draw.index(scenario.nodes.len());
    let at = moment(draw, scenario);
    scenario.faults.extend([
        (at, Fault::At(node, Point::AfterExchange, Ambush::Hang(8))),
        (at + 4_000, Fault::StoreDown(20)),
    ]);
    refused(scenario, node, at);
}

/// Two instances, in `percent` percent of the scenarios that have at least two.
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

/// The instance rotates, and the server refuses its token.
fn refused(scenario: &mut Scenario, node: usize, at: u64) {
    scenario.faults.push((at, Fault::Answer(Answer::Refused)));
    rotates(scenario, node, &[at + 1]);
}

/// Instances without leases store their pairs behind the callers' backs. The first stream draws that for few scenarios,
/// because it draws leases for most of them.
fn stored_later(draw: &mut Draw, scenario: &mut Scenario) {
    if !scenario.coordinated && scenario.workers == 0 && draw.chance(40) {
        scenario.workers = draw.one(&[1, 2, 3]);
        scenario.fails_unstored = false;
    }
}
