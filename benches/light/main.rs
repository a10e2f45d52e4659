//! What evertoken weighs: a manager, a record, a write, a read, a herd of waiters; beside what the same costs when it
//! is written by hand. Times and processor shares differ from machine to machine; quote the ratios of one run.
//!
//! `cargo bench --all-features --bench light`, with redis-server and PostgreSQL installed; `-- --part manager` runs one
//! part, and may be given several times. Without the features `redis` and `postgres` the figures of these stores are
//! left out, and the table says so. The parts:
//!
//! - **manager**: bytes of heap for each of 1,000 managers over the bytes of their tokens, which count once. They are
//!   what was asked of the allocator; what the allocator adds is seen in the resident memory of the next part. *built*
//!   is after `build()`, *first use* after one `token()`, *rotated* after one `rotate()`, *two threads* after a second
//!   thread took an `authorization()` of each, and *left* after all were dropped. *tasks* are those of the runtime for
//!   each manager, once rotations have ended, after the first use and after all were dropped.
//! - **many**: the same for 100,000 managers that share an endpoint, in all, and what share of a core the process uses
//!   in 10 s in which nothing is asked of them. *resident* is the process, with what the allocator has kept of the row
//!   before.
//! - **record**: what a record takes as JSON besides the two tokens, after 10 and after 10,000 rotations.
//! - **writes**: what a rotation writes and how often it waits for the store. A *round trip* is a change of direction
//!   on a connection, from the server's turn to the client's, as a proxy between them counts it: what is sent in one go
//!   counts once. *log* is PostgreSQL's write-ahead log without the images of whole pages, which depend on when the last
//!   checkpoint was, and Redis' append-only file. *kept* is what the store holds of the session afterwards.
//! - **reads**: a call of a warm manager, awaited. The *floor* is a swapped pointer, two coarse clocks and a clone of
//!   one ready header; the *striped* floor has a copy of the header for each thread. Both are written by hand.
//! - **herd**: 10,000 tasks wait for one token, which takes 20 ms to get. Measured is from the answer of the source until
//!   the last task runs again.
//!
//! A sample in which other processes had the processor is dropped, up to a limit; *samples* says how many there are
//! left. Where it says *disturbed*, there were too few others, and those count that were disturbed least: then what one
//! thread does still holds, and what several do at once says little.

#![allow(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]
#![expect(clippy::print_stdout, reason = "a bench reports what it measured")]

mod by_hand;
mod herd;
mod issuer;
mod manager;
mod many;
mod reads;
mod record;
mod samples;
#[cfg(any(feature = "redis", feature = "postgres"))]
#[path = "../../tests/support/services.rs"]
mod services;
mod writes;

use clap::{Parser, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

#[derive(Parser)]
struct Arguments {
    /// Runs this part; all of them if none is named.
    #[arg(long)]
    part: Vec<Part>,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Manager,
    Many,
    Record,
    Writes,
    Reads,
    Herd,
}

impl Part {
    fn run(self) {
        match self {
            Self::Manager => manager::run(),
            Self::Many => many::run(),
            Self::Record => record::run(),
            Self::Writes => writes::run(),
            Self::Reads => reads::run(),
            Self::Herd => herd::run(),
        }
    }
}

fn main() {
    let Arguments { part, bench: _ } = Arguments::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} processors");
    for each in Part::value_variants() {
        if part.is_empty() || part.contains(each) {
            println!();
            each.run();
        }
    }
}

/// A runtime on this thread alone, so that all that is allocated by its tasks is counted here.
fn here() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(number: i64) -> f64 {
    number as f64
}
