//! The imports as a picture (SVG): for each its tokens, rotations, rejections and throughput, all on one
//! axis of time. It measures nothing.
//!
//! A plotting library draws a chart in its own style into fixed colours. Here few shapes are placed by
//! hand, and a style sheet colours them, so that the picture follows its reader from light to dark.

mod axis;
mod lane;
mod style;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::HumanCount;
use svg::Document;
use svg::node::Value;
use svg::node::element::{Group, Rectangle, Style, Text, Title};

use self::axis::Axis;
use self::lane::{HEIGHT as LANE, Lane};
use crate::arguments::{Action, Arguments};
use crate::import::Outcome;

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 28.0;

/// Where the lanes start.
const TOP: f64 = 110.0;

/// For the axis below them.
const BOTTOM: f64 = 44.0;

/// Where times start: left of it, lanes are named.
const LEFT: f64 = 196.0;

pub(crate) fn draw(path: &Path, arguments: &Arguments, outcomes: &[Outcome]) -> anyhow::Result<()> {
    svg::save(path, &picture(arguments, outcomes))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn picture(arguments: &Arguments, outcomes: &[Outcome]) -> Document {
    let longest = outcomes.iter().map(|outcome| outcome.elapsed).max();
    let axis = Axis::new(longest.unwrap_or_default(), LEFT, WIDTH - MARGIN);
    let lanes: Vec<_> = outcomes
        .iter()
        .map(|outcome| Lane::new(outcome, arguments.access_ttl(), &axis))
        .collect();
    let height = TOP + LANE * lanes.len() as f64 + BOTTOM;
    let fastest = lanes.iter().map(Lane::fastest).fold(1.0, f64::max);

    let mut document = Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(title(arguments)))
        .add(Style::new(style::SHEET))
        .add(rectangle(0.5, 0.5, WIDTH - 1.0, height - 1.0, "card").set("rx", 10))
        .add(text(MARGIN, 42.0, "title", title(arguments)))
        .add(text(MARGIN, 64.0, "subtitle", subtitle(arguments)))
        .add(legend(MARGIN, 90.0, arguments.faults.is_some()))
        .add(axis.grid(TOP, height - BOTTOM));
    for (row, lane) in lanes.iter().enumerate() {
        document = document.add(lane.group(&axis, fastest, TOP + LANE * row as f64));
    }
    document
}

fn title(arguments: &Arguments) -> String {
    let verb = match arguments.action {
        Action::Create => "Importing",
        Action::Update => "Updating",
    };
    let count = arguments.count().map(|count| HumanCount(count).to_string());
    format!(
        "{verb} {} with access tokens that live for {}",
        count.map_or("a file".to_owned(), |count| format!("{count} records")),
        spelled(arguments.access_ttl()),
    )
}

fn subtitle(arguments: &Arguments) -> String {
    let faults = match &arguments.faults {
        Some(_) => "; what stands before the token endpoint answers in its place",
        None => "",
    };
    format!(
        "{} records a call, {} calls at a time; refresh tokens are single-use{faults}",
        arguments.batch, arguments.workers,
    )
}

/// Draws what an entry of the legend stands for, from a left edge on and around a height.
type Sample = fn(f64, f64) -> Group;

fn legend(left: f64, middle: f64, has_faults: bool) -> Group {
    let mut group = Group::new();
    let mut x = left;
    let mut entries: Vec<(&str, f64, Sample)> = vec![
        ("records per second", 150.0, |x, y| {
            let area = rectangle(x, y - 6.0, 18.0, 12.0, "area");
            Group::new()
                .add(area)
                .add(rectangle(x, y - 6.0, 18.0, 1.6, "edge"))
        }),
        ("lifetime of an access token", 194.0, |x, y| {
            let odd = rectangle(x, y - 6.0, 12.0, 5.0, "token odd").set("rx", 2);
            let even = rectangle(x + 7.0, y + 1.0, 12.0, 5.0, "token even").set("rx", 2);
            Group::new().add(odd).add(even)
        }),
        ("rotation", 84.0, |x, y| {
            Group::new().add(lane::rotation(x + 8.0, y - 6.0, y + 6.0))
        }),
        ("answered 401", 110.0, |x, y| {
            Group::new().add(rectangle(x + 4.0, y - 6.0, 3.0, 12.0, "rejection"))
        }),
    ];
    if has_faults {
        entries.push(("token endpoint out of order", 190.0, |x, y| {
            Group::new().add(rectangle(x, y - 6.0, 18.0, 12.0, "outage"))
        }));
    }
    for (name, width, sample) in entries {
        let label = text(x + 25.0, middle + 4.0, "label", name);
        group = group.add(sample(x, middle)).add(label);
        x += width + 20.0;
    }
    group
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, class: &str) -> Rectangle {
    Rectangle::new()
        .set("class", class)
        .set("x", rounded(x))
        .set("y", rounded(y))
        .set("width", rounded(width.max(0.0)))
        .set("height", rounded(height.max(0.0)))
}

fn text(x: f64, y: f64, class: &str, content: impl Into<String>) -> Text {
    Text::new(content)
        .set("class", class)
        .set("x", rounded(x))
        .set("y", rounded(y))
}

/// To a tenth of a pixel, which nobody sees.
fn rounded(pixels: f64) -> Value {
    Value::from((pixels * 10.0).round() / 10.0)
}

/// In seconds or, past two minutes, in what suits it.
fn brief(span: Duration) -> String {
    match span.as_secs() {
        0..120 => format!("{:.1} s", span.as_secs_f64()),
        seconds => spelled(Duration::from_secs(seconds)),
    }
}

/// `1 m 30 s`, where the command line has `1m 30s`.
fn spelled(span: Duration) -> String {
    let text = humantime::format_duration(span).to_string();
    let parts = text.split(' ').map(|part| {
        let digits = part.trim_end_matches(char::is_alphabetic);
        format!("{digits} {}", &part[digits.len()..])
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
