use std::collections::HashMap;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;

use crate::flaw::{Flaw, Handle, flawed};

/// Keys lose a part: keys that differ in that part alone are one.
#[derive(Debug)]
struct Blind {
    cut: fn(Key) -> Key,
    /// The first of the keys that are now one, by the rest of the key.
    first: Mutex<HashMap<Key, Key>>,
}

fn blind(cut: fn(Key) -> Key) -> Blind {
    Blind {
        cut,
        first: Mutex::default(),
    }
}

impl Blind {
    fn seen(&self, key: &Key) -> Key {
        let mut first = self.first.lock();
        let first = first.entry((self.cut)(key.clone()));
        first.or_insert_with(|| key.clone()).clone()
    }
}

#[async_trait]
impl Flaw for Blind {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        at.memory.load(&self.seen(key)).await
    }

    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let key = self.seen(key);
        let mut form = serde_json::to_value(next).unwrap();
        form["key"] = serde_json::to_value(&key).unwrap();
        let next = serde_json::from_value(form).unwrap();
        at.memory.swap(&key, seen, &next).await
    }
}

fn label(key: Key, change: impl FnOnce(&str) -> String) -> Key {
    let label = change(&key.label);
    key.label(label)
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "does not have the entry of another key")]
async fn the_case_of_a_label_matters() {
    store(flawed(blind(|key| label(key, str::to_lowercase)))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "does not have the entry of another key")]
async fn a_label_does_not_end_at_a_nul() {
    let cut = |key| label(key, |text| text.split('\0').next().unwrap().to_owned());
    store(flawed(blind(cut))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "does not have the entry of another key")]
async fn a_label_does_not_end_before_its_white_space() {
    store(flawed(blind(|key| {
        label(key, |text| text.trim_end().to_owned())
    })))
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "does not have the entry of another key")]
async fn keys_of_two_scopes_differ() {
    store(flawed(blind(|key| key.scope("")))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "does not have the entry of another key")]
async fn keys_of_two_issuers_differ() {
    let cut = |mut key: Key| {
        key.issuer.clear();
        key
    };
    store(flawed(blind(cut))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "does not have the entry of another key")]
async fn keys_whose_parts_end_elsewhere_differ() {
    let join = |mut key: Key| {
        key.tenant.push_str(&std::mem::take(&mut key.subject));
        key
    };
    store(flawed(blind(join))).await;
}
