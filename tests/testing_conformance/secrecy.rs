use std::fmt;

use evertoken::protocol::Record;
use evertoken::store::{Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;

use crate::flaw::{Flaw, Handle, flawed};

/// Shows the record that was written last.
#[derive(Default)]
struct Talkative(Mutex<String>);

impl fmt::Debug for Talkative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.lock())
    }
}

#[async_trait]
impl Flaw for Talkative {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        if key.label.starts_with("secrets") {
            *self.0.lock() = serde_json::to_string(next).unwrap();
        }
        at.memory.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a token is in the store's Debug form")]
async fn the_debug_form_of_a_store_shows_no_token() {
    store(flawed(Talkative::default())).await;
}

/// Quotes the record that it refuses.
#[derive(Debug)]
struct Quoting;

#[async_trait]
impl Flaw for Quoting {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        if key.label.starts_with("secrets") && seen.is_some() {
            let text = serde_json::to_string(next).unwrap();
            return Err(StoreError::with_source("too long", text));
        }
        at.memory.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a token is in an error")]
async fn an_error_of_a_store_shows_no_token() {
    store(flawed(Quoting)).await;
}
