//! What evertoken costs: a manager, a record, a write, a read, a herd of waiters; beside the cost of the same written by hand.
//! Times and processor shares differ from machine to machine; quote the ratios of one run.
//!
//! `cargo bench --all-features --bench light`, with redis-server and PostgreSQL installed; `-- --part manager` runs one
//! part, and may be given several times. Without the features `redis` and `postgres`, the table reports that these stores were
//! not measured. The parts:
//!
//! - **manager**: bytes of heap for each of 1,000 managers over the bytes of their tokens, which count once. The bytes are
//!   those that the program requested; the resident memory of the next part shows what the allocator adds. *built* is
//!   after `build()`, *first use* after one `token()`, *rotated* after one `rotate()`, *two threads* after a second thread
//!   took an `authorization()` of each manager, and *left* after all managers were dropped. *tasks* are the tasks of the
//!   runtime for each manager after the first use, when rotations have ended; the last *left* is their number after all
//!   managers were dropped.
//! - **many**: the totals for 100,000 managers that share an endpoint, and the share of a core that the process uses in 10 s
//!   without requests. *resident* is the whole process, with the memory that the allocator keeps from the row before.
//! - **sessions**: bytes of heap for each of 10,000 sessions of `Sessions` over the bytes of their tokens: in a memory store
//!   without a manager, and with one. *in memory* is the number of sessions that the process has besides the store's records.
//!   Then the same for 1,000,000 sessions at rest with pairs of 1 KB, which take 2 GB (`--sessions 10000` takes fewer); and
//!   the time of the processor for each rotation where 100,000 sessions with a manager fall due within 2 s, by the timer.
//! - **presented**: a warm presentation of a session's current pair, and of its id, beside `token()` of its manager; and 10,000
//!   presentations of one expired pair at once, on one instance and on three that share a memory store, with the number of
//!   exchanges at the server.
//! - **gateway**: a warm request with a sealed pair through the gateway's layer, beside a layer that only passes on, and how often
//!   each allocates.
//! - **record**: the bytes of a record as JSON besides the two tokens, after 10 and after 10,000 rotations.
//! - **writes**: the bytes that a rotation writes, and how often a rotation waits for the store. A proxy between client and
//!   server counts a *round trip* at each change of direction on a connection, so commands that are sent together count
//!   once. *log* is the append-only file of Redis, and the write-ahead log of PostgreSQL without the images of whole pages,
//!   which depend on the time of the last checkpoint. *kept* is what the store holds of the session afterwards.
//! - **reads**: a call of a warm manager, awaited. The *floor* is a swapped pointer, two coarse clocks and a clone of
//!   one ready header; the *striped* floor has a copy of the header for each thread. Both are written by hand.
//! - **herd**: 10,000 tasks wait for one token, which comes after 20 ms. The time is from the answer of the source until the
//!   last task runs again.
//!
//! A sample in which other processes had the processor is dropped, up to a limit; *samples* is the number of samples left.
//! *disturbed* means that too few samples were left and that the least disturbed ones count: then the figures for one thread
//! still hold, and those for several threads mean little.

#![allow(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]
#![expect(clippy::print_stdout, reason = "a bench reports what it measured")]

mod by_hand;
#[cfg(feature = "gateway")]
mod gateway;
mod herd;
mod manager;
mod presented;
mod reads;
mod rotations;
#[cfg(any(feature = "redis", feature = "postgres"))]
#[path = "../../tests/support/services.rs"]
mod services;
mod sessions;
mod shared;
mod writes;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Arguments {
    /// Runs this part; without this option, all parts run.
    #[arg(long)]
    part: Vec<Part>,
    /// The number of sessions at rest in the part `sessions`; a tenth of them rotates.
    #[arg(long, default_value_t = 1_000_000)]
    sessions: usize,
    /// The flag that cargo passes to each bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Manager,
    Many,
    Sessions,
    Presented,
    #[cfg(feature = "gateway")]
    Gateway,
    Record,
    Writes,
    Reads,
    Herd,
}

impl Part {
    fn run(self, sessions: usize) {
        match self {
            Self::Manager => manager::run(),
            Self::Many => manager::run_many(),
            Self::Sessions => {
                sessions::run();
                sessions::run_at_rest(sessions);
                rotations::run(sessions / 10);
            }
            Self::Presented => presented::run(),
            #[cfg(feature = "gateway")]
            Self::Gateway => gateway::run(),
            Self::Record => manager::run_record(),
            Self::Writes => writes::run(),
            Self::Reads => reads::run(),
            Self::Herd => herd::run(),
        }
    }
}

fn main() {
    let Arguments {
        part,
        sessions,
        bench: _,
    } = Arguments::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} processors");
    for each in Part::value_variants() {
        if part.is_empty() || part.contains(each) {
            println!();
            each.run(sessions);
        }
    }
}

/// A runtime on this thread alone, so that the allocations of its tasks are counted.
fn here() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
