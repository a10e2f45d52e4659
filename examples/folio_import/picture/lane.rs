//! One import: what it is called and what came of it on the left, and its time on the right.

use std::time::Duration;

use indicatif::HumanCount;
use svg::node::element::{Group, Line, Path};

use super::axis::Axis;
use super::{LEFT, MARGIN, rectangle, rounded, text};
use crate::arguments::{Arguments, Mode, Session};
use crate::job::Outcome;
use crate::report::{spelled, verdict};
use crate::ui::End;

pub(super) const HEIGHT: f64 = 106.0;

/// From the top of a lane: how far it came, and the two rows of tokens, one for every other token, because a
/// token lives on when the next one is there; below them the browser.
const AREA: (f64, f64) = (27.0, 66.0);
const TOKENS: [f64; 2] = [70.0, 78.0];
const TOKEN: f64 = 6.0;
const BROWSER: f64 = 92.0;

/// Between two points of the progress, in pixels.
const SAMPLE: f64 = 2.0;

/// Narrower tokens would be a blur.
const NARROWEST_TOKEN: f64 = 1.5;

pub(super) fn lane(outcome: &Outcome, arguments: &Arguments, axis: &Axis, top: f64) -> Group {
    let separator = Line::new()
        .set("class", "separator")
        .set("x1", rounded(MARGIN))
        .set("x2", rounded(axis.right))
        .set("y1", rounded(top))
        .set("y2", rounded(top));
    let group = Group::new().add(separator);
    let group = names(group, outcome, top);
    let group = progress(group, outcome, axis, top);
    let group = rejections(group, outcome, axis, top);
    let group = tokens(group, outcome, arguments.access_ttl, axis, top);
    let group = browser(group, outcome, axis, top);
    end(group, outcome, axis, top)
}

fn names(group: Group, outcome: &Outcome, top: f64) -> Group {
    let of = match outcome.session {
        Session::Own => "own session",
        Session::Shared => "shared session",
        Session::Fixed => "fixed token",
    };
    let name = format!("{}, {of}", outcome.mode.name());
    let mut lines = vec![("label", format!("{} imported", HumanCount(outcome.ok)))];
    if outcome.failed > 0 {
        let failed = format!("{} failed", HumanCount(outcome.failed));
        lines.push(("label bad", failed));
    } else if outcome.session != Session::Fixed {
        let rotations = format!("{} rotations", HumanCount(outcome.rotations));
        lines.push(("label", rotations));
    }
    let name = text(MARGIN, top + 32.0, "name", name);
    let lines = lines.into_iter().zip(1..);
    lines.fold(group.add(name), |group, ((class, line), row)| {
        let y = top + 33.0 + 17.0 * f64::from(row);
        group.add(text(MARGIN, y, class, line))
    })
}

fn progress(group: Group, outcome: &Outcome, axis: &Axis, top: f64) -> Group {
    let (high, low) = (top + AREA.0, top + AREA.1);
    let last = axis.x(outcome.elapsed);
    let mut points = Vec::new();
    let mut x = axis.left;
    while x < last + SAMPLE {
        let at = axis.at(x.min(last));
        let done = outcome.timeline.imported.between(Duration::ZERO, at);
        let y = low - done / outcome.total as f64 * (low - high);
        points.push(format!("{:.1},{y:.1}", x.min(last)));
        x += SAMPLE;
    }
    let points = points.join(" ");
    let first = axis.left;
    let area = format!("M{first:.1},{low:.1} L{points} {last:.1},{low:.1} Z");
    group
        .add(Path::new().set("class", "area").set("d", area))
        .add(
            Path::new()
                .set("class", "line")
                .set("d", format!("M{points}")),
        )
}

fn rejections(group: Group, outcome: &Outcome, axis: &Axis, top: f64) -> Group {
    let low = top + AREA.1;
    let moments = outcome.timeline.unauthorized.moments();
    moments.fold(group, |group, at| {
        let x = axis.x(at) - 1.0;
        group.add(rectangle(x, low - 16.0, 2.5, 16.0, "rejection"))
    })
}

fn tokens(group: Group, outcome: &Outcome, ttl: Duration, axis: &Axis, top: f64) -> Group {
    let Outcome {
        timeline, elapsed, ..
    } = outcome;
    let whole = || {
        let width = axis.x(*elapsed) - LEFT;
        rectangle(LEFT, top + TOKENS[0], width, TOKEN, "token odd").set("rx", 2.5)
    };
    let narrow = (axis.x(*elapsed) - LEFT) / (timeline.rotations.len() + 1) as f64;
    // What Okapi hands to modules does not expire.
    let is_endless = outcome.session == Session::Fixed && outcome.mode == Mode::Okapi;
    if is_endless || narrow < NARROWEST_TOKEN {
        return group.add(whole());
    }
    let rotations = timeline.rotations.iter().copied();
    let issued = [Duration::ZERO].into_iter().chain(rotations);
    issued.enumerate().fold(group, |group, (number, at)| {
        let (row, class) = match number % 2 {
            0 => (TOKENS[0], "token odd"),
            _ => (TOKENS[1], "token even"),
        };
        let (start, end) = (axis.x(at), axis.x((at + ttl).min(*elapsed)));
        group.add(rectangle(start, top + row, end - start, TOKEN, class).set("rx", 2.5))
    })
}

fn browser(group: Group, outcome: &Outcome, axis: &Axis, top: f64) -> Group {
    let user = &outcome.user;
    if user.rotations.is_empty() && user.end.is_none() {
        return group;
    }
    let end = user.end.map_or(outcome.elapsed, |(at, _)| at);
    let width = axis.x(end) - LEFT;
    let session = rectangle(LEFT, top + BROWSER, width, 4.0, "browser");
    let group = user.rotations.iter().fold(group.add(session), |group, at| {
        let x = axis.x(*at) - 0.8;
        group.add(rectangle(x, top + BROWSER - 2.0, 1.6, 8.0, "click"))
    });
    match user.end {
        None => group,
        Some((at, end)) => {
            let class = match end {
                End::LoggedOut => "label",
                End::Refused => "label bad",
            };
            let said = format!("the user is {} after {}", end.name(), spelled(at));
            group.add(text(axis.x(at) + 6.0, top + BROWSER + 6.0, class, said))
        }
    }
}

fn end(group: Group, outcome: &Outcome, axis: &Axis, top: f64) -> Group {
    let x = axis.x(outcome.elapsed);
    let class = match outcome.is_complete() {
        true => "end",
        false => "end bad",
    };
    let line = Line::new()
        .set("class", format!("{class} mark"))
        .set("x1", rounded(x))
        .set("x2", rounded(x))
        .set("y1", rounded(top + AREA.0 - 6.0))
        .set("y2", rounded(top + TOKENS[1] + TOKEN));
    let label = match x + 340.0 < axis.right {
        true => text(x + 8.0, top + AREA.1 - 8.0, class, verdict(outcome)),
        false => text(x, top + AREA.0 - 9.0, class, verdict(outcome)).set("text-anchor", "end"),
    };
    group.add(line).add(label)
}
