use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, Record, StoreError, TokenStore, async_trait};

use crate::flaw::{Flaw, Handle, flawed};

/// Keys lose a part.
#[derive(Debug)]
struct Blind(fn(Key) -> Key);

#[async_trait]
impl Flaw for Blind {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        at.memory.load(&self.0(key.clone())).await
    }

    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        at.memory.swap(&self.0(key.clone()), seen, next).await
    }
}

fn label(key: Key, change: impl FnOnce(&str) -> String) -> Key {
    let label = change(&key.label);
    key.label(label)
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn the_case_of_a_label_matters() {
    store(flawed(Blind(|key| label(key, str::to_lowercase)))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn a_label_does_not_end_at_a_zero() {
    let cut = |key| label(key, |text| text.split('\0').next().unwrap().to_owned());
    store(flawed(Blind(cut))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn nor_before_its_white_space() {
    store(flawed(Blind(|key| {
        label(key, |text| text.trim_end().to_owned())
    })))
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn scopes_tell_keys_apart() {
    store(flawed(Blind(|key| key.scope("")))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn issuers_tell_keys_apart() {
    let cut = |mut key: Key| {
        key.issuer.clear();
        key
    };
    store(flawed(Blind(cut))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the entry of another key")]
async fn where_a_part_ends_matters() {
    let join = |mut key: Key| {
        key.tenant.push_str(&std::mem::take(&mut key.subject));
        key
    };
    store(flawed(Blind(join))).await;
}
