//! The report of `folio_import`: a table for people, and one JSON object a line for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::arguments::{Arguments, Ui};
use crate::command::{self, count, name};
use crate::job::Outcome;

const COLUMNS: &str = "FOLIO | session | imported | failed | rotations | sign-ins | 401s | replays | the user's browser | verdict";

pub(crate) fn introduction(
    out: &mut impl Write,
    arguments: &Arguments,
    total: u64,
) -> io::Result<()> {
    writeln!(
        out,
        "Importing {} records takes {}, and about {} here. Access tokens live for {}, refresh tokens for {}.",
        count(total),
        spelled(arguments.length),
        spelled(arguments.length.div_f64(arguments.time_scale)),
        spelled(arguments.access_ttl),
        spelled(arguments.refresh_ttl),
    )?;
    if arguments.ui != Ui::None {
        writeln!(
            out,
            "Meanwhile the user works on in a browser that rotates as {} does, and logs out after {}.",
            arguments.ui,
            spelled(arguments.logout_at),
        )?;
    }
    out.flush()
}

pub(crate) fn table(
    out: &mut impl Write,
    outcomes: &[Outcome],
    arguments: &Arguments,
) -> io::Result<()> {
    let mut table = command::table(COLUMNS, 2, 2);
    table.add_rows(outcomes.iter().map(|outcome| row(outcome, arguments)));
    writeln!(out, "\n{table}")?;
    for outcome in outcomes {
        let import = format!("{} {}", name(outcome.mode), name(outcome.session));
        if let Some(error) = &outcome.session_ended {
            writeln!(
                out,
                "{import}: {error}. {} of {} records are done with. Sign in, then import the others.",
                count(outcome.counts.ok + outcome.counts.failed),
                count(outcome.total),
            )?;
        }
        if let Some(failure) = &outcome.counts.first_failure {
            writeln!(
                out,
                "{import}: {} of {} records failed, from {} on: {}.",
                count(outcome.counts.failed),
                count(outcome.total),
                spelled(failure.after),
                failure.why,
            )?;
        }
    }
    Ok(())
}

fn row(outcome: &Outcome, arguments: &Arguments) -> [String; 10] {
    [
        name(outcome.mode),
        name(outcome.session),
        count(outcome.counts.ok),
        count(outcome.counts.failed),
        count(outcome.counts.rotations),
        count(outcome.counters.logins),
        count(outcome.counters.unauthorized),
        count(outcome.counters.replays),
        browser(outcome, arguments),
        verdict(outcome),
    ]
}

fn browser(outcome: &Outcome, arguments: &Arguments) -> String {
    match outcome.user.end {
        _ if arguments.ui == Ui::None => "closed".to_owned(),
        Some((at, end)) => format!("{} after {}", end.name(), spelled(at)),
        None => "works on".to_owned(),
    }
}

pub(crate) fn verdict(outcome: &Outcome) -> String {
    let after = spelled(outcome.elapsed);
    match &outcome.counts.first_failure {
        _ if outcome.session_ended.is_some() => format!("session ended after {after}"),
        Some(failure) => format!("FAILED from {} on", spelled(failure.after)),
        None => format!("complete after {after}"),
    }
}

/// Writes a time in whole seconds, or exactly if it is less than a second.
pub(crate) fn spelled(span: Duration) -> String {
    let whole = Duration::from_secs(span.as_secs());
    let span = if whole.is_zero() { span } else { whole };
    humantime::format_duration(span).to_string()
}

/// One line of `--json`. Times are simulated seconds.
#[derive(Serialize)]
struct Line {
    mode: String,
    session: String,
    ui: String,
    records: u64,
    ok: u64,
    failed: u64,
    rotations: u64,
    sign_ins: u64,
    refreshes: u64,
    replays: u64,
    sessions_revoked: u64,
    unauthorized: u64,
    elapsed_s: f64,
    failed_from_s: Option<f64>,
    session_ended: Option<String>,
    ui_rotations: usize,
    ui_end: Option<&'static str>,
    ui_end_s: Option<f64>,
    complete: bool,
}

pub(crate) fn json_lines(
    out: &mut impl Write,
    outcomes: &[Outcome],
    arguments: &Arguments,
) -> io::Result<()> {
    for outcome in outcomes {
        let Outcome { counters, user, .. } = outcome;
        let failure = outcome.counts.first_failure.as_ref();
        let line = Line {
            mode: name(outcome.mode),
            session: name(outcome.session),
            ui: arguments.ui.to_string(),
            records: outcome.total,
            ok: outcome.counts.ok,
            failed: outcome.counts.failed,
            rotations: outcome.counts.rotations,
            sign_ins: counters.logins,
            refreshes: counters.refreshes,
            replays: counters.replays,
            sessions_revoked: counters.sessions_revoked,
            unauthorized: counters.unauthorized,
            elapsed_s: seconds(outcome.elapsed),
            failed_from_s: failure.map(|failure| seconds(failure.after)),
            session_ended: outcome.session_ended.as_ref().map(ToString::to_string),
            ui_rotations: user.rotations.len(),
            ui_end: user.end.map(|(_, end)| end.name()),
            ui_end_s: user.end.map(|(at, _)| seconds(at)),
            complete: outcome.is_complete(),
        };
        command::json_line(out, &line)?;
    }
    Ok(())
}

/// Rounds to a tenth of a second, which is finer than a step of the simulated time.
fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 10.0).round() / 10.0
}
