//! The report of `instances`: a table for people, a JSON object for programs.

use std::io::{self, Write};
use std::sync::Arc;

use comfy_table::{Cell, CellAlignment};
use serde::Serialize;

use crate::command::{count, json_line, plain_table};
use crate::counts::quantile;
use crate::messages::Micros;
use crate::run::{Counts, Tally};
use crate::site::{ReuseChoice, Servers};

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) store: &'static str,
    pub(crate) server: ReuseChoice,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) instances: usize,
    pub(crate) rotations: u64,
    pub(crate) stuck: u64,
    pub(crate) site: Arc<Servers>,
    pub(crate) tally: Tally,
}

/// The report, in the order of the output.
#[derive(Debug, Serialize)]
struct Line {
    store: &'static str,
    server: ReuseChoice,
    seconds: u64,
    seed: u64,
    instances: usize,
    rotations: u64,
    exchanges: u64,
    replays: u64,
    families_revoked: u64,
    #[serde(flatten)]
    counts: Counts,
    sessions_lost: u64,
    adopt_p50_ms: Option<f64>,
    adopt_p99_ms: Option<f64>,
    adopt_max_ms: Option<f64>,
    adoptions: usize,
    second_sendings: u64,
    pairs_lost: i128,
    overwritten: usize,
    stuck: u64,
    back_ms: f64,
    unauthorized: u64,
}

impl Line {
    fn of(outcome: &Outcome) -> Self {
        let (server, tally) = (&outcome.site.server, &outcome.tally);
        let times = tally.adoptions.times();
        let adopt = |share| quantile(&times, share).map(millis);
        // A pair that was committed twice was issued once.
        let committed = i128::from(outcome.rotations) - i128::from(tally.history.again);
        Self {
            store: outcome.store,
            server: outcome.server,
            seconds: outcome.seconds,
            seed: outcome.seed,
            instances: outcome.instances,
            rotations: outcome.rotations,
            exchanges: server.exchanges(),
            replays: tally.sendings.replays(),
            families_revoked: server.families_revoked(),
            counts: tally.counts.clone(),
            sessions_lost: tally.counts.lost.values().sum(),
            adopt_p50_ms: adopt(0.5),
            adopt_p99_ms: adopt(0.99),
            adopt_max_ms: adopt(1.0),
            adoptions: times.len(),
            second_sendings: tally.sendings.second(),
            pairs_lost: i128::from(server.rotations()) - committed,
            overwritten: tally.overwritten.len(),
            stuck: outcome.stuck,
            back_ms: millis(tally.back),
            unauthorized: outcome.site.api.unauthorized(),
        }
    }
}

/// The rows of the table, in the order of [`table`]: a name and its meaning.
const ROWS: [&str; 18] = [
    "instances | processes that shared the session",
    "rotations | pairs that were committed in the store",
    "exchanges | refresh tokens that arrived at the server",
    "replays | of these, the ones that came again after their answer was read",
    "families revoked | by the server, for a token that it had consumed",
    "ok | requests that the API answered",
    "failed | requests that failed otherwise than by the end of the session",
    "told | requests that were not sent because the session was over",
    "outcome unknown | sessions that ended so",
    "sessions lost | all that ended, and were replaced by a new sign-in",
    "adopt p50 | from a pair's commit until another instance has it",
    "adopt p99 | ",
    "kills | ",
    "pauses | ",
    "second sendings | tokens sent again after an unclear answer, or from another's lease",
    "pairs lost | issued by the server and committed by no instance",
    "overwritten | newer pairs that gave way to older ones",
    "stuck | instances that were not served again",
];

pub(crate) fn write(out: &mut impl Write, outcome: &Outcome, json: bool) -> io::Result<()> {
    let line = Line::of(outcome);
    match json {
        true => json_line(out, &line),
        false => table(out, &line),
    }
}

fn table(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let shown = |millis: f64| format!("{millis:.1} ms");
    let time = |millis: Option<f64>| millis.map_or("-".to_owned(), shown);
    let values = [
        line.instances.to_string(),
        count(line.rotations),
        count(line.exchanges),
        count(line.replays),
        count(line.families_revoked),
        count(line.counts.ok),
        count(line.counts.failed),
        count(line.counts.told),
        count(line.counts.outcome_unknown),
        count(line.sessions_lost),
        time(line.adopt_p50_ms),
        time(line.adopt_p99_ms),
        count(line.counts.kills),
        count(line.counts.pauses),
        count(line.second_sendings),
        line.pairs_lost.to_string(),
        line.overwritten.to_string(),
        count(line.stuck),
    ];
    let mut table = plain_table();
    for (row, value) in ROWS.into_iter().zip(values) {
        let (name, meaning) = row.split_once(" | ").unwrap_or_default();
        let value = Cell::new(value).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), value, Cell::new(meaning)]);
    }
    writeln!(out, "{table}")?;
    for (error, count) in &line.counts.errors {
        writeln!(out, "{count} requests failed: {error}")?;
    }
    out.flush()
}

fn millis(time: Micros) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a run takes less than centuries"
    )]
    let time = time as f64;
    time / 1e3
}
