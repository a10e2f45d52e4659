//! What is said about a run: to people in a table, to programs as a JSON object.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, LineStyle, Table};
use indicatif::HumanCount;
use serde::Serialize;

use crate::adoptions::quantile;
use crate::arguments::ServerChoice;
use crate::message::Micros;
use crate::run::Tally;
use crate::site::Site;

/// A run that is over.
pub(crate) struct Outcome {
    pub(crate) store: &'static str,
    pub(crate) server: ServerChoice,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) instances: usize,
    pub(crate) rotations: u64,
    pub(crate) stuck: u64,
    pub(crate) site: Arc<Site>,
    pub(crate) tally: Tally,
}

/// In the order in which it is written.
#[derive(Debug, Serialize)]
struct Line {
    store: &'static str,
    server: ServerChoice,
    seconds: u64,
    seed: u64,
    instances: usize,
    rotations: u64,
    exchanges: u64,
    replays: u64,
    families_revoked: u64,
    ok: u64,
    failed: u64,
    outcome_unknown: u64,
    sessions_lost: u64,
    adopt_p50_ms: Option<f64>,
    adopt_p99_ms: Option<f64>,
    adopt_max_ms: Option<f64>,
    adoptions: usize,
    told: u64,
    sign_ins: u64,
    kills: u64,
    pauses: u64,
    second_sendings: u64,
    pairs_lost: i128,
    overwritten: usize,
    stuck: u64,
    back_ms: f64,
    unauthorized: u64,
    lost: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
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
            ok: tally.ok,
            failed: tally.failed,
            outcome_unknown: tally.outcome_unknown,
            sessions_lost: tally.lost.values().sum(),
            adopt_p50_ms: adopt(0.5),
            adopt_p99_ms: adopt(0.99),
            adopt_max_ms: adopt(1.0),
            adoptions: times.len(),
            told: tally.told,
            sign_ins: tally.sign_ins,
            kills: tally.kills,
            pauses: tally.pauses,
            second_sendings: tally.sendings.second(),
            pairs_lost: i128::from(server.rotations()) - committed,
            overwritten: tally.overwritten.len(),
            stuck: outcome.stuck,
            back_ms: millis(tally.back),
            unauthorized: outcome.site.api.unauthorized(),
            lost: tally.lost.clone(),
            errors: tally.errors.clone(),
        }
    }
}

pub(crate) fn write(out: &mut impl Write, outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    let line = Line::of(outcome);
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&line)?)?,
        false => table(out, &line)?,
    }
    Ok(out.flush()?)
}

fn table(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let count = |number: u64| HumanCount(number).to_string();
    let time =
        |millis: Option<f64>| millis.map_or("-".to_owned(), |millis| format!("{millis:.1} ms"));
    let rows = [
        (
            "instances",
            line.instances.to_string(),
            "processes that shared the session",
        ),
        (
            "rotations",
            count(line.rotations),
            "pairs that were committed in the store",
        ),
        (
            "exchanges",
            count(line.exchanges),
            "refresh tokens that arrived at the server",
        ),
        (
            "replays",
            count(line.replays),
            "of these, the ones that came again after their answer was read",
        ),
        (
            "families revoked",
            count(line.families_revoked),
            "by the server, for a token that it had consumed",
        ),
        ("ok", count(line.ok), "requests that the API answered"),
        (
            "failed",
            count(line.failed),
            "requests that failed otherwise than by the end of the session",
        ),
        (
            "told",
            count(line.told),
            "requests that were told that the session is over",
        ),
        (
            "outcome unknown",
            count(line.outcome_unknown),
            "sessions that ended so",
        ),
        (
            "sessions lost",
            count(line.sessions_lost),
            "all that ended, and were replaced by a new sign-in",
        ),
        (
            "adopt p50",
            time(line.adopt_p50_ms),
            "from a pair's commit until another instance has it",
        ),
        ("adopt p99", time(line.adopt_p99_ms), ""),
        ("kills", count(line.kills), ""),
        ("pauses", count(line.pauses), ""),
        (
            "second sendings",
            count(line.second_sendings),
            "tokens sent again after an unclear answer, or from another's lease",
        ),
        (
            "pairs lost",
            line.pairs_lost.to_string(),
            "issued by the server and committed by nobody",
        ),
        (
            "overwritten",
            line.overwritten.to_string(),
            "newer pairs that gave way to older ones",
        ),
        (
            "stuck",
            count(line.stuck),
            "instances that were not served again",
        ),
    ];
    let lines = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    let mut table = Table::new();
    table.load_style(lines);
    for (name, value, what) in rows {
        let value = Cell::new(value).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), value, Cell::new(what)]);
    }
    writeln!(out, "{table}")?;
    for (error, count) in &line.errors {
        writeln!(out, "{count} requests failed: {error}")?;
    }
    Ok(())
}

fn millis(time: Micros) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no run takes centuries")]
    let time = time as f64;
    time / 1e3
}
