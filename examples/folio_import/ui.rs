//! What the user does meanwhile, in a browser with the session in which the import was started.

use std::time::Duration;

use evertoken::{BackgroundTimer, Event, OnRequest, TokenPair};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until};

use crate::arguments::{Arguments, Ui};
use crate::site::Site;

/// Between two clicks.
const CLICKS: Duration = Duration::from_secs(10);

/// The part of a lifetime after which FOLIO's user interface rotates.
const FRACTION: f64 = 0.8;

/// What became of the browser's session. All times count from the start of the import.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) rotations: Vec<Duration>,
    pub(crate) end: Option<(Duration, End)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    LoggedOut,
    /// FOLIO did not take its refresh token any more: the user is sent to the sign-in page.
    Refused,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged out",
            Self::Refused => "refused",
        }
    }
}

/// Clicks on until the user logs out, is thrown out, or the import is over.
pub(crate) async fn run(
    site: &Site,
    arguments: &Arguments,
    pair: TokenPair,
    mut over: watch::Receiver<bool>,
) -> anyhow::Result<Life> {
    let start = Instant::now();
    let mut life = Life::default();
    let endpoint = site.endpoint()?;
    let builder = match arguments.ui {
        Ui::Q => site.builder(endpoint, OnRequest::default().at_fraction(FRACTION)),
        Ui::R => site.builder(endpoint, BackgroundTimer::default().at_fraction(FRACTION)),
        Ui::None => return Ok(life),
    };
    let tokens = builder.jitter(0.0).seed(pair).build()?;
    let client = site.client(&tokens)?;
    let mut events = tokens.subscribe();
    let mut clicks = interval(CLICKS);
    let end = loop {
        tokio::select! {
            biased;
            () = sleep_until(start + arguments.logout_at) => {
                // FOLIO's user interface gets itself an access token first if it has none: without one, a session in
                // Eureka would not end.
                let left = tokens.status().access_expires_in;
                if left.is_none_or(|left| left.is_zero()) {
                    let _ = tokens.token().await;
                }
                // Whether FOLIO could be told or not, the browser has forgotten it.
                tokens.logout().await;
                break Some(End::LoggedOut);
            }
            event = events.recv() => match event {
                Some(Event::Rotated { .. }) => life.rotations.push(start.elapsed()),
                Some(Event::Ended { .. }) | None => break Some(End::Refused),
                Some(_) => {}
            },
            _ = over.wait_for(|over| *over) => break None,
            _ = clicks.tick() => {
                // A page that does not load tells nobody more than the events do.
                let _ = client.send(client.http().get(site.url("/users"))).await;
            }
        }
    };
    life.end = end.map(|end| (start.elapsed(), end));
    tokens.shutdown().await?;
    Ok(life)
}
