//! A soak test: managers with each strategy run for minutes or hours, in real time and with frequent faults. No call may fail,
//! and the process must not grow.
//!
//! ```text
//! cargo run --release --example soak -- --for 1h
//! ```
//!
//! Each strategy has its own session, and callers that call an API all the time. From time to time a front before the token
//! endpoint answers in its place, as gateways and firewalls do; the store fails; and each manager is shut down and built
//! again. `session` holds all that an application needs of evertoken, `faults` the outages, and `judgement` the measurement.
//!
//! The servers and the front run in another process, which is this program once more: the embedded authorization server
//! remembers every token that it issued, and this memory must not count as the client's.

mod arguments;
mod faults;
mod judgement;
mod report;
mod servers;
mod session;
mod tally;

#[allow(dead_code)]
#[path = "../shared/command.rs"]
mod command;
// `instances` names its store by the same module.
#[allow(dead_code)]
#[path = "../shared/store.rs"]
mod store;

use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use evertoken::clock::{Clock as _, SystemClock};
use reqwest::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use self::arguments::Arguments;
use self::command::{INTERRUPTED, Random, Strategy};
use self::faults::{Faults, between, stopped_within};
use self::judgement::{Quarters, Sample};
use self::report::{Line, Summary};
use self::servers::{Order, Site};
use self::session::{Caller, LIFE, Session, Setup};
use self::store::Location;
use self::tally::Tally;

/// A call failed, or something grew.
const FAILED: u8 = 1;

/// The run could not take place. `clap` exits with this status too when the arguments are wrong.
const NO_RUN: u8 = 2;

/// The time between two samples of memory, tasks and descriptors.
const LOOK: Duration = Duration::from_secs(1);

/// Tasks and descriptors of a session that do not count as growth. A store on a server opens a second connection when it first
/// waits for a change, and it is chance how many stores have done so by the calmest moment of a quarter.
const SPARE_OF_SESSION: u64 = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.serve {
        true => servers::main().await.map(|()| 0),
        false => run(&arguments, &mut io::stdout()).await,
    };
    command::exit(result, NO_RUN)
}

/// Runs from the first sign-in to the summary; returns the exit status.
async fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<u8> {
    let seed = arguments.seed();
    report::introduction(out, arguments, seed)?;
    let (store, _directory) = Location::or_scratch(arguments.store.as_ref())?;
    let site = Arc::new(Site::open(arguments.access_ttl).await?);
    let trouble = watch::Sender::new(None);
    let setup = Arc::new(Setup {
        addresses: site.addresses.clone(),
        store,
        trouble: trouble.subscribe(),
        run: format!("run of {} s", SystemClock.wall().as_secs()),
    });
    let mut sessions = Vec::new();
    for strategy in Strategy::MANAGED {
        sessions.push(Arc::new(Session::open(strategy, Arc::clone(&setup)).await?));
    }

    let tally = Arc::new(Tally::new());
    let stop = watch::Sender::new(false);
    let mut random = Random(seed);
    let faults = Faults {
        site: Arc::clone(&site),
        trouble,
        tally: Arc::clone(&tally),
        random: Random(random.next()),
    };
    let faults = tokio::spawn(faults.run(stop.subscribe()));
    let mut tasks = JoinSet::new();
    for session in &sessions {
        let restarts = restarts(
            Arc::clone(session),
            Arc::clone(&tally),
            Random(random.next()),
            stop.subscribe(),
        );
        tasks.spawn(restarts);
        for number in 0..arguments.callers {
            let caller = Caller {
                session: Arc::clone(session),
                http: Client::new(),
                url: site.addresses.api_url.clone(),
                period: arguments.period(),
                tally: Arc::clone(&tally),
                stop: stop.subscribe(),
            };
            let after = arguments.period() * number / arguments.callers;
            tasks.spawn(caller.run(after));
        }
    }

    let spare = match setup.store {
        Location::File(_) => 0,
        Location::Redis(_) | Location::Postgres(_) => SPARE_OF_SESSION * sessions.len() as u64,
    };
    let mut quarters = Quarters::of(arguments.run_time, spare);
    let interrupted = watch(arguments, out, &site, &tally, &mut quarters).await?;

    let last = Sample::take();
    stop.send_replace(true);
    faults.await??;
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    let (counts, elapsed) = (tally.counts(), tally.elapsed().min(arguments.run_time));
    let seen = site.order(Order::Count).await?;
    for session in sessions {
        let session = Arc::into_inner(session).context("a session is still in use")?;
        session.end().await?;
    }
    let last = Line::of(elapsed, &counts, seen, last);
    let judgement = quarters.judged();
    let summary = Summary::new(interrupted, seed, last, &counts, seen, judgement);
    report::summary(out, &summary, arguments.json)?;
    Ok(match (summary.passed, interrupted) {
        (true, _) => 0,
        (_, true) => INTERRUPTED,
        _ => FAILED,
    })
}

/// Measures and prints until the end of the run; returns whether Ctrl-C came before.
async fn watch(
    arguments: &Arguments,
    out: &mut impl Write,
    site: &Site,
    tally: &Tally,
    quarters: &mut Quarters,
) -> anyhow::Result<bool> {
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next_line = arguments.every;
    loop {
        // The `select!` does not cover the orders: a cancelled order would leave its answer in the pipe.
        tokio::select! {
            _ = looks.tick() => {}
            // An error means that the program cannot listen for Ctrl-C.
            Ok(()) = &mut interrupt => return Ok(true),
        }
        let (elapsed, sample) = (tally.elapsed(), Sample::take());
        quarters.note(elapsed, sample);
        if elapsed >= next_line {
            let seen = site.order(Order::Count).await?;
            let line = Line::of(elapsed, &tally.counts(), seen, sample);
            report::line(out, &line, arguments.json)?;
            while next_line <= elapsed {
                next_line += arguments.every;
            }
        }
        if elapsed >= arguments.run_time {
            return Ok(false);
        }
    }
}

/// Restarts the manager of a session from time to time.
async fn restarts(
    session: Arc<Session>,
    tally: Arc<Tally>,
    mut random: Random,
    mut stop: watch::Receiver<bool>,
) {
    while !stopped_within(between(&mut random, LIFE), &mut stop).await {
        tally.restarted(session.strategy, session.restart().await);
    }
}
