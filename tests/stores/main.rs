//! Facts that hold on every store. The tests are named by store: `memory::n2_..`, `file::n2_..`, `redis::n2_..`,
//! `postgres::n2_..`.
//!
//! The tests of a store whose server is not installed, or whose feature is off, are ignored, and reported as skipped.
//! The tests of seals run with the feature `seal`, on the stores that keep records outside the process.
//!
//! With `EVERTOKEN_SERVICES=required` in the environment, a missing store is a failure.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod backend;
mod cases;
mod line;
mod scene;
#[path = "../support/services.rs"]
mod services;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use parking_lot::{Mutex, RwLock};
use tracing_subscriber::filter::LevelFilter;

use self::backend::Backend;
use self::cases::Case;
use self::scene::Scene;

/// The time after which a test counts as hanging. Every test is much shorter, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The tests wait for servers and clocks rather than for processors.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let backends = backend::all();
    let missing: Vec<_> = backends.iter().filter_map(Backend::missing).collect();
    if !arguments.list {
        collect_logs();
        if services::are_required() && !missing.is_empty() {
            for missing in missing {
                eprintln!("a required store is missing: {missing}");
            }
            return ExitCode::FAILURE;
        }
    }
    let trials = backends.iter().flat_map(|backend| {
        let trial = |case: &Case| trial(backend, *case);
        let cases = cases::all();
        #[cfg(feature = "seal")]
        let cases = cases.chain(cases::sealed().filter(|_| backend.seals()));
        cases.map(trial).collect::<Vec<_>>()
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        for missing in missing {
            let missing = format!("the tests of {missing}");
            eprintln!("skipped: {missing}; `tests/all.sh` runs them");
        }
    }
    conclusion.exit_code()
}

fn trial(backend: &Arc<Backend>, case: Case) -> Trial {
    let name = format!("{}::{}", backend.name(), case.name);
    let ignored = backend.missing().is_some();
    let backend = Arc::clone(backend);
    Trial::test(name, move || run(&backend, case)).with_ignored_flag(ignored)
}

fn run(backend: &Backend, case: Case) -> Result<(), Failed> {
    static MACHINE: RwLock<()> = RwLock::new(());
    let storage = backend.storage()?;
    let _alone = case.is_heavy.then(|| MACHINE.write());
    let _beside_others = (!case.is_heavy).then(|| MACHINE.read());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let case = async { (case.run)(Scene::new(storage)).await };
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, case).await });
    runtime.shutdown_background();
    done.map_err(|_| format!("the test hangs: not finished after {} s", LIMIT.as_secs()).into())
}

/// The log lines of all threads, at all levels.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Collects the log lines from now on.
fn collect_logs() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(|| Writer)
        .init();
}

/// Returns whether a log line holds the text.
pub(crate) fn logs_hold(text: &str) -> bool {
    // All tests write to the log, hundreds of megabytes, and wait meanwhile.
    memchr::memmem::find(&LOG.lock(), text.as_bytes()).is_some()
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        LOG.lock().extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
