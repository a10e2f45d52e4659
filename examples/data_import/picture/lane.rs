//! One import: what it is called and what came of it on the left, and its time on the right.

use std::time::Duration;

use indicatif::HumanCount;
use svg::node::element::{Circle, Group, Line, Path};

use super::axis::Axis;
use super::{LEFT, MARGIN, brief, rectangle, rounded, text};
use crate::arguments::Strategy;
use crate::import::Outcome;
use crate::report::per_second;

pub(super) const HEIGHT: f64 = 106.0;

/// From the top of a lane: the throughput, and the two rows of tokens, one for every other token, because
/// a token lives on when the next one is there.
const AREA: (f64, f64) = (27.0, 68.0);
const TOKENS: [f64; 2] = [73.0, 83.0];
const TOKEN: f64 = 7.0;

/// Between two samples of the throughput, in pixels.
const SAMPLE: f64 = 2.0;

/// Batches end in bursts; over twice this span, bursts are throughput.
const WINDOW: Duration = Duration::from_millis(300);

/// At least so wide, in pixels, is a window.
const WINDOW_WIDTH: f64 = 6.0;

/// Windows that overlap in one sample: a sharp edge would draw each burst as a wave.
const WINDOWS: u32 = 9;

/// Narrower tokens would be a blur.
const NARROWEST_TOKEN: f64 = 1.5;

/// Narrower outages would not be seen.
const NARROWEST_OUTAGE: f64 = 3.0;

/// About the width of a letter or digit of an outage's name.
const LETTER: f64 = 5.3;

pub(super) struct Lane<'a> {
    outcome: &'a Outcome,
    access_ttl: Duration,
    /// Points of the throughput: x, and records per second.
    rates: Vec<(f64, f64)>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(outcome: &'a Outcome, access_ttl: Duration, axis: &Axis) -> Self {
        Self {
            outcome,
            access_ttl,
            rates: rates(outcome, axis),
        }
    }

    pub(super) fn fastest(&self) -> f64 {
        self.rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    pub(super) fn group(&self, axis: &Axis, fastest: f64, top: f64) -> Group {
        let group = Group::new().add(self.separator(axis, top));
        let group = self.outages(group, axis, top);
        let group = self.names(group, top);
        let group = self.throughput(group, fastest, top);
        let group = self.rejections(group, axis, top);
        let group = self.tokens(group, axis, top);
        self.end(group, axis, top)
    }

    fn separator(&self, axis: &Axis, top: f64) -> Line {
        Line::new()
            .set("class", "separator")
            .set("x1", rounded(MARGIN))
            .set("x2", rounded(axis.right))
            .set("y1", rounded(top))
            .set("y2", rounded(top))
    }

    fn names(&self, group: Group, top: f64) -> Group {
        let outcome = self.outcome;
        let mut lines = vec![("label", format!("{} imported", HumanCount(outcome.ok)))];
        if outcome.failed > 0 {
            let failed = format!("{} failed", HumanCount(outcome.failed));
            lines.push(("label bad", failed));
        } else {
            let rate = per_second(outcome.ok, outcome.elapsed);
            lines.push(("label", format!("{rate} a second")));
        }
        lines.push(match outcome.strategy {
            Strategy::Fixed => ("label", "one token, no rotation".to_owned()),
            _ => (
                "label",
                format!("{} rotations", HumanCount(outcome.rotations)),
            ),
        });
        let name = text(MARGIN, top + 32.0, "name", outcome.strategy.name());
        let lines = lines.into_iter().zip(1..);
        lines.fold(group.add(name), |group, ((class, line), row)| {
            let y = top + 33.0 + 17.0 * f64::from(row);
            group.add(text(MARGIN, y, class, line))
        })
    }

    fn throughput(&self, group: Group, fastest: f64, top: f64) -> Group {
        let (Some((first, _)), Some((last, _))) = (self.rates.first(), self.rates.last()) else {
            return group;
        };
        let (high, low) = (top + AREA.0, top + AREA.1);
        let points = self.rates.iter().map(|(x, rate)| {
            let y = low - rate / fastest * (low - high);
            format!("{x:.1},{y:.1}")
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let area = format!("M{first:.1},{low:.1} L{points} {last:.1},{low:.1} Z");
        let line = format!("M{points}");
        group
            .add(Path::new().set("class", "area").set("d", area))
            .add(Path::new().set("class", "line").set("d", line))
    }

    /// Behind everything else, with their names below the tokens.
    fn outages(&self, mut group: Group, axis: &Axis, top: f64) -> Group {
        let (high, low) = (top + AREA.0 - 2.0, top + TOKENS[1] + TOKEN + 2.0);
        let mut taken = 0.0;
        for outage in &self.outcome.timeline.outages {
            let start = axis.x(outage.start);
            let end = axis.x(outage.end.unwrap_or(self.outcome.elapsed));
            let width = (end - start).max(NARROWEST_OUTAGE);
            // Beside the name before, if that reaches into this outage.
            let half = outage.name.len() as f64 * LETTER / 2.0;
            let middle = f64::max(start + width / 2.0, taken + half);
            taken = middle + half + LETTER;
            let name = text(middle, low + 10.0, "outage-name", outage.name);
            group = group
                .add(rectangle(start, high, width, low - high, "outage"))
                .add(name);
        }
        group
    }

    fn rejections(&self, group: Group, axis: &Axis, top: f64) -> Group {
        let low = top + AREA.1;
        let moments = self.outcome.timeline.unauthorized.moments();
        moments.fold(group, |group, at| {
            group.add(rectangle(
                axis.x(at) - 1.0,
                low - 16.0,
                2.5,
                16.0,
                "rejection",
            ))
        })
    }

    fn tokens(&self, group: Group, axis: &Axis, top: f64) -> Group {
        let rotations = &self.outcome.timeline.rotations;
        let elapsed = self.outcome.elapsed;
        let width = (axis.x(elapsed) - LEFT) / (rotations.len() + 1) as f64;
        if width < NARROWEST_TOKEN {
            let row = rectangle(
                LEFT,
                top + TOKENS[0],
                axis.x(elapsed) - LEFT,
                TOKEN,
                "token odd",
            );
            return group.add(row);
        }
        let issued = [Duration::ZERO]
            .into_iter()
            .chain(rotations.iter().copied());
        let group = issued
            .clone()
            .enumerate()
            .fold(group, |group, (number, at)| {
                let (row, class) = match number % 2 {
                    0 => (TOKENS[0], "token odd"),
                    _ => (TOKENS[1], "token even"),
                };
                let (start, end) = (axis.x(at), axis.x((at + self.access_ttl).min(elapsed)));
                group.add(rectangle(start, top + row, end - start, TOKEN, class).set("rx", 2.5))
            });
        rotations.iter().fold(group, |group, at| {
            let (high, low) = (top + TOKENS[0] - 2.0, top + TOKENS[1] + TOKEN + 2.0);
            group.add(rotation(axis.x(*at), high, low))
        })
    }

    fn end(&self, group: Group, axis: &Axis, top: f64) -> Group {
        let outcome = self.outcome;
        let x = axis.x(outcome.elapsed);
        let after = |what: &str| format!("{what} after {}", brief(outcome.elapsed));
        let (class, verdict) = match (&outcome.stopped, &outcome.first_failure) {
            _ if outcome.interrupted => ("end", after("interrupted")),
            (Some(stopped), _) => ("end bad", after(stopped.kind.verdict())),
            (None, None) => ("end", after("complete")),
            (None, Some(failure)) => {
                let from = brief(failure.after);
                ("end bad", format!("from {from} on, {}", failure.why))
            }
        };
        let line = Line::new()
            .set("class", format!("{class} mark"))
            .set("x1", rounded(x))
            .set("x2", rounded(x))
            .set("y1", rounded(top + AREA.0 - 6.0))
            .set("y2", rounded(top + TOKENS[1] + TOKEN));
        let fits_beside = x + 340.0 < axis.right;
        let label = match fits_beside {
            true => text(x + 8.0, top + AREA.1, class, verdict),
            false => text(x, top + AREA.0 - 9.0, class, verdict).set("text-anchor", "end"),
        };
        group.add(line).add(label)
    }
}

/// A line with a head.
pub(super) fn rotation(x: f64, high: f64, low: f64) -> Group {
    let line = Line::new()
        .set("class", "rotation")
        .set("x1", rounded(x))
        .set("x2", rounded(x))
        .set("y1", rounded(high))
        .set("y2", rounded(low));
    let head = Circle::new()
        .set("class", "head")
        .set("cx", rounded(x))
        .set("cy", rounded(high))
        .set("r", 2.6);
    Group::new().add(line).add(head)
}

fn rates(outcome: &Outcome, axis: &Axis) -> Vec<(f64, f64)> {
    let window = axis.at(axis.left + WINDOW_WIDTH).max(WINDOW);
    let end = axis.x(outcome.elapsed);
    let mut rates = Vec::new();
    let mut x = axis.left;
    while x <= end {
        rates.extend(rate(outcome, axis.at(x), window).map(|rate| (x, rate)));
        x += SAMPLE;
    }
    rates
}

/// The mean of windows that lie around a moment, and not beyond the end.
fn rate(outcome: &Outcome, at: Duration, window: Duration) -> Option<f64> {
    let (mut records, mut seconds) = (0.0, 0.0);
    for number in 0..WINDOWS {
        let end = (at + window * number / (WINDOWS - 1)).min(outcome.elapsed);
        let start = end.saturating_sub(window);
        records += outcome.timeline.imported.between(start, end);
        seconds += (end - start).as_secs_f64();
    }
    (seconds > 0.0).then_some(records / seconds)
}
