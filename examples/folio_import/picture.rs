//! The picture of `folio_import`: each import with its progress, its tokens, and the browser of the user.

#[path = "../shared/picture.rs"]
mod shared;

use std::path::Path;
use std::time::Duration;

use indicatif::HumanCount;
use svg::Document;
use svg::node::element::Group;

use self::shared::{Axis, Entry, Frame, LIFETIME, Lane, REJECTED, Rows, rectangle, text};
use crate::arguments::{Arguments, Mode, Session, Ui};
use crate::command::name;
use crate::job::Outcome;
use crate::report::{spelled, verdict};
use crate::ui::End;

/// Where the time axis starts.
const LEFT: f64 = 224.0;

const ROWS: Rows = Rows {
    graph: (27.0, 66.0),
    tokens: [70.0, 78.0],
    token: 6.0,
};

/// Where the browser is, from the top of a lane.
const BROWSER: f64 = 92.0;

/// Between two points of the progress, in pixels.
const SAMPLE: f64 = 2.0;

/// The browser's colors.
const STYLE: &str = "
.browser { fill: #bf8700; }
.click { fill: #9a6700; }
@media (prefers-color-scheme: dark) {
.browser { fill: #d29922; }
.click { fill: #f2cc60; }
}
";

const PROGRESS: Entry = ("imported by then", 136.0, |x, y| {
    Group::new().add(rectangle(x, y - 6.0, 18.0, 12.0, "area"))
});

const USER: Entry = ("the browser's session and rotations", 240.0, |x, y| {
    Group::new()
        .add(rectangle(x, y - 2.0, 18.0, 4.0, "browser"))
        .add(rectangle(x + 8.0, y - 5.0, 1.6, 10.0, "click"))
});

pub(crate) fn draw(path: &Path, arguments: &Arguments, outcomes: &[Outcome]) -> anyhow::Result<()> {
    shared::save(path, &picture(arguments, outcomes))
}

fn picture(arguments: &Arguments, outcomes: &[Outcome]) -> Document {
    let longest = outcomes.iter().map(|outcome| outcome.elapsed).max();
    let frame = Frame {
        title: format!(
            "Importing into FOLIO for {}, with access tokens that live for {}",
            spelled(arguments.length),
            spelled(arguments.access_ttl),
        ),
        subtitle: subtitle(arguments, outcomes),
        legend: vec![PROGRESS, LIFETIME, USER, REJECTED],
        style: STYLE,
        axis: Axis::new(longest, LEFT),
    };
    frame.around(outcomes, |outcome, axis, top| {
        let lane = Lane {
            axis,
            rows: &ROWS,
            top,
            timeline: &outcome.counts.timeline,
            elapsed: outcome.elapsed,
        };
        let group = names(&lane, Group::new().add(lane.separator()), outcome);
        let group = lane.graph(group, &progress(outcome, axis));
        let group = lane.rejections(group);
        // What Okapi hands to modules does not expire.
        let is_endless = outcome.session == Session::Fixed && outcome.mode == Mode::Okapi;
        let group = match is_endless || lane.is_crowded() {
            true => group.add(lane.bar().set("rx", 2.5)),
            false => lane.tokens(group, arguments.access_ttl),
        };
        let group = browser(&lane, group, outcome);
        let class = match outcome.is_complete() {
            true => "end",
            false => "end bad",
        };
        lane.end(group, class, verdict(outcome), ROWS.graph.1 - 8.0)
    })
}

fn subtitle(arguments: &Arguments, outcomes: &[Outcome]) -> String {
    let records = outcomes.first().map_or(0, |outcome| outcome.total);
    let user = match arguments.ui {
        Ui::None => "the user's browser is closed".to_owned(),
        ui => format!(
            "the user's browser rotates as {ui} does and logs out after {}",
            spelled(arguments.logout_at)
        ),
    };
    format!("{} records; {user}", HumanCount(records))
}

fn names(lane: &Lane<'_>, group: Group, outcome: &Outcome) -> Group {
    let of = match outcome.session {
        Session::Own => "own session",
        Session::Shared => "shared session",
        Session::Fixed => "fixed token",
    };
    let title = format!("{}, {of}", name(outcome.mode));
    let mut lines = vec![(
        "label",
        format!("{} imported", HumanCount(outcome.counts.ok)),
    )];
    if outcome.counts.failed > 0 {
        let failed = format!("{} failed", HumanCount(outcome.counts.failed));
        lines.push(("label bad", failed));
    } else if outcome.session != Session::Fixed {
        let rotations = format!("{} rotations", HumanCount(outcome.counts.rotations));
        lines.push(("label", rotations));
    }
    lane.names(group, title, lines)
}

fn progress(outcome: &Outcome, axis: &Axis) -> Vec<(f64, f64)> {
    let last = axis.x(outcome.elapsed);
    let mut points = Vec::new();
    let mut x = axis.left;
    while x < last + SAMPLE {
        let at = axis.at(x.min(last));
        let done = outcome.counts.timeline.imported.between(Duration::ZERO, at);
        points.push((x.min(last), done / outcome.total as f64));
        x += SAMPLE;
    }
    points
}

fn browser(lane: &Lane<'_>, group: Group, outcome: &Outcome) -> Group {
    let user = &outcome.user;
    if user.rotations.is_empty() && user.end.is_none() {
        return group;
    }
    let y = lane.top + BROWSER;
    let end = user.end.map_or(outcome.elapsed, |(at, _)| at);
    let width = lane.axis.x(end) - LEFT;
    let session = rectangle(LEFT, y, width, 4.0, "browser");
    let group = user.rotations.iter().fold(group.add(session), |group, at| {
        let x = lane.axis.x(*at) - 0.8;
        group.add(rectangle(x, y - 2.0, 1.6, 8.0, "click"))
    });
    let Some((at, end)) = user.end else {
        return group;
    };
    let class = match end {
        End::LoggedOut => "label",
        End::Refused => "label bad",
    };
    let label = format!("the user is {} after {}", end.name(), spelled(at));
    group.add(text(lane.axis.x(at) + 6.0, y + 6.0, class, label))
}
