//! The faults: which outage comes when, and how long it takes. There is one at a time, and half a minute of calm
//! between two of them, so that no caller waits through more than one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{self, Answer, Front};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::servers::Order;
use crate::shaky::Trouble;
use crate::site::Site;
use crate::tally::Tally;

/// Between two outages.
const CALM: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(40));

/// What most outages take.
const SHORT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));

/// What one outage in four takes. A caller waits for 35 s, and the pause before the attempt that follows may take 16 s.
const LONG: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(20));
const LONG_ONE_IN: u64 = 4;

/// What becomes of requests to the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Out {
    /// No connection is accepted.
    Refused,
    /// Each is answered with this status, and an HTML page or nothing.
    Answered { status: u16, page: bool },
    /// One is answered with this status; then the outage is over.
    Once { status: u16 },
    /// The connection is reset in the middle of an answer.
    Reset,
}

impl Out {
    pub(crate) async fn begin(self, front: &Front) -> io::Result<()> {
        let empty = |status| Answer::status(status).header("content-type", "application/json");
        let page = |status| {
            Answer::status(status)
                .header("content-type", "text/html")
                .body(PAGE)
        };
        let outage = match self {
            Self::Refused => testing::Outage::Refused,
            Self::Reset => testing::Outage::Reset,
            Self::Answered { status, page: true } => testing::Outage::Answered(page(status)),
            Self::Answered { status, .. } => testing::Outage::Answered(empty(status)),
            Self::Once { status } => {
                return front.begin_once(testing::Outage::Answered(empty(status)));
            }
        };
        front.begin(outage).await
    }
}

const PAGE: &str = "<html><body>something is in the way</body></html>";

/// What is out, and how.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Endpoint(Out),
    Store(Trouble),
}

const fn page(status: u16) -> Outage {
    Outage::Endpoint(Out::Answered { status, page: true })
}

const OUTAGES: [(&str, Outage); 14] = [
    ("refused connections", Outage::Endpoint(Out::Refused)),
    (
        "503",
        Outage::Endpoint(Out::Answered {
            status: 503,
            page: false,
        }),
    ),
    ("502 with a page", page(502)),
    ("504 with a page", page(504)),
    ("500 once", Outage::Endpoint(Out::Once { status: 500 })),
    ("404 with a page", page(404)),
    ("403 with a page", page(403)),
    ("400 with a page", page(400)),
    ("401 with a page", page(401)),
    ("301 with a page", page(301)),
    ("200 with a page", page(200)),
    ("resets in mid-answer", Outage::Endpoint(Out::Reset)),
    ("a store that fails", Outage::Store(Trouble::Fails)),
    (
        "a store that does not answer",
        Outage::Store(Trouble::DoesNotAnswer),
    ),
];

pub(crate) struct Faults {
    pub(crate) site: Arc<Site>,
    pub(crate) trouble: watch::Sender<Option<Trouble>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) random: Random,
}

impl Faults {
    /// Goes on until it is asked to stop, and leaves no outage behind.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut deck = Vec::new();
        while !stopped_within(self.random.between(CALM), &mut stop).await {
            // Each comes once before one comes again.
            if deck.is_empty() {
                deck.extend(OUTAGES);
            }
            let place = self.random.below(deck.len() as u64);
            let (name, outage) = deck.swap_remove(usize::try_from(place)?);
            self.begin(name, outage).await?;
            let length = match self.random.below(LONG_ONE_IN) {
                0 => LONG,
                _ => SHORT,
            };
            stopped_within(self.random.between(length), &mut stop).await;
            self.end().await?;
        }
        Ok(())
    }

    async fn begin(&self, name: &'static str, outage: Outage) -> anyhow::Result<()> {
        self.tally.outage_begins(name);
        match outage {
            Outage::Endpoint(out) => drop(self.site.order(Order::Begin(out)).await?),
            Outage::Store(trouble) => drop(self.trouble.send_replace(Some(trouble))),
        }
        Ok(())
    }

    async fn end(&self) -> anyhow::Result<()> {
        self.trouble.send_replace(None);
        self.site.order(Order::End).await?;
        self.tally.outage_ends();
        Ok(())
    }
}

/// Waits; returns whether it was asked to stop meanwhile.
pub(crate) async fn stopped_within(span: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    timeout(span, stop.wait_for(|stop| *stop)).await.is_ok()
}

/// SplitMix64: a number is all that it takes to draw the same again.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`; 0 if that is 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    pub(crate) fn between(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let span = u64::try_from((most - least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(self.below(span))
    }
}
