//! A refresh token that the server omits from its answer is kept, also by a store that keeps its lifetime in
//! milliseconds.

use std::sync::Arc;
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Codec, Loaded, Revision, Swap};
use evertoken::{
    EndpointError, Grant, Issued, Key, MemoryStore, OnRequest, StoreError, TokenEndpoint,
    TokenPair, TokenStore, async_trait,
};
use parking_lot::Mutex;

use crate::support::{SECOND, World, built};

/// A store that serializes and reads each record, as a store on disk does.
#[derive(Debug)]
struct Written(MemoryStore, Codec);

impl Written {
    fn again(&self, record: &Record) -> Record {
        let bytes = self.1.encode(record).unwrap();
        self.1.decode(record.key(), &bytes).unwrap()
    }
}

#[async_trait]
impl TokenStore for Written {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let mut loaded = self.0.load(key).await?;
        if let Some((record, _)) = &mut loaded.entry {
            *record = self.again(record);
        }
        Ok(loaded)
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.0.swap(key, seen, next).await
    }
}

/// An endpoint that issues only access tokens, and notes the refresh token of each request.
#[derive(Debug, Clone, Default)]
struct Omits(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl TokenEndpoint for Omits {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let Grant::Refresh { token, .. } = grant else {
            return Err(EndpointError::refused("refreshes only"));
        };
        let mut sent = self.0.lock();
        sent.push(token.expose().to_owned());
        Ok(Issued::new(format!("a{}", sent.len())).expires_in(60 * SECOND))
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_the_server_omits_is_kept_although_the_store_rounds_its_lifetime() {
    let world = World::new(600 * SECOND);
    let endpoint = Omits::default();
    let store = Written(world.store.clone(), Codec::default());
    let seed = TokenPair::from_refresh_token("r1").refresh_expires_in(86_400 * SECOND);
    let builder = world.builder_at(endpoint.clone(), OnRequest::default());
    let tokens = built(builder.store(store).seed(seed));
    for _ in 0..4 {
        tokens.token().await.unwrap();
        // The remaining lifetime is not a whole number of milliseconds.
        let step = Duration::from_nanos(61_000_500_001);
        world.clock.advance(step).await;
    }
    assert_eq!(*endpoint.0.lock(), ["r1"; 4]);
}
