//! A process with very many managers: what they hold in all, and what they do while nothing is asked of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::manager::{Fleet, Kind};
use crate::samples::processor_time;
use crate::{float, table};

const COUNT: usize = 100_000;

/// So many are measured first, and fewer than all are built where the machine has no room for them.
const TRIED: usize = 1_000;

const IDLE: Duration = Duration::from_secs(10);

const MEGA: f64 = 1e6;

pub(crate) fn run() {
    let header = [
        "strategy",
        "managers",
        "over their tokens, MB",
        "resident, MB",
        "first use, s",
        "tasks",
        "idle, % of a core",
    ];
    let mut table = table(&header);
    for kind in [Kind::OnRequest, Kind::BackgroundTimer] {
        let count = fitting(kind);
        let mut fleet = Fleet::new(kind);
        fleet.build(count);
        let since = Instant::now();
        fleet.use_first();
        let first_use = since.elapsed();
        // What the first use left to do, if anything.
        fleet.idle(Duration::from_secs(1));
        let tasks = fleet.tasks();
        let (used, since) = (processor_time(), Instant::now());
        fleet.idle(IDLE);
        let idle = (processor_time() - used).as_secs_f64() / since.elapsed().as_secs_f64();
        let resident = resident().map_or("unknown".to_owned(), |bytes| {
            format!("{:.0}", float(bytes) / MEGA)
        });
        table.add_row([
            kind.name().to_owned(),
            count.to_string(),
            format!("{:.1}", float(fleet.bytes_over_tokens()) / MEGA),
            resident,
            format!("{:.1}", first_use.as_secs_f64()),
            tasks.to_string(),
            format!("{:.2}", idle * 100.0),
        ]);
        fleet.drop_all();
    }
    println!(
        "A process with very many managers over one endpoint, each with a store of its own; idle for {IDLE:?}.\n{table}"
    );
}

/// How many there is room for.
fn fitting(kind: Kind) -> usize {
    let mut fleet = Fleet::new(kind);
    let before = resident();
    fleet.build(TRIED);
    fleet.use_first();
    let took = before.zip(resident()).map(|(before, now)| now - before);
    // What the allocator adds, and what was free in it before.
    let each = fleet.bytes_over_tokens().max(took.unwrap_or(0)) * 2 / (TRIED as i64) + 1_200;
    match available() {
        Some(bytes) if bytes / each < COUNT as i64 => {
            let fitting = usize::try_from(bytes / each).unwrap_or(TRIED);
            fitting / TRIED * TRIED
        }
        _ => COUNT,
    }
}

/// Of this process, where the system says so.
fn resident() -> Option<i64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Of the machine, likewise.
fn available() -> Option<i64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

fn kilobytes(file: &str, name: &str) -> Option<i64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}
