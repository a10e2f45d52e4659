//! Those who call the API, all the time and at a steady pace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::session::Session;
use crate::tally::Tally;

const RECORD: &str = "a record\u{1d}";

pub(crate) struct Caller {
    session: Arc<Session>,
    /// The caller's own, so that there are as many connections as callers, in an outage and without.
    http: Client,
    url: String,
    period: Duration,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
}

impl Caller {
    pub(crate) fn new(
        session: Arc<Session>,
        url: String,
        period: Duration,
        tally: Arc<Tally>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            session,
            http: Client::new(),
            url,
            period,
            tally,
            stop,
        }
    }

    pub(crate) async fn run(mut self, after: Duration) {
        let mut ticks = interval_at(Instant::now() + after, self.period);
        // A caller that waited for a token does not make up for it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            self.call().await;
        }
    }

    async fn call(&self) {
        let tokens = self.session.tokens().await;
        let begun = Instant::now();
        let request = self.http.post(&self.url).body(RECORD);
        let answer = async {
            let answer = tokens.send(request).await?;
            let status = answer.status();
            // Read to its end, so that the connection can be used again.
            answer.bytes().await?;
            ensure!(status.is_success(), "the API answered {status}");
            anyhow::Ok(())
        };
        let answer = answer.await;
        self.tally
            .called(self.session.strategy, begun.elapsed(), answer);
    }
}
