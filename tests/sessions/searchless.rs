//! A store that implements what a store has to: it cannot search.

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, StoreError, TokenStore, async_trait};

#[derive(Debug)]
pub(crate) struct Searchless<S>(pub(crate) S);

#[async_trait]
impl<S: TokenStore> TokenStore for Searchless<S> {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.0.load(key).await
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
