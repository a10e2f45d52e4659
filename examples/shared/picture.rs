//! Pictures of imports (SVG): what `data_import` and `folio_import` draw alike. Each import has a lane, and all lanes share
//! one time axis. Drawing measures nothing: a picture shows what the imports have counted.
//!
//! A plotting library draws a chart in a style of its own and in fixed colors. These pictures place few shapes by hand, and
//! a style sheet colors the shapes, so that a picture follows the reader's system from light to dark.

use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::Context as _;
use svg::Document;
use svg::node::Value;
use svg::node::element::{Group, Line, Path, Rectangle, Style, Text, Title};

use crate::tally::Timeline;

pub(crate) const WIDTH: f64 = 900.0;
pub(crate) const MARGIN: f64 = 28.0;

/// The top of the first lane.
const TOP: f64 = 110.0;

/// The height of a lane.
const LANE: f64 = 106.0;

/// Room for the labels of the axis, below the last lane.
const BOTTOM: f64 = 44.0;

/// Narrower tokens would be a blur.
const NARROWEST_TOKEN: f64 = 1.5;

/// The widest text beside the end of an import.
const WIDEST_END: f64 = 340.0;

/// Steps between the labels of the axis, in seconds.
const STEPS: [f64; 18] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0,
    7_200.0, 21_600.0, 86_400.0,
];

/// More labels would overlap.
const LABELS: f64 = 10.0;

/// An entry of the legend: its text, the width of that text, and its sample, drawn from a left edge on around a height.
pub(crate) type Entry = (&'static str, f64, fn(f64, f64) -> Group);

pub(crate) const LIFETIME: Entry = ("lifetime of an access token", 194.0, |x, y| {
    let odd = rectangle(x, y - 6.0, 12.0, 5.0, "token odd").set("rx", 2);
    let even = rectangle(x + 7.0, y + 1.0, 12.0, 5.0, "token even").set("rx", 2);
    Group::new().add(odd).add(even)
});

pub(crate) const REJECTED: Entry = ("answered 401", 110.0, |x, y| {
    Group::new().add(rectangle(x + 4.0, y - 6.0, 3.0, 12.0, "rejection"))
});

/// What stands around the lanes.
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) legend: Vec<Entry>,
    /// Rules beside the common style sheet.
    pub(crate) style: &'static str,
    pub(crate) axis: Axis,
}

impl Frame {
    /// Draws each item as a lane, from the top edge of that lane on.
    pub(crate) fn around<T>(self, items: &[T], lane: impl Fn(&T, &Axis, f64) -> Group) -> Document {
        let height = TOP + LANE * items.len() as f64 + BOTTOM;
        let card = rectangle(0.5, 0.5, WIDTH - 1.0, height - 1.0, "card").set("rx", 10);
        let document = Document::new()
            .set("viewBox", (0.0, 0.0, WIDTH, height))
            .set("width", WIDTH)
            .set("height", height)
            .set("role", "img")
            .add(Title::new(self.title.as_str()))
            .add(Style::new(format!("{SHEET}{}", self.style)))
            .add(card)
            .add(text(MARGIN, 42.0, "title", self.title))
            .add(text(MARGIN, 64.0, "subtitle", self.subtitle))
            .add(legend(&self.legend))
            .add(self.axis.grid(TOP, height - BOTTOM));
        let lanes = items.iter().enumerate();
        lanes.fold(document, |document, (row, item)| {
            document.add(lane(item, &self.axis, TOP + LANE * row as f64))
        })
    }
}

pub(crate) fn save(path: &FilePath, picture: &Document) -> anyhow::Result<()> {
    svg::save(path, picture).with_context(|| format!("cannot write {}", path.display()))
}

fn legend(entries: &[Entry]) -> Group {
    let (mut x, middle) = (MARGIN, 90.0);
    entries
        .iter()
        .fold(Group::new(), |group, (name, width, sample)| {
            let label = text(x + 25.0, middle + 4.0, "label", *name);
            let group = group.add(sample(x, middle)).add(label);
            x += width + 20.0;
            group
        })
}

/// Where the parts of a lane are, from its top edge.
pub(crate) struct Rows {
    /// The upper and the lower edge of the graph.
    pub(crate) graph: (f64, f64),
    /// The two rows of tokens, one for every other token: a token lives on after its successor was issued.
    pub(crate) tokens: [f64; 2],
    /// The height of a token.
    pub(crate) token: f64,
}

/// One import: its name and its result on the left, its course on the right.
pub(crate) struct Lane<'a> {
    pub(crate) axis: &'a Axis,
    pub(crate) rows: &'static Rows,
    pub(crate) top: f64,
    pub(crate) timeline: &'a Timeline,
    pub(crate) elapsed: Duration,
}

impl Lane<'_> {
    pub(crate) fn separator(&self) -> Line {
        line("separator", (MARGIN, self.axis.right), (self.top, self.top))
    }

    /// Lines below the name have a class each.
    pub(crate) fn names(&self, group: Group, name: String, lines: Vec<(&str, String)>) -> Group {
        let name = text(MARGIN, self.top + 32.0, "name", name);
        let lines = lines.into_iter().zip(1..);
        lines.fold(group.add(name), |group, ((class, line), row)| {
            let y = self.top + 33.0 + 17.0 * f64::from(row);
            group.add(text(MARGIN, y, class, line))
        })
    }

    /// Draws points, each an x and a share of the graph's height.
    pub(crate) fn graph(&self, group: Group, points: &[(f64, f64)]) -> Group {
        let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
            return group;
        };
        let (high, low) = self.graph_edges();
        let points = points.iter().map(|(x, share)| {
            let y = low - share * (low - high);
            format!("{x:.1},{y:.1}")
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let area = format!("M{first:.1},{low:.1} L{points} {last:.1},{low:.1} Z");
        let line = format!("M{points}");
        group
            .add(Path::new().set("class", "area").set("d", area))
            .add(Path::new().set("class", "line").set("d", line))
    }

    fn graph_edges(&self) -> (f64, f64) {
        let (high, low) = self.rows.graph;
        (self.top + high, self.top + low)
    }

    pub(crate) fn rejections(&self, group: Group) -> Group {
        let (_, low) = self.graph_edges();
        let moments = self.timeline.unauthorized.moments();
        moments.fold(group, |group, at| {
            let x = self.axis.x(at) - 1.0;
            group.add(rectangle(x, low - 16.0, 2.5, 16.0, "rejection"))
        })
    }

    /// Whether the tokens are too narrow to be drawn one by one.
    pub(crate) fn is_crowded(&self) -> bool {
        let width = self.axis.x(self.elapsed) - self.axis.left;
        width / ((self.timeline.rotations.len() + 1) as f64) < NARROWEST_TOKEN
    }

    /// One bar for all tokens.
    pub(crate) fn bar(&self) -> Rectangle {
        let (left, y) = (self.axis.left, self.top + self.rows.tokens[0]);
        let width = self.axis.x(self.elapsed) - left;
        rectangle(left, y, width, self.rows.token, "token odd")
    }

    /// A bar for each token.
    pub(crate) fn tokens(&self, group: Group, access_ttl: Duration) -> Group {
        let rotations = self.timeline.rotations.iter().copied();
        let issued = [Duration::ZERO].into_iter().chain(rotations);
        issued.enumerate().fold(group, |group, (number, at)| {
            let row = self.top + self.rows.tokens[number % 2];
            let class = ["token odd", "token even"][number % 2];
            let start = self.axis.x(at);
            let width = self.axis.x((at + access_ttl).min(self.elapsed)) - start;
            group.add(rectangle(start, row, width, self.rows.token, class).set("rx", 2.5))
        })
    }

    /// The end of the import and its verdict. `beside` is the height of the verdict where it fits on the right.
    pub(crate) fn end(&self, group: Group, class: &str, verdict: String, beside: f64) -> Group {
        let x = self.axis.x(self.elapsed);
        let high = self.top + self.rows.graph.0;
        let low = self.top + self.rows.tokens[1] + self.rows.token;
        let mark = line(&format!("{class} mark"), (x, x), (high - 6.0, low));
        let label = match x + WIDEST_END < self.axis.right {
            true => text(x + 8.0, self.top + beside, class, verdict),
            false => text(x, high - 9.0, class, verdict).set("text-anchor", "end"),
        };
        group.add(mark).add(label)
    }
}

/// Time, from left to right.
#[derive(Debug)]
pub(crate) struct Axis {
    seconds: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
}

impl Axis {
    /// Lanes are named left of `left`.
    pub(crate) fn new(span: Option<Duration>, left: f64) -> Self {
        Self {
            seconds: span.unwrap_or_default().as_secs_f64().max(0.1),
            left,
            right: WIDTH - MARGIN,
        }
    }

    pub(crate) fn x(&self, at: Duration) -> f64 {
        let share = (at.as_secs_f64() / self.seconds).min(1.0);
        self.left + share * (self.right - self.left)
    }

    pub(crate) fn at(&self, x: f64) -> Duration {
        let share = (x - self.left) / (self.right - self.left);
        Duration::from_secs_f64((share * self.seconds).max(0.0))
    }

    /// Lines through all lanes, and their labels below.
    fn grid(&self, top: f64, bottom: f64) -> Group {
        let step = self.step();
        let mut group = Group::new();
        let mut seconds = 0.0;
        while seconds <= self.seconds {
            let x = self.left + seconds / self.seconds * (self.right - self.left);
            let label = text(x, bottom + 18.0, "tick", label(seconds, step));
            group = group.add(line("grid", (x, x), (top, bottom))).add(label);
            seconds += step;
        }
        group
    }

    fn step(&self) -> f64 {
        let fitting = STEPS.iter().find(|step| self.seconds / **step <= LABELS);
        fitting.copied().unwrap_or(self.seconds / LABELS)
    }
}

fn label(seconds: f64, step: f64) -> String {
    if seconds == 0.0 {
        "0".to_owned()
    } else if step >= 3_600.0 {
        format!("{} h", (seconds / 3_600.0).round())
    } else if step >= 60.0 {
        format!("{} min", (seconds / 60.0).round())
    } else if step >= 1.0 {
        format!("{} s", seconds.round())
    } else {
        format!("{seconds:.1} s")
    }
}

pub(crate) fn rectangle(x: f64, y: f64, width: f64, height: f64, class: &str) -> Rectangle {
    Rectangle::new()
        .set("class", class)
        .set("x", rounded(x))
        .set("y", rounded(y))
        .set("width", rounded(width.max(0.0)))
        .set("height", rounded(height.max(0.0)))
}

pub(crate) fn text(x: f64, y: f64, class: &str, content: impl Into<String>) -> Text {
    Text::new(content)
        .set("class", class)
        .set("x", rounded(x))
        .set("y", rounded(y))
}

pub(crate) fn line(class: &str, (x1, x2): (f64, f64), (y1, y2): (f64, f64)) -> Line {
    Line::new()
        .set("class", class)
        .set("x1", rounded(x1))
        .set("x2", rounded(x2))
        .set("y1", rounded(y1))
        .set("y2", rounded(y2))
}

/// Rounds to a tenth of a pixel, which is finer than a screen shows.
pub(crate) fn rounded(pixels: f64) -> Value {
    Value::from((pixels * 10.0).round() / 10.0)
}

/// Light, and dark where the reader's system is dark.
const SHEET: &str ="
text { font-family: -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #1f2328; }
.card { fill: #ffffff; stroke: #d1d9e0; }
.title { font-size: 19px; font-weight: 600; }
.subtitle { font-size: 13px; fill: #59636e; }
.name { font-size: 14px; font-weight: 600; }
.label { font-size: 12px; fill: #59636e; }
.tick { font-size: 11px; fill: #59636e; text-anchor: middle; }
.end { font-size: 12px; fill: #1a7f37; }
.bad, .end.bad { fill: #cf222e; }
.grid { stroke: #d1d9e0; stroke-width: 1; stroke-dasharray: 2 4; }
.separator { stroke: #d1d9e0; stroke-width: 1; }
.outage { fill: #d4a72c; fill-opacity: 0.28; }
.outage-name { font-size: 9.5px; fill: #7d4e00; text-anchor: middle; }
.area { fill: #54aeff; fill-opacity: 0.28; }
.line { fill: none; stroke: #0969da; stroke-width: 1.6; stroke-linejoin: round; }
.edge { fill: #0969da; }
.odd { fill: #1a7f37; }
.even { fill: #6fdd8b; }
.rotation { stroke: #8250df; stroke-width: 1.4; }
.head { fill: #8250df; }
.rejection { fill: #cf222e; }
.mark { stroke: #1a7f37; stroke-width: 1.4; }
.mark.bad { stroke: #cf222e; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.card { fill: #0d1117; stroke: #3d444d; }
.subtitle, .label, .tick { fill: #9198a1; }
.end { fill: #3fb950; }
.bad, .end.bad { fill: #f85149; }
.grid, .separator { stroke: #3d444d; }
.outage { fill: #bb8009; fill-opacity: 0.35; }
.outage-name { fill: #d29922; }
.area { fill: #388bfd; fill-opacity: 0.3; }
.line { stroke: #58a6ff; }
.edge { fill: #58a6ff; }
.odd { fill: #2ea043; }
.even { fill: #196c2e; }
.rotation { stroke: #bc8cff; }
.head { fill: #bc8cff; }
.rejection { fill: #f85149; }
.mark { stroke: #3fb950; }
.mark.bad { stroke: #f85149; }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_axis_of_an_import_of_any_length_has_two_to_ten_labels() {
        for (span, last) in [
            (0.7, "0.6 s"),
            (7.6, "7 s"),
            (250.0, "240 s"),
            (5_000.0, "80 min"),
        ] {
            let axis = Axis::new(Some(Duration::from_secs_f64(span)), 0.0);
            let labels = span / axis.step();
            assert!((2.0..=LABELS).contains(&labels), "{labels}");
            let seconds = (span / axis.step()).floor() * axis.step();
            assert_eq!(label(seconds, axis.step()), last);
        }
    }
}
