//! Managers that share a session in Redis, in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::testing::{AccessCheck, AuthorizationServer};
use evertoken::{
    BackgroundTimer, Builder, CoolDown, Error, Event, Events, RedisStore, TokenManager, TokenPair,
};
use tokio::task::JoinHandle;

use crate::scene::until;

pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// A strict server, and the first pair.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    first: TokenPair,
}

impl World {
    pub(crate) fn new(access_ttl: Duration) -> Self {
        let server = AuthorizationServer::builder()
            .access_ttl(access_ttl)
            .build();
        Self {
            first: server.issue(),
            server,
        }
    }

    /// An instance that rotates from a fifth of a token's life on, and retries soon.
    pub(crate) fn builder(&self, store: &RedisStore) -> Builder {
        let soon = CoolDown::default().early(100 * MILLI).expired(50 * MILLI);
        TokenManager::builder(self.server.endpoint())
            .store(store.clone())
            .seed(self.first.clone())
            .strategy(BackgroundTimer::default().at_fraction(0.2))
            .cool_down(soon.longest(100 * MILLI))
            .jitter(0.0)
    }

    /// An instance that has loaded the session.
    pub(crate) async fn node(&self, store: &RedisStore) -> TokenManager {
        let node = self.builder(store).build().unwrap();
        node.token().await.unwrap();
        node
    }

    /// Waits for this number of further rotations.
    pub(crate) async fn rotates(&self, times: u64) {
        let rotated = self.server.rotations() + times;
        let what = format!("{times} further rotations");
        until(&what, async || self.server.rotations() >= rotated).await;
    }

    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        assert_eq!(self.server.replays(), 0, "replays");
        assert_eq!(self.server.families_revoked(), 0, "families revoked");
    }

    /// A caller that asks for a token all the time, and checks it.
    pub(crate) fn caller(&self, node: &TokenManager) -> Caller {
        let (server, node) = (self.server.clone(), node.clone());
        let done = Arc::<AtomicBool>::default();
        let is_done = done.clone();
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !is_done.load(Ordering::SeqCst) {
                let token = node.token().await.map_err(|error| format!("{error:?}"))?;
                match server.check(token.expose()) {
                    AccessCheck::Live => served += 1,
                    other => return Err(format!("after {served} live ones: {other:?}")),
                }
                tokio::time::sleep(2 * MILLI).await;
            }
            Ok(served)
        });
        Caller { task, done }
    }
}

pub(crate) struct Caller {
    task: JoinHandle<Result<u64, String>>,
    done: Arc<AtomicBool>,
}

impl Caller {
    /// The number of live tokens that the caller got. Any other answer panics.
    pub(crate) async fn served(self) -> u64 {
        self.done.store(true, Ordering::SeqCst);
        let served = self.task.await.expect("no panic");
        served.unwrap_or_else(|problem| panic!("{problem}"))
    }
}

/// Whether the session was reported as ended, and why pairs were not stored or rotated.
pub(crate) fn told(events: &mut Events) -> (bool, Vec<Error>) {
    let (mut ended, mut failures) = (false, Vec::new());
    while let Some(event) = events.try_recv() {
        match event {
            Event::Ended { .. } => ended = true,
            Event::Failed { error, .. } => failures.push(error),
            _ => {}
        }
    }
    (ended, failures)
}
