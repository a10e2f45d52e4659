//! The report of `soak`: lines and a table for people, JSON objects for programs.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use crate::arguments::Arguments;
use crate::command::{count, json_line, plain_table};
use crate::judgement::{Judgement, Sample, Verdict};
use crate::servers::Counters;
use crate::tally::Counts;

/// The state of a run, in the order of the output.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    elapsed_s: u64,
    ok: u64,
    failed: u64,
    rotations: u64,
    outages: u64,
    turned_away: u64,
    restarts: u64,
    slowest_ms: u64,
    resident_bytes: Option<u64>,
    tasks: u64,
    descriptors: Option<u64>,
    first_failure: Option<String>,
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) passed: bool,
    pub(crate) interrupted: bool,
    pub(crate) seed: u64,
    #[serde(flatten)]
    pub(crate) last: Line,
    pub(crate) bad_restarts: u64,
    pub(crate) sessions_revoked: u64,
    pub(crate) unauthorized: u64,
    pub(crate) judgement: Option<Judgement>,
}

impl Line {
    pub(crate) fn of(elapsed: Duration, counts: &Counts, seen: Counters, sample: Sample) -> Self {
        Self {
            elapsed_s: elapsed.as_secs(),
            ok: counts.ok,
            failed: counts.failed,
            rotations: seen.rotations,
            outages: counts.outages,
            turned_away: seen.turned_away,
            restarts: counts.restarts,
            slowest_ms: u64::try_from(counts.slowest.as_millis()).unwrap_or(u64::MAX),
            resident_bytes: sample.memory,
            tasks: sample.tasks,
            descriptors: sample.descriptors,
            first_failure: counts.first_failure.clone(),
        }
    }
}

impl Summary {
    pub(crate) fn new(
        interrupted: bool,
        seed: u64,
        last: Line,
        counts: &Counts,
        seen: Counters,
        judgement: Option<Judgement>,
    ) -> Self {
        Self {
            passed: !interrupted
                && counts.failed + counts.bad_restarts + seen.sessions_revoked == 0
                && judgement.is_some_and(|judgement| judgement.is_flat()),
            interrupted,
            seed,
            last,
            bad_restarts: counts.bad_restarts,
            sessions_revoked: seen.sessions_revoked,
            unauthorized: seen.unauthorized,
            judgement,
        }
    }
}

/// Announces the run.
pub(crate) fn introduction(
    out: &mut impl Write,
    arguments: &Arguments,
    seed: u64,
) -> io::Result<()> {
    if arguments.json {
        return Ok(());
    }
    writeln!(
        out,
        "Runs for {}: three sessions, {} callers each, {} calls a second each. Access tokens live for {}. Seed {seed}.\n",
        span(arguments.run_time),
        arguments.callers,
        arguments.rate,
        humantime::format_duration(arguments.access_ttl),
    )?;
    writeln!(
        out,
        "{:>10} {:>11} {:>7} {:>10} {:>8} {:>9} {:>13} {:>10} {:>6} {:>12}",
        "elapsed",
        "calls ok",
        "failed",
        "rotations",
        "outages",
        "restarts",
        "slowest call",
        "memory",
        "tasks",
        "descriptors",
    )?;
    out.flush()
}

pub(crate) fn line(out: &mut impl Write, line: &Line, json: bool) -> io::Result<()> {
    if json {
        return json_line(out, line);
    }
    write!(
        out,
        "{:>10} {:>11} {:>7} {:>10} {:>8} {:>9} {:>13} {:>10} {:>6} {:>12}",
        span(Duration::from_secs(line.elapsed_s)),
        count(line.ok),
        count(line.failed),
        count(line.rotations),
        line.outages,
        line.restarts,
        seconds(line.slowest_ms),
        known(line.resident_bytes, mebibytes),
        line.tasks,
        known(line.descriptors, |open| open.to_string()),
    )?;
    match &line.first_failure {
        Some(failure) => writeln!(out, "  first failure: {failure}")?,
        None => writeln!(out)?,
    }
    out.flush()
}

pub(crate) fn summary(out: &mut impl Write, summary: &Summary, json: bool) -> io::Result<()> {
    if json {
        return json_line(out, summary);
    }
    match &summary.judgement {
        Some(judgement) => writeln!(out, "\n{}", table(judgement))?,
        None => writeln!(
            out,
            "\nThe run was too short to judge whether anything grew."
        )?,
    }
    let last = &summary.last;
    writeln!(
        out,
        "{} calls succeeded and {} failed; the slowest took {}. {} rotations, {} outages in which {} requests were \
         turned away, {} restarts.",
        count(last.ok),
        count(last.failed),
        seconds(last.slowest_ms),
        count(last.rotations),
        last.outages,
        count(last.turned_away),
        last.restarts,
    )?;
    for (number, what) in [
        (summary.bad_restarts, "restarts did not shut down cleanly"),
        (summary.sessions_revoked, "sessions were revoked"),
        (
            summary.unauthorized,
            "calls were answered 401, and each of those was sent once more if it could be",
        ),
    ] {
        if number > 0 {
            writeln!(out, "{} {what}.", count(number))?;
        }
    }
    if let Some(failure) = &last.first_failure {
        writeln!(out, "The first failure: {failure}")?;
    }
    let verdict = match (summary.passed, summary.interrupted) {
        (true, _) => "passed",
        (_, true) => "interrupted",
        _ => "FAILED",
    };
    writeln!(out, "{verdict}")?;
    out.flush()
}

fn table(judgement: &Judgement) -> Table {
    let mut table = plain_table();
    table.set_header(["least of", "second quarter", "last quarter", "at most", ""]);
    let mut row = |name: &str, verdict: Verdict, shown: fn(u64) -> String| {
        let word = match (verdict.at_most, verdict.flat) {
            (None, _) => "not known",
            (_, true) => "flat",
            (_, false) => "GREW",
        };
        let values = [
            verdict.second_quarter,
            verdict.last_quarter,
            verdict.at_most,
        ];
        let mut row = vec![Cell::new(name)];
        row.extend(
            values.map(|value| Cell::new(known(value, shown)).set_alignment(CellAlignment::Right)),
        );
        row.push(Cell::new(word));
        table.add_row(row);
    };
    row("memory", judgement.memory, mebibytes);
    row("tasks", judgement.tasks, |alive| alive.to_string());
    row("descriptors", judgement.descriptors, |open| {
        open.to_string()
    });
    table
}

/// Writes a time in whole seconds.
pub(crate) fn span(span: Duration) -> String {
    humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
}

fn known(value: Option<u64>, shown: impl Fn(u64) -> String) -> String {
    value.map_or("-".to_owned(), shown)
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03} s", millis / 1_000, millis % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_value_is_a_dash_and_a_failure_has_its_reason() -> anyhow::Result<()> {
        let counts = Counts {
            ok: 1_200,
            failed: 1,
            slowest: Duration::from_millis(1_050),
            first_failure: Some("on-request, at 5s, no outage: no".to_owned()),
            ..Counts::default()
        };
        let sample = Sample {
            memory: None,
            tasks: 50,
            descriptors: Some(41),
        };
        let elapsed = Duration::from_millis(60_004);
        let shown = Line::of(elapsed, &counts, Counters::default(), sample);
        let mut out = Vec::new();
        line(&mut out, &shown, false)?;
        let text = String::from_utf8(out)?;
        let words: Vec<_> = text.split_whitespace().collect();
        let numbers = [
            "1m", "1,200", "1", "0", "0", "0", "1.050", "s", "-", "50", "41",
        ];
        assert_eq!(words[..numbers.len()], numbers);
        assert!(text.ends_with("first failure: on-request, at 5s, no outage: no\n"));
        let mut out = Vec::new();
        line(&mut out, &shown, true)?;
        let object: serde_json::Value = serde_json::from_slice(&out)?;
        assert_eq!(object["elapsed_s"], 60);
        assert!(object["resident_bytes"].is_null());
        Ok(())
    }

    #[test]
    fn memory_is_shown_in_mebibytes() {
        assert_eq!(mebibytes(13_312 * 1024), "13.0 MiB");
        assert_eq!(mebibytes(1_677_722), "1.6 MiB");
    }
}
