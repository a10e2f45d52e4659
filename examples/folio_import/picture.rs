//! The imports as a picture (SVG): for each how far it came, its tokens, and what the user's browser did, all
//! on one axis of time. It measures nothing.

// As `data_import` has them.
#[path = "../data_import/picture/axis.rs"]
mod axis;
mod lane;
#[path = "../data_import/picture/style.rs"]
mod style;

use std::path::Path;

use anyhow::Context as _;
use indicatif::HumanCount;
use svg::Document;
use svg::node::Value;
use svg::node::element::{Group, Rectangle, Style, Text, Title};

use self::axis::Axis;
use self::lane::HEIGHT as LANE;
use crate::arguments::{Arguments, Ui};
use crate::job::Outcome;
use crate::report::spelled;

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 28.0;

/// Where the lanes start.
const TOP: f64 = 110.0;

/// For the axis below them.
const BOTTOM: f64 = 44.0;

/// Where times start: left of it, lanes are named.
const LEFT: f64 = 224.0;

/// The browser's, beside what `data_import` draws.
const BROWSER: &str = "
.browser { fill: #bf8700; }
.click { fill: #9a6700; }
@media (prefers-color-scheme: dark) {
.browser { fill: #d29922; }
.click { fill: #f2cc60; }
}
";

pub(crate) fn draw(path: &Path, arguments: &Arguments, outcomes: &[Outcome]) -> anyhow::Result<()> {
    svg::save(path, &picture(arguments, outcomes))
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn picture(arguments: &Arguments, outcomes: &[Outcome]) -> Document {
    let longest = outcomes.iter().map(|outcome| outcome.elapsed).max();
    let axis = Axis::new(longest.unwrap_or_default(), LEFT, WIDTH - MARGIN);
    let height = TOP + LANE * outcomes.len() as f64 + BOTTOM;
    let title = format!(
        "Importing into FOLIO for {}, with access tokens that live for {}",
        spelled(arguments.length),
        spelled(arguments.access_ttl),
    );
    let mut document = Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(title.as_str()))
        .add(Style::new(format!("{}{BROWSER}", style::SHEET)))
        .add(rectangle(0.5, 0.5, WIDTH - 1.0, height - 1.0, "card").set("rx", 10))
        .add(text(MARGIN, 42.0, "title", title))
        .add(text(
            MARGIN,
            64.0,
            "subtitle",
            subtitle(arguments, outcomes),
        ))
        .add(legend(MARGIN, 90.0))
        .add(axis.grid(TOP, height - BOTTOM));
    for (row, outcome) in outcomes.iter().enumerate() {
        let top = TOP + LANE * row as f64;
        document = document.add(lane::lane(outcome, arguments, &axis, top));
    }
    document
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

/// Draws what an entry of the legend stands for, from a left edge on and around a height.
type Sample = fn(f64, f64) -> Group;

fn legend(left: f64, middle: f64) -> Group {
    let mut group = Group::new();
    let mut x = left;
    let entries: [(&str, f64, Sample); 4] = [
        ("imported by then", 136.0, |x, y| {
            Group::new().add(rectangle(x, y - 6.0, 18.0, 12.0, "area"))
        }),
        ("lifetime of an access token", 194.0, |x, y| {
            let odd = rectangle(x, y - 6.0, 12.0, 5.0, "token odd").set("rx", 2);
            let even = rectangle(x + 7.0, y + 1.0, 12.0, 5.0, "token even").set("rx", 2);
            Group::new().add(odd).add(even)
        }),
        ("the browser's session and rotations", 240.0, |x, y| {
            let session = rectangle(x, y - 2.0, 18.0, 4.0, "browser");
            Group::new()
                .add(session)
                .add(rectangle(x + 8.0, y - 5.0, 1.6, 10.0, "click"))
        }),
        ("answered 401", 110.0, |x, y| {
            Group::new().add(rectangle(x + 4.0, y - 6.0, 3.0, 12.0, "rejection"))
        }),
    ];
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
