//! One import: what an application needs of evertoken, from its session to the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use evertoken::testing::FolioCounters;
use evertoken::{BackgroundTimer, Event, Events, TokenManager, TokenPair};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::arguments::{Arguments, Mode, Session};
use crate::batches::{self, Batches};
use crate::done::Done;
use crate::site::Site;
use crate::stop::Stop;
use crate::tally::{Failure, Tally};
use crate::timeline::Timeline;
use crate::ui::{self, Life};
use crate::worker::{Access, Worker};

/// What became of an import. Times are simulated, and count from its start.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) mode: Mode,
    pub(crate) session: Session,
    pub(crate) total: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<Failure>,
    /// Why it stopped before its end.
    pub(crate) session_ended: Option<evertoken::Error>,
    /// The job's own.
    pub(crate) rotations: u64,
    /// What FOLIO saw, of the browser too.
    pub(crate) counters: FolioCounters,
    pub(crate) elapsed: Duration,
    pub(crate) timeline: Timeline,
    pub(crate) user: Life,
}

impl Outcome {
    pub(crate) fn is_complete(&self) -> bool {
        self.ok == self.total
    }
}

/// Imports everything, or what can be imported until the session ends.
pub(crate) async fn run(
    mode: Mode,
    session: Session,
    arguments: &Arguments,
    total: u64,
) -> anyhow::Result<Outcome> {
    let site = Arc::new(Site::open(mode, arguments, total).await?);
    // The user signs in, and presses the button.
    let pair = site.user_signs_in()?;
    let (over, is_over) = watch::channel(false);
    let job = async {
        let imported = import(session, arguments, Arc::clone(&site), pair.clone()).await;
        over.send_replace(true);
        imported
    };
    let user = ui::run(&site, arguments, pair.clone(), is_over);
    let (imported, user) = tokio::try_join!(job, user)?;
    let Imported {
        tally,
        stop,
        elapsed,
    } = imported;
    Ok(Outcome {
        mode,
        session,
        total,
        ok: tally.ok(),
        failed: tally.failed(),
        first_failure: tally.first_failure().cloned(),
        session_ended: stop.why().cloned(),
        rotations: tally.rotations(),
        counters: site.folio.counters(),
        elapsed,
        timeline: tally.timeline(),
        user,
    })
}

struct Imported {
    tally: Arc<Tally>,
    stop: Arc<Stop<evertoken::Error>>,
    elapsed: Duration,
}

async fn import(
    session: Session,
    arguments: &Arguments,
    site: Arc<Site>,
    pair: TokenPair,
) -> anyhow::Result<Imported> {
    let Batches { receiver, reader } = batches::read(arguments, Done::default())?;
    let batches = Arc::new(Mutex::new(receiver));
    let tally = Arc::new(Tally::start()?);
    let stop = Arc::new(Stop::default());
    let tokens = tokens(session, &site, &pair)?;
    let access = match &tokens {
        Some(tokens) => Access::Managed(site.client(tokens)?),
        None => {
            let access = pair.access.context("the user has no access token")?;
            let handed = site.folio.handed_on(access.expose());
            Access::Fixed(site.client_with(&handed.context("the user was not let in")?)?)
        }
    };
    let follower = tokens
        .as_ref()
        .map(|tokens| tokio::spawn(follow(tokens.subscribe(), Arc::clone(&tally))));
    if session == Session::Shared
        && let Some(tokens) = &tokens
    {
        // From now on the pair is the job's, and the browser's copy is used.
        tokens.rotate().await?;
    }
    let worker = Worker {
        batches,
        access,
        url: site.url("/source-storage/records"),
        tally: Arc::clone(&tally),
        stop: Arc::clone(&stop),
    };
    let worker = Arc::new(worker);
    let mut workers = JoinSet::new();
    for _ in 0..arguments.workers {
        let worker = Arc::clone(&worker);
        workers.spawn(async move { worker.work().await });
    }
    // With the last of them goes the receiver, and then the reader ends as well.
    drop(worker);
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker panicked")?;
    }
    let elapsed = tally.elapsed();
    if let Some(tokens) = tokens {
        tokens.shutdown().await?;
    }
    if let Some(follower) = follower {
        follower.await?;
    }
    reader
        .join()
        .map_err(|_| anyhow!("the reader panicked"))??;
    Ok(Imported {
        tally,
        stop,
        elapsed,
    })
}

/// Nothing, where there is nothing to be managed.
fn tokens(session: Session, site: &Site, pair: &TokenPair) -> anyhow::Result<Option<TokenManager>> {
    let timer = BackgroundTimer::default();
    let builder = match session {
        Session::Own => site.builder(site.endpoint_with_sign_in()?, timer),
        Session::Shared => site.builder(site.endpoint()?, timer).seed(pair.clone()),
        Session::Fixed => return Ok(None),
    };
    Ok(Some(builder.build()?))
}

/// Notes rotations until the manager is gone.
async fn follow(mut events: Events, tally: Arc<Tally>) {
    while let Some(event) = events.recv().await {
        if let Event::Rotated { .. } = event {
            tally.rotated();
        }
    }
}
