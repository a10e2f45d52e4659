//! Browsers with several tabs against several instances, and what they meet.

mod browsers;
mod fleet;
mod report;
mod weather;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::browsers::User;
use self::fleet::Fleet;
pub(crate) use self::report::Report;
use self::report::{Counts, Totals};
use crate::arguments::Arguments;
use crate::site::Site;
use crate::store::Location;

/// What the tabs of all browsers share.
pub(crate) struct Run {
    site: Site,
    fleet: Fleet,
    http: reqwest::Client,
    counts: Counts,
    is_over: AtomicBool,
    pace: Duration,
    storms: bool,
    is_stateless: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let site = Site::open(arguments.mode, arguments.access_ttl()).await?;
    let (store, _scratch) = Location::or_scratch(arguments.store.as_ref())?;
    let instances = arguments.instances.unwrap_or(1);
    // All instances are one origin for a browser.
    let configuration = site.configuration(Some(&store), "127.0.0.1:8080");
    let fleet = Fleet::start(instances, &configuration).await?;
    let policy = reqwest::redirect::Policy::none();
    let run = Arc::new(Run {
        http: reqwest::Client::builder()
            .no_proxy()
            .redirect(policy)
            .build()?,
        counts: Counts::default(),
        is_over: AtomicBool::new(false),
        pace: arguments.pace,
        storms: arguments.reload_storms,
        is_stateless: !arguments.mode.shares_store(),
        site,
        fleet,
    });
    let began = Totals::of(&run.site.server);
    let mut tabs = Vec::new();
    for _ in 0..arguments.browsers {
        let user = User::new(Arc::clone(&run))?;
        user.sign_in().await?;
        tabs.push(tokio::spawn(user.clone().beat()));
        tabs.extend((0..arguments.tabs).map(|_| tokio::spawn(user.clone().tab())));
    }
    let kills = arguments
        .kill_every
        .map(|every| tokio::spawn(fleet::kill(Arc::clone(&run), every)));
    let weather = arguments
        .weather
        .then(|| tokio::spawn(weather::change(run.site.server.clone())));
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    if let Some(weather) = weather {
        weather.abort();
    }
    if let Some(kills) = kills {
        kills.abort();
        // It ends by itself if an instance cannot be started again.
        if let Ok(failed) = kills.await {
            failed?;
        }
    }
    run.site.server.fail_always(None);
    run.is_over.store(true, Ordering::Relaxed);
    for tab in tabs {
        tab.await??;
    }
    let report = run.report(&began, &Totals::of(&run.site.server), arguments);
    run.fleet.stop().await;
    Ok(report)
}
