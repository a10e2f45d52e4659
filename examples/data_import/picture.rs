//! The picture of `data_import`: each import with its tokens, rotations, rejections, outages and throughput.

#[path = "../shared/picture.rs"]
mod shared;

use std::path::Path;
use std::time::Duration;

use indicatif::HumanCount;
use svg::Document;
use svg::node::element::{Circle, Group};

use self::shared::{Axis, Entry, Frame, LIFETIME, Lane, REJECTED, Rows};
use self::shared::{line, rectangle, rounded, text};
use crate::arguments::{Action, Arguments};
use crate::command::Strategy;
use crate::import::Outcome;
use crate::report::per_second;

/// Where the time axis starts.
const LEFT: f64 = 196.0;

const ROWS: Rows = Rows {
    graph: (27.0, 68.0),
    tokens: [73.0, 83.0],
    token: 7.0,
};

/// Between two samples of the throughput, in pixels.
const SAMPLE: f64 = 2.0;

/// Batches end in bursts. Twice this span is long enough to show a throughput instead of the bursts.
const WINDOW: Duration = Duration::from_millis(300);

/// The least width of a window, in pixels.
const WINDOW_WIDTH: f64 = 6.0;

/// Windows that overlap in one sample: with a sharp edge, each burst would be a wave.
const WINDOWS: u32 = 9;

/// Narrower outages would be invisible.
const NARROWEST_OUTAGE: f64 = 3.0;

/// About the width of a letter or digit of an outage's name.
const LETTER: f64 = 5.3;

pub(crate) fn draw(path: &Path, arguments: &Arguments, outcomes: &[Outcome]) -> anyhow::Result<()> {
    shared::save(path, &picture(arguments, outcomes))
}

fn picture(arguments: &Arguments, outcomes: &[Outcome]) -> Document {
    let longest = outcomes.iter().map(|outcome| outcome.elapsed).max();
    let axis = Axis::new(longest, LEFT);
    let imports = outcomes.iter().map(|it| (it, rates(it, &axis)));
    let imports: Vec<_> = imports.collect();
    let rates = imports.iter().flat_map(|(_, rates)| rates);
    let fastest = rates.map(|(_, rate)| *rate).fold(1.0, f64::max);
    let mut legend = vec![THROUGHPUT, LIFETIME, ROTATION, REJECTED];
    if arguments.faults.is_some() {
        legend.push(OUTAGE);
    }
    let frame = Frame {
        title: title(arguments),
        subtitle: subtitle(arguments),
        legend,
        style: "",
        axis,
    };
    frame.around(&imports, |(outcome, rates), axis, top| {
        let lane = Lane {
            axis,
            rows: &ROWS,
            top,
            timeline: &outcome.counts.timeline,
            elapsed: outcome.elapsed,
        };
        let points: Vec<_> = rates.iter().map(|(x, rate)| (*x, rate / fastest)).collect();
        let group = outages(&lane, Group::new().add(lane.separator()));
        let group = names(&lane, group, outcome);
        let group = lane.graph(group, &points);
        let group = lane.rejections(group);
        let group = tokens(&lane, group, arguments.access_ttl());
        let (class, verdict) = verdict(outcome);
        lane.end(group, class, verdict, ROWS.graph.1)
    })
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

const THROUGHPUT: Entry = ("records per second", 150.0, |x, y| {
    Group::new()
        .add(rectangle(x, y - 6.0, 18.0, 12.0, "area"))
        .add(rectangle(x, y - 6.0, 18.0, 1.6, "edge"))
});

const ROTATION: Entry = ("rotation", 84.0, |x, y| {
    Group::new().add(rotation(x + 8.0, y - 6.0, y + 6.0))
});

const OUTAGE: Entry = ("token endpoint out of order", 190.0, |x, y| {
    Group::new().add(rectangle(x, y - 6.0, 18.0, 12.0, "outage"))
});

fn names(lane: &Lane<'_>, group: Group, outcome: &Outcome) -> Group {
    let second = match outcome.counts.failed {
        0 => {
            let rate = per_second(outcome.counts.ok, outcome.elapsed);
            ("label", format!("{rate} a second"))
        }
        failed => ("label bad", format!("{} failed", HumanCount(failed))),
    };
    let third = match outcome.strategy {
        Strategy::Fixed => "one token, no rotation".to_owned(),
        _ => format!("{} rotations", HumanCount(outcome.counts.rotations)),
    };
    let first = format!("{} imported", HumanCount(outcome.counts.ok));
    let lines = vec![("label", first), second, ("label", third)];
    lane.names(group, outcome.strategy.to_string(), lines)
}

/// Outages lie behind everything else, with their names below the tokens.
fn outages(lane: &Lane<'_>, mut group: Group) -> Group {
    let high = lane.top + ROWS.graph.0 - 2.0;
    let low = lane.top + ROWS.tokens[1] + ROWS.token + 2.0;
    let mut taken = 0.0;
    for outage in &lane.timeline.outages {
        let start = lane.axis.x(outage.start);
        let end = lane.axis.x(outage.end.unwrap_or(lane.elapsed));
        let width = (end - start).max(NARROWEST_OUTAGE);
        // A name stands right of the name before it where that one reaches into this outage.
        let half = outage.name.len() as f64 * LETTER / 2.0;
        let middle = f64::max(start + width / 2.0, taken + half);
        taken = middle + half + LETTER;
        let name = text(middle, low + 10.0, "outage-name", outage.name);
        let band = rectangle(start, high, width, low - high, "outage");
        group = group.add(band).add(name);
    }
    group
}

fn tokens(lane: &Lane<'_>, group: Group, access_ttl: Duration) -> Group {
    if lane.is_crowded() {
        return group.add(lane.bar());
    }
    let high = lane.top + ROWS.tokens[0] - 2.0;
    let low = lane.top + ROWS.tokens[1] + ROWS.token + 2.0;
    let group = lane.tokens(group, access_ttl);
    let rotations = lane.timeline.rotations.iter();
    rotations.fold(group, |group, at| {
        group.add(rotation(lane.axis.x(*at), high, low))
    })
}

fn verdict(outcome: &Outcome) -> (&'static str, String) {
    let after = |what: &str| format!("{what} after {}", brief(outcome.elapsed));
    match (&outcome.stopped, &outcome.counts.first_failure) {
        _ if outcome.interrupted => ("end", after("interrupted")),
        (Some(stopped), _) => ("end bad", after(stopped.kind.verdict())),
        (None, None) => ("end", after("complete")),
        (None, Some(failure)) => {
            let from = brief(failure.after);
            ("end bad", format!("from {from} on, {}", failure.why))
        }
    }
}

/// A line with a head.
fn rotation(x: f64, high: f64, low: f64) -> Group {
    let head = Circle::new()
        .set("class", "head")
        .set("cx", rounded(x))
        .set("cy", rounded(high))
        .set("r", 2.6);
    let line = line("rotation", (x, x), (high, low));
    Group::new().add(line).add(head)
}

/// The throughput along the axis, in records per second.
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

/// The mean of windows around a moment, cut off at the end of the import.
fn rate(outcome: &Outcome, at: Duration, window: Duration) -> Option<f64> {
    let (mut records, mut seconds) = (0.0, 0.0);
    for number in 0..WINDOWS {
        let end = (at + window * number / (WINDOWS - 1)).min(outcome.elapsed);
        let start = end.saturating_sub(window);
        records += outcome.counts.timeline.imported.between(start, end);
        seconds += (end - start).as_secs_f64();
    }
    (seconds > 0.0).then_some(records / seconds)
}

/// In seconds, or from two minutes on in larger units.
fn brief(span: Duration) -> String {
    match span.as_secs() {
        0..120 => format!("{:.1} s", span.as_secs_f64()),
        seconds => spelled(Duration::from_secs(seconds)),
    }
}

/// Writes `1 m 30 s` where the command line has `1m 30s`.
fn spelled(span: Duration) -> String {
    let text = humantime::format_duration(span).to_string();
    let parts = text.split(' ').map(|part| {
        let digits = part.trim_end_matches(char::is_alphabetic);
        format!("{digits} {}", &part[digits.len()..])
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::shared::{MARGIN, WIDTH};
    use super::*;
    use crate::command::Strategy;
    use crate::tally::Timeline;
    use crate::tally::{Counts, Failure};

    fn outcome(strategy: Strategy, failed: u64, rotations: &[u64]) -> Outcome {
        let mut timeline = Timeline::default();
        for tenth in 0..80 {
            let at = Duration::from_millis(tenth * 100);
            timeline.imported.add(at, 250);
        }
        for second in rotations {
            timeline.rotated(Duration::from_secs(*second));
        }
        if failed > 0 {
            timeline.unauthorized.add(Duration::from_secs(3), 8);
        }
        Outcome {
            strategy,
            counts: Counts {
                ok: 20_000,
                failed,
                first_failure: (failed > 0).then(|| Failure {
                    after: Duration::from_secs(3),
                    why: "the API <answered> 401".to_owned(),
                }),
                rotations: rotations.len() as u64,
                unauthorized: 0,
                timeline,
            },
            done_before: 0,
            rejected_before: 0,
            stopped: None,
            counters: None,
            elapsed: Duration::from_secs(8),
            wait_p50: Duration::ZERO,
            wait_p99: Duration::ZERO,
            broken_input: None,
            interrupted: false,
        }
    }

    fn drawn(outcomes: &[Outcome]) -> String {
        use clap::Parser as _;
        let arguments = Arguments::try_parse_from(["data_import"]).unwrap();
        picture(&arguments, outcomes).to_string()
    }

    fn count(svg: &str, part: &str) -> usize {
        svg.matches(part).count()
    }

    #[test]
    fn each_token_rotation_and_rejection_is_drawn_where_it_was() {
        let legend = drawn(&[]);
        let svg = drawn(&[
            outcome(Strategy::Fixed, 50, &[]),
            outcome(Strategy::OnRequest, 0, &[2, 4, 6]),
        ]);
        for (part, expected) in [
            ("class=\"token odd\"", 1 + 2),
            ("class=\"token even\"", 2),
            ("class=\"rotation\"", 3),
            ("class=\"head\"", 3),
            ("class=\"rejection\"", 1),
            ("class=\"line\"", 2),
        ] {
            assert_eq!(count(&svg, part) - count(&legend, part), expected, "{part}");
        }
        // The middle rotation, at half of the time, is in the middle of the axis.
        let middle = (LEFT + WIDTH - MARGIN) / 2.0;
        assert!(svg.contains(&format!("cx=\"{middle}\"")), "{svg}");
        assert!(svg.contains("20,000 imported") && svg.contains("50 failed"));
        assert!(svg.contains("from 3.0 s on, the API &lt;answered&gt; 401"));
        assert!(svg.contains("complete after 8.0 s"));
    }

    #[test]
    fn each_outage_is_a_band_with_its_name() {
        let mut outcome = outcome(Strategy::OnRequest, 0, &[2, 6]);
        let timeline = &mut outcome.counts.timeline;
        timeline.outage_begins("404", Duration::from_secs(2));
        outcome.counts.timeline.outage_ends(Duration::from_secs(4));
        // The second outage lasts beyond the end of the import.
        let timeline = &mut outcome.counts.timeline;
        timeline.outage_begins("reset", Duration::from_secs(6));
        let svg = drawn(&[outcome]);
        let bands = || svg.lines().filter(|line| line.contains("class=\"outage\""));
        assert_eq!(bands().count(), 2);
        let quarter = (WIDTH - MARGIN - LEFT) / 4.0;
        let width = format!("width=\"{quarter}\"");
        assert!(bands().all(|band| band.contains(&width)), "{svg}");
        for name in ["404", "reset"] {
            assert!(svg.contains(&format!("\n{name}\n")), "{svg}");
        }
    }

    #[test]
    fn very_many_tokens_are_one_bar() {
        let rotations: Vec<_> = (0..4_000).map(|number| number / 500).collect();
        let svg = drawn(&[outcome(Strategy::OnRequest, 0, &rotations)]);
        assert_eq!(count(&svg, "class=\"token odd\""), 2);
        assert!(svg.len() < 20_000, "{}", svg.len());
    }

    #[test]
    fn a_picture_without_imports_or_without_time_is_valid() {
        let mut empty = outcome(Strategy::OptimisticEarly, 0, &[]);
        empty.elapsed = Duration::ZERO;
        empty.counts.timeline = Timeline::default();
        for svg in [drawn(&[]), drawn(&[empty])] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
