//! The user in a browser, with the session that started the import.

use std::time::Duration;

use evertoken::{BackgroundTimer, Event, OnRequest, TokenPair};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until};

use crate::arguments::{Arguments, Ui};
use crate::site::Site;

/// The time between two clicks.
const CLICKS: Duration = Duration::from_secs(10);

/// The part of a lifetime after which FOLIO's user interface rotates.
const FRACTION: f64 = 0.8;

/// The course of the browser's session. Times count from the start of the import.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) rotations: Vec<Duration>,
    pub(crate) end: Option<(Duration, End)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    LoggedOut,
    /// FOLIO refused the refresh token: the browser shows the sign-in page.
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

/// Clicks until the user logs out, the session ends, or the import is over.
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
                // FOLIO's user interface first gets an access token if it has none: without one, a logout would not end a
                // session in Eureka.
                let left = tokens.status().access_expires_in;
                if left.is_none_or(|left| left.is_zero()) {
                    let _ = tokens.token().await;
                }
                // The browser forgets the session even if FOLIO cannot be reached.
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
                // The events report the end of the session, so the answer does not matter.
                let _ = client.send(client.http().get(site.url("/users"))).await;
            }
        }
    };
    life.end = end.map(|end| (start.elapsed(), end));
    tokens.shutdown().await?;
    Ok(life)
}
