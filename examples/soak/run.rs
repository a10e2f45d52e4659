//! The course of a run.

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::clock::{Clock as _, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::arguments::Arguments;
use crate::callers::Caller;
use crate::faults::{Faults, Random, stopped_within};
use crate::judgement::Quarters;
use crate::process::Sample;
use crate::report::{self, Line, Summary};
use crate::servers::Order;
use crate::session::{LIFE, Session, Setup, Strategy};
use crate::site::Site;
use crate::store::Location;
use crate::tally::Tally;
use crate::{FAILED, INTERRUPTED};

/// How often memory, tasks and descriptors are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A store with a server makes a second connection when it first waits for a change. How many of the stores have made
/// theirs by the calmest moment of a quarter is chance.
const SPARE_OF_SESSION: u64 = 4;

/// Everything from the first sign-in to the summary; returns the exit status.
pub(crate) async fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<u8> {
    let seed = arguments.seed();
    report::introduction(out, arguments, seed)?;
    let mut scratch = None;
    let store = match &arguments.store {
        Some(location) => location.clone(),
        None => {
            let directory = scratch.insert(tempfile::tempdir()?);
            Location::File(directory.path().join("sessions"))
        }
    };
    let site = Arc::new(Site::open(arguments.access_ttl).await?);
    let trouble = watch::Sender::new(None);
    let setup = Arc::new(Setup {
        addresses: site.addresses.clone(),
        store,
        trouble: trouble.subscribe(),
        run: format!("run of {} s", SystemClock.wall().as_secs()),
    });
    let mut sessions = Vec::new();
    for strategy in Strategy::ALL {
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
            let caller = Caller::new(
                Arc::clone(session),
                site.addresses.api_url.clone(),
                arguments.period(),
                Arc::clone(&tally),
                stop.subscribe(),
            );
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

/// Measures and prints until the time is over; returns whether Ctrl-C came before.
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
        // Not around the orders: an order that is given up leaves its answer in the pipe.
        tokio::select! {
            _ = looks.tick() => {}
            // Where it cannot be listened for, there is none.
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

/// Restarts a manager now and then.
async fn restarts(
    session: Arc<Session>,
    tally: Arc<Tally>,
    mut random: Random,
    mut stop: watch::Receiver<bool>,
) {
    while !stopped_within(random.between(LIFE), &mut stop).await {
        tally.restarted(session.strategy, session.restart().await);
    }
}
