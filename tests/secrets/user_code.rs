//! Stores that fail, and user code that panics with a secret in its message.

use std::fmt;

use evertoken::protocol::Record;
use evertoken::store::{AssociatedData, Loaded, Revision, SealError, Sealer, Swap, Zeroizing};
use evertoken::testing::TestClock;
use evertoken::{
    Coordination, EndpointError, Grant, Issued, Key, Lifetime, MemoryStore, OnStoreFailure,
    Persistence, Plan, RefreshStrategy, StaticToken, StoreError, TokenEndpoint, TokenManager,
    TokenPair, TokenStore, async_trait,
};

use crate::known::*;
use crate::net;
use crate::wire::reached;

/// A seal that holds a key, and shows the key in its own `Debug`.
#[derive(Debug)]
pub(crate) struct Sealing(pub(crate) String);

impl Sealer for Sealing {
    fn seal(&self, _: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        reached(&self.0);
        let key = self.0.bytes().cycle();
        Ok(plain
            .iter()
            .zip(key)
            .map(|(byte, mask)| byte ^ mask)
            .collect())
    }

    fn open(
        &self,
        bound: &AssociatedData<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.seal(bound, sealed).map(Zeroizing::new)
    }
}

fn panics_with(text: &str) -> ! {
    reached(text);
    panic!("{text}")
}

/// An endpoint that issues the same pair each time, or panics.
struct Endpoint {
    panics: bool,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

#[async_trait]
impl TokenEndpoint for Endpoint {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        if self.panics {
            panics_with(&format!("{PANIC} {SEED_REFRESH}"));
        }
        let issued = Issued::new(ACCESS_2).refresh_token(REFRESH_2);
        net::debug(&issued);
        Ok(issued)
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        net::debug(pair);
        if self.panics {
            panics_with(PANIC);
        }
        Err(EndpointError::rejected("unsupported_token_type"))
    }
}

/// A store that loads, and whose swaps fail or panic.
#[derive(Debug)]
struct Store {
    panics: bool,
    inner: MemoryStore,
}

#[async_trait]
impl TokenStore for Store {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.inner.load(key).await
    }

    async fn swap(&self, _: &Key, _: Option<Revision>, next: &Record) -> Result<Swap, StoreError> {
        net::debug(next);
        if self.panics {
            panics_with(&format!("{PANIC} {}", next.digest()));
        }
        Err(StoreError::new("the store is down"))
    }
}

#[derive(Debug)]
struct Strategy;

impl RefreshStrategy for Strategy {
    fn plan(&self, _: &Lifetime) -> Plan {
        panics_with(PANIC)
    }
}

fn seed() -> TokenPair {
    TokenPair::new(SEED_ACCESS).refresh_token(SEED_REFRESH)
}

/// Calls every method that a user can call, and catches the results.
async fn use_up(tokens: TokenManager) {
    let mut events = tokens.subscribe();
    net::outcome(tokens.token().await);
    net::outcome(tokens.rotate().await);
    net::outcome(
        tokens
            .replace(TokenPair::new(NEW_ACCESS).refresh_token(NEW_REFRESH))
            .await,
    );
    net::outcome(tokens.token().await);
    net::debug(&tokens);
    net::debug(&tokens.status());
    net::debug(&tokens.logout().await);
    net::outcome(tokens.shutdown().await);
    while let Some(event) = events.try_recv() {
        net::debug(&event);
    }
}

pub(crate) async fn fails() {
    let through = Persistence::write_through();
    let behind = Persistence::write_behind(1);
    for (coordination, persistence, policy) in [
        (Coordination::Lease, through.clone(), OnStoreFailure::Serve),
        (Coordination::Lease, through, OnStoreFailure::Fail),
        (Coordination::None, behind, OnStoreFailure::Serve),
    ] {
        let store = Store {
            panics: false,
            inner: MemoryStore::new(),
        };
        let builder = TokenManager::builder(Endpoint { panics: false })
            .clock(TestClock::new())
            .store(store)
            .coordination(coordination)
            .persistence(persistence)
            .on_store_failure(policy)
            .seed(seed());
        use_up(builder.build().unwrap()).await;
    }
    let fixed = StaticToken::new(SEED_ACCESS);
    net::debug(&fixed);
    use_up(
        TokenManager::builder(fixed)
            .clock(TestClock::new())
            .build()
            .unwrap(),
    )
    .await;
}

pub(crate) async fn panics() {
    for (endpoint, store) in [(true, false), (false, true), (true, true)] {
        let store = Store {
            panics: store,
            inner: MemoryStore::new(),
        };
        let builder = TokenManager::builder(Endpoint { panics: endpoint })
            .clock(TestClock::new())
            .seed(seed());
        let builder = match store.panics {
            true => builder.store(store),
            false => builder,
        };
        use_up(builder.build().unwrap()).await;
    }
    let builder = TokenManager::builder(Endpoint { panics: false })
        .clock(TestClock::new())
        .strategy(Strategy)
        .on_rotated(|_| async { panics_with(PANIC) })
        .seed(seed());
    use_up(builder.build().unwrap()).await;
}
