use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::clock::{Clock, Coarse, SystemClock, Timestamp};
use crate::endpoint::{EndpointError, Grant, Issued};
use crate::record::{Lease, Record};
use crate::session::{Seen, StoreClock};
use crate::store::{Loaded, MemoryStore, Revision, StoreError, Swap, TokenStore};
use crate::strategy::{BackgroundTimer, Plan, RefreshStrategy};
use crate::testing::TestClock;
use crate::token::{Lifetime, TokenPair};

/// User code of every kind, which notes at each call whether the state of its session is locked. The tests have one
/// thread, so a lock that is held is held by the caller.
#[derive(Debug, Clone, Default)]
struct Watching(Arc<OnceLock<Weak<Session>>>, MemoryStore, Arc<AtomicBool>);

impl Watching {
    fn check(&self) {
        if let Some(session) = self.0.get().and_then(Weak::upgrade) {
            // A panic would be caught.
            self.2.fetch_or(session.is_locked(), Ordering::SeqCst);
        }
    }
}

impl Clock for Watching {
    fn now(&self) -> Timestamp {
        self.check();
        SystemClock.now()
    }

    fn wall(&self) -> Duration {
        self.check();
        SystemClock.wall()
    }

    fn coarse(&self) -> Coarse {
        self.check();
        SystemClock.coarse()
    }
}

impl RefreshStrategy for Watching {
    fn plan(&self, life: &Lifetime) -> Plan {
        self.check();
        BackgroundTimer::default().plan(life)
    }
}

#[async_trait]
impl TokenEndpoint for Watching {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        self.check();
        Ok(Issued::new("a2")
            .refresh_token("r2")
            .expires_in(Duration::from_secs(600)))
    }

    fn can_sign_in(&self) -> bool {
        self.check();
        false
    }

    async fn revoke(&self, _: &TokenPair) -> Result<(), EndpointError> {
        self.check();
        Ok(())
    }
}

#[async_trait]
impl TokenStore for Watching {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.check();
        self.1.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.check();
        self.1.swap(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.check();
        self.1.changed(key, seen).await;
    }

    async fn holder_is_dead(&self, _: &Key, _: &Lease) -> bool {
        self.check();
        false
    }
}

/// Every way into the session that there is.
#[tokio::test]
async fn user_code_is_not_called_while_the_state_is_locked() {
    let code = Watching::default();
    let builder = TokenManager::builder(code.clone())
        .clock(code.clone())
        .strategy(code.clone())
        .store(code.clone())
        .seed(TokenPair::new("a1").refresh_token("r1"));
    let tokens = builder.build().unwrap();
    code.0.set(Arc::downgrade(&tokens.session)).unwrap();
    let token = tokens.token().await.unwrap();
    tokens.authorization().await.unwrap();
    let _ = tokens.try_token();
    let _ = tokens.token_valid_for(Duration::from_secs(1)).await;
    let _ = tokens.status();
    let newer = tokens.rotate().await.unwrap();
    let _ = tokens.reject(&token);
    let _ = tokens.reject(&newer);
    let _ = tokens.token().await;
    let pair = TokenPair::new("b1").refresh_token("s1");
    tokens.replace(pair).await.unwrap();
    let _ = tokens.rotate().await;
    let _ = tokens.sign_in().await;
    tokens.logout().await;
    let _ = tokens.token().await;
    let _ = format!("{tokens:?}");
    tokens.shutdown().await.unwrap();
    assert!(!code.2.load(Ordering::SeqCst));
}

/// A store to which another instance is always faster, so many times. It notes how many leases are remembered.
#[derive(Debug, Clone, Default)]
struct Faster {
    inner: MemoryStore,
    left: Arc<Mutex<u32>>,
    session: Arc<OnceLock<Weak<Session>>>,
    remembered: Arc<Mutex<usize>>,
}

#[async_trait]
impl TokenStore for Faster {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        if let Some(session) = self.session.get().and_then(Weak::upgrade) {
            let moment = session.moment();
            let count = session.lock().own(moment).unsent.len();
            let mut remembered = self.remembered.lock();
            *remembered = count.max(*remembered);
        }
        let is_lease = next.lease.is_some();
        let outruns = {
            let mut left = self.left.lock();
            let outruns = is_lease && *left > 0;
            *left -= u32::from(outruns);
            outruns
        };
        if outruns {
            let mut theirs = self.inner.load(key).await?;
            if let Some((record, revision)) = theirs.entry.take() {
                let next_number = record.next_number + 1;
                let record = Record {
                    next_number,
                    ..record
                };
                self.inner.swap(key, Some(revision), &record).await?;
            }
        }
        self.inner.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_numbers_of_lost_leases_are_forgotten() {
    let store = Faster::default();
    *store.left.lock() = 50;
    #[derive(Debug)]
    struct Refuses;
    #[async_trait]
    impl TokenEndpoint for Refuses {
        async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
            Err(EndpointError::not_sent("refused"))
        }
    }
    let tokens = TokenManager::builder(Refuses)
        .clock(TestClock::new())
        .store(store.clone())
        .seed(TokenPair::from_refresh_token("r1"))
        .build()
        .unwrap();
    store.session.set(Arc::downgrade(&tokens.session)).unwrap();
    tokens.token().await.unwrap_err();
    assert!(tokens.session.lock().next_number > 50);
    // The one that is being written.
    assert_eq!(*store.remembered.lock(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_pair_of_a_session_that_was_left_or_replaced_is_not_kept_for_its_next_lease() {
    for is_logout in [true, false] {
        let clock = TestClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        let server = crate::testing::AuthorizationServer::builder()
            .clock(clock.clone())
            .build();
        let tokens = TokenManager::builder(server.endpoint())
            .clock(clock)
            .store(store.clone())
            .seed(server.issue())
            .build()
            .unwrap();
        tokens.token().await.unwrap();
        let session = &tokens.session;
        let loaded = store.load(&session.key).await.unwrap();
        let (record, revision) = loaded.entry.unwrap();
        session.wrote(Seen {
            entry: Some((Arc::new(record), revision)),
            clock: StoreClock {
                read: loaded.now,
                asked: session.now(),
                at: session.now(),
            },
        });
        assert!(session.has_written());
        if is_logout {
            tokens.logout().await;
        } else {
            tokens.replace(server.issue()).await.unwrap();
        }
        assert!(!session.has_written(), "logout: {is_logout}");
    }
}
