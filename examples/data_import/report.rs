//! The report of `data_import`: a table for people, one JSON object a line for programs, and what stopped an import.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::arguments::{Action, Arguments};
use crate::checkpoint::Checkpoint;
use crate::command::{self, Strategy, count};
use crate::import::Outcome;
use crate::patience::{Kind, Stopped};
use crate::site::Counters;

const COLUMNS: &str =
    "strategy | ok | failed | rotations | exchanges | 401s | records/s | wait p50 | wait p99 | ";

/// Announces the imports.
pub(crate) fn introduction(out: &mut impl Write, arguments: &Arguments) -> io::Result<()> {
    let input = arguments.input.as_ref().map(|path| path.display());
    let records = match (input, arguments.count()) {
        (None, number) => {
            let number = count(number.unwrap_or_default());
            format!("{number} generated MARC21 records")
        }
        (Some(path), None) => format!("the MARC21 records of {path}"),
        (Some(path), Some(limit)) => format!("up to {} MARC21 records of {path}", count(limit)),
    };
    let verb = match arguments.action {
        Action::Create => "Imports",
        Action::Update => "Updates",
    };
    write!(
        out,
        "{verb} {records}, {} a call, {} calls at a time. ",
        arguments.batch, arguments.workers,
    )?;
    match arguments.external() {
        Some(servers) => writeln!(out, "The API is {}.", servers.api_url)?,
        None => {
            let lifetime = humantime::format_duration(arguments.access_ttl());
            writeln!(out, "Access tokens live for {lifetime}.")?;
            if let Some(faults) = &arguments.faults {
                let what = "the token endpoint is out of order";
                writeln!(out, "After a rotation, {what}: {faults}.")?;
            }
        }
    }
    if !arguments.strategies().contains(&Strategy::Fixed) {
        return Ok(());
    }
    writeln!(
        out,
        "`fixed` has one access token for all of it; the others have evertoken keep theirs alive.",
    )
}

/// The table, and below it a line for each import that lost records, met outages or was resumed.
pub(crate) fn table(out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    let mut table = command::table(COLUMNS, 1, 1);
    table.add_rows(outcomes.iter().map(row));
    writeln!(out, "\n{table}")?;
    for outcome in outcomes {
        let strategy = outcome.strategy;
        if let Some(failure) = &outcome.counts.first_failure {
            writeln!(
                out,
                "{strategy} lost {} of {} records, from {:.1} s on: {}",
                count(outcome.counts.failed),
                count(outcome.records()),
                failure.after.as_secs_f64(),
                failure.why,
            )?;
        }
        let outages = outcome.counts.timeline.outages.len();
        if outages > 0 {
            let what = format!("{outages} outages of the token endpoint");
            writeln!(out, "{strategy} went through {what}.")?;
        }
        if outcome.done_before > 0 {
            let done = format!("{} records that were done with", count(outcome.done_before));
            writeln!(out, "{strategy} went on after {done} before.")?;
        }
    }
    Ok(())
}

fn row(outcome: &Outcome) -> [String; 10] {
    let seen = |count_of: fn(&Counters) -> u64| {
        let counters = outcome.counters.as_ref();
        counters.map_or("-".to_owned(), |counters| count(count_of(counters)))
    };
    // The baseline asks no manager for tokens, so it has no waits.
    let wait = |span: Duration| match outcome.strategy {
        Strategy::Fixed => "-".to_owned(),
        _ => brief(span),
    };
    let verdict = match (outcome.counts.failed, &outcome.stopped) {
        _ if outcome.interrupted => "interrupted",
        (_, Some(stopped)) => stopped.kind.verdict(),
        (0, None) if outcome.broken_input.is_some() => "broken input",
        (0, None) => "complete",
        _ => "FAILED",
    };
    [
        outcome.strategy.to_string(),
        count(outcome.counts.ok),
        count(outcome.counts.failed),
        count(outcome.counts.rotations),
        seen(|counters| counters.exchanges),
        seen(|counters| counters.unauthorized),
        per_second(outcome.counts.ok, outcome.elapsed),
        wait(outcome.wait_p50),
        wait(outcome.wait_p99),
        verdict.to_owned(),
    ]
}

pub(crate) fn per_second(records: u64, span: Duration) -> String {
    let nanos = span.as_nanos().max(1);
    let rate = u128::from(records) * 1_000_000_000 / nanos;
    count(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// In microseconds, milliseconds or seconds.
fn brief(span: Duration) -> String {
    match span.as_micros() {
        0 => "< 1 µs".to_owned(),
        micros @ 1..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", span.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", span.as_secs_f64()),
    }
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    strategy: &'static str,
    records: u64,
    ok: u64,
    failed: u64,
    rotations: u64,
    exchanges: Option<u64>,
    replays: Option<u64>,
    families_revoked: Option<u64>,
    unauthorized: Option<u64>,
    elapsed_ms: u128,
    wait_p50_us: u128,
    wait_p99_us: u128,
    done_before: u64,
    session_ended: Option<&'a str>,
    stopped: Option<&'a Stopped>,
    outages: usize,
    complete: bool,
}

pub(crate) fn json_line(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let counters = outcome.counters.as_ref();
    let stopped = outcome.stopped.as_ref();
    let line = Line {
        strategy: outcome.strategy.name(),
        records: outcome.records(),
        ok: outcome.counts.ok,
        failed: outcome.counts.failed,
        rotations: outcome.counts.rotations,
        exchanges: counters.map(|counters| counters.exchanges),
        replays: counters.map(|counters| counters.replays),
        families_revoked: counters.map(|counters| counters.families_revoked),
        unauthorized: counters.map(|counters| counters.unauthorized),
        elapsed_ms: outcome.elapsed.as_millis(),
        wait_p50_us: outcome.wait_p50.as_micros(),
        wait_p99_us: outcome.wait_p99.as_micros(),
        done_before: outcome.done_before,
        session_ended: stopped
            .filter(|stopped| stopped.kind == Kind::SessionEnded)
            .map(|stopped| stopped.reason.as_str()),
        stopped,
        outages: outcome.counts.timeline.outages.len(),
        complete: outcome.is_complete(),
    };
    command::json_line(out, &line)
}

/// Reports that the checkpoint is of a complete import.
pub(crate) fn nothing_left(
    out: &mut impl Write,
    arguments: &Arguments,
    strategy: Strategy,
    checkpoint: &Checkpoint,
) -> io::Result<()> {
    if arguments.json {
        let line = json!({
            "strategy": strategy.name(),
            "records": 0,
            "done_before": checkpoint.records(),
            "complete": checkpoint.rejected == 0,
        });
        return command::json_line(out, &line);
    }
    let (imported, rejected) = (count(checkpoint.imported), count(checkpoint.rejected));
    let done = format!("{imported} records were imported and {rejected} rejected");
    writeln!(out, "This import is complete: {done}. Nothing was sent.")
}

/// Names the file of the records that failed.
pub(crate) fn rejects(out: &mut impl Write, arguments: &Arguments) -> io::Result<()> {
    match &arguments.rejects {
        Some(path) if path.exists() => {
            writeln!(out, "The records that failed are in {}.", path.display())
        }
        _ => Ok(()),
    }
}

/// Reports what stopped each import, and how to resume it.
pub(crate) fn stopped(
    out: &mut impl Write,
    arguments: &Arguments,
    outcomes: &[Outcome],
) -> io::Result<()> {
    for outcome in outcomes {
        let (why, first) = match &outcome.stopped {
            Some(stopped) => {
                let beginning = match stopped.kind {
                    Kind::SessionEnded => "",
                    Kind::Configuration => "the configuration is wrong: ",
                    Kind::ApiUnavailable => "the API is not available: ",
                };
                let remedy = format!("{}, then run it again", stopped.remedy);
                (format!("{beginning}{}", stopped.reason), remedy)
            }
            None if outcome.interrupted => ("interrupted".to_owned(), "Run it again".to_owned()),
            None => continue,
        };
        let rejected = match arguments.rejects {
            Some(_) => outcome.counts.failed,
            None => 0,
        };
        let done = count(outcome.done_before + outcome.counts.ok + rejected);
        let total = arguments.count();
        let total = total.map(|total| format!(" of {}", count(total)));
        write!(
            out,
            "{}: {why}. {done}{} records are done with. {first}",
            outcome.strategy,
            total.unwrap_or_default(),
        )?;
        match &arguments.resume {
            Some(path) => writeln!(out, " with --resume {}.", path.display())?,
            None => writeln!(out, "; with --resume FILE, it would go on from there.")?,
        }
    }
    Ok(())
}

/// Reports the record that cannot be read, and how many records before it were imported.
pub(crate) fn broken_input(out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    let mut broken = outcomes.iter().filter_map(|it| it.broken_input.as_ref());
    let Some(error) = broken.next() else {
        return Ok(());
    };
    writeln!(out, "error: {error:#}")?;
    for outcome in outcomes.iter().filter(|outcome| outcome.records() > 0) {
        let (records, ok) = (count(outcome.records()), count(outcome.counts.ok));
        let before = format!("of the {records} records before it, {ok} were imported");
        writeln!(out, "{}: {before}", outcome.strategy)?;
    }
    Ok(())
}
