//! The faults: outages of the token endpoint and of the store, in a random order and of random lengths. One outage comes at a
//! time, with about half a minute of calm between two, so that no call waits through more than one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{self, Answer, Front};
use evertoken::{Digest, Key, Lease, Record, StoreError, TokenStore};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::command::Random;
use crate::servers::{Order, Site};
use crate::tally::Tally;

/// The time between two outages.
const CALM: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(40));

/// The length of most outages.
const SHORT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));

/// The length of one outage in four. A caller waits for 35 s, and the pause before the next attempt may take 16 s.
const LONG: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(20));
const LONG_ONE_IN: u64 = 4;

/// The fate of requests to the token endpoint during an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Out {
    /// The endpoint accepts no connection.
    Refused,
    /// The front answers each request with this status, and with an HTML page or an empty body.
    Answered { status: u16, page: bool },
    /// The front answers one request with this status; then the outage is over.
    Once { status: u16 },
    /// The front resets the connection in the middle of an answer.
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

/// An outage of the token endpoint or of the store.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Endpoint(Out),
    Store(Trouble),
}

const fn page(status: u16) -> Outage {
    Outage::Endpoint(Out::Answered { status, page: true })
}

const EMPTY_503: Out = Out::Answered {
    status: 503,
    page: false,
};

const OUTAGES: [(&str, Outage); 14] = [
    ("refused connections", Outage::Endpoint(Out::Refused)),
    ("503", Outage::Endpoint(EMPTY_503)),
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
        Outage::Store(Trouble::Hangs),
    ),
];

pub(crate) struct Faults {
    pub(crate) site: Arc<Site>,
    pub(crate) trouble: watch::Sender<Option<Trouble>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) random: Random,
}

impl Faults {
    /// Runs until the stop, and ends the last outage before it returns.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut deck = Vec::new();
        while !stopped_within(between(&mut self.random, CALM), &mut stop).await {
            // Each outage comes once before one comes again.
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
            stopped_within(between(&mut self.random, length), &mut stop).await;
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

/// Draws a time between a least and a longest one.
pub(crate) fn between(random: &mut Random, (least, most): (Duration, Duration)) -> Duration {
    let span = u64::try_from((most - least).as_millis()).unwrap_or(u64::MAX);
    least + Duration::from_millis(random.below(span))
}

/// Waits; returns whether the stop came meanwhile.
pub(crate) async fn stopped_within(span: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    timeout(span, stop.wait_for(|stop| *stop)).await.is_ok()
}

/// How the store behaves during an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Each call fails at once.
    Fails,
    /// Each call waits until the outage is over.
    Hangs,
}

/// A store that fails or hangs during an outage.
#[derive(Debug)]
pub(crate) struct ShakyStore {
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) trouble: watch::Receiver<Option<Trouble>>,
}

impl ShakyStore {
    async fn check(&self) -> Result<(), StoreError> {
        let trouble = *self.trouble.borrow();
        match trouble {
            None => Ok(()),
            Some(Trouble::Fails) => Err(StoreError::new("the disk is full")),
            Some(Trouble::Hangs) => {
                self.over().await;
                Ok(())
            }
        }
    }

    async fn over(&self) {
        let mut trouble = self.trouble.clone();
        // Without a sender, the outage is over.
        let _ = trouble.wait_for(Option::is_none).await;
    }
}

#[async_trait]
impl TokenStore for ShakyStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.check().await?;
        self.store.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.check().await?;
        self.store.swap(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.store.changed(key, seen).await;
        self.over().await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.check().await?;
        self.store.find(digest).await
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        self.store.holder_is_dead(key, lease).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evertoken::MemoryStore;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_fails_or_hangs_during_an_outage_and_answers_afterwards() {
        let faults = watch::Sender::new(Some(Trouble::Fails));
        let store = ShakyStore {
            store: Arc::new(MemoryStore::new()),
            trouble: faults.subscribe(),
        };
        let key = Key::new("issuer", "client");
        assert!(store.load(&key).await.is_err());
        faults.send_replace(Some(Trouble::Hangs));
        let waiting = timeout(Duration::from_secs(60), store.load(&key)).await;
        assert!(waiting.is_err());
        let (loaded, _) = tokio::join!(store.load(&key), async { faults.send_replace(None) });
        assert!(loaded.is_ok());
        assert!(store.load(&key).await.is_ok());
    }
}
