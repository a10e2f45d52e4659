use std::collections::HashMap;
use std::fmt;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::flaw::{Flaw, Handle, edited, flawed};

/// Keeps another record than the one that was swapped in.
#[derive(Debug)]
struct Lossy(fn(&Record) -> Record);

#[async_trait]
impl Flaw for Lossy {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        at.memory.swap(key, seen, &self.0(next)).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the record that was swapped in is loaded")]
async fn a_lease_is_kept() {
    let lossy = |record: &Record| edited(record, |form| form["lease"] = ().into());
    store(flawed(Lossy(lossy))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the record that was swapped in is loaded")]
async fn unknown_fields_are_kept() {
    let lossy = |record: &Record| {
        edited(record, |form| {
            form.as_object_mut().unwrap().remove("of_a_later_version");
        })
    };
    store(flawed(Lossy(lossy))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "fields of a later version survive")]
async fn odd_text_in_unknown_fields_is_kept() {
    let lossy = |record: &Record| {
        let text = serde_json::to_string(record)
            .unwrap()
            .replace("\\u0000", "");
        serde_json::from_str(&text).unwrap()
    };
    store(flawed(Lossy(lossy))).await;
}

fn filler(record: &Record) -> usize {
    let form = serde_json::to_value(record).unwrap();
    form["filler"].as_str().unwrap_or_default().len()
}

fn cut(record: &Record, length: usize) -> Record {
    if filler(record) <= length {
        return record.clone();
    }
    edited(record, |form| {
        let text = form["filler"].as_str().unwrap()[..length].to_owned();
        form["filler"] = text.into();
    })
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "characters comes back equal")]
async fn a_long_record_is_kept_whole() {
    store(flawed(Lossy(|record| cut(record, 100_000)))).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "is stored whole or refused with an error")]
async fn a_record_that_is_far_too_long_is_kept_whole_or_refused() {
    store(flawed(Lossy(|record| cut(record, 1_000_000)))).await;
}

/// Refuses records that are longer than this, before or after writing them.
#[derive(Debug)]
struct Strict {
    limit: usize,
    after_writing: bool,
}

#[async_trait]
impl Flaw for Strict {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let looked_at = key.label.starts_with("long");
        let too_long = looked_at && filler(next) > self.limit;
        if !too_long || self.after_writing {
            let answer = at.memory.swap(key, seen, next).await;
            if !too_long {
                return answer;
            }
        }
        Err(StoreError::new("too long"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_may_refuse_a_record_that_is_far_too_long() {
    let after_writing = false;
    store(flawed(Strict {
        limit: 1_000_000,
        after_writing,
    }))
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "swap failed: StoreError")]
async fn a_store_may_not_refuse_a_long_record() {
    let after_writing = false;
    store(flawed(Strict {
        limit: 100_000,
        after_writing,
    }))
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "is stored whole or refused with an error")]
async fn a_store_may_not_refuse_a_record_that_it_has_written() {
    let after_writing = true;
    store(flawed(Strict {
        limit: 1_000_000,
        after_writing,
    }))
    .await;
}

/// Writes the first half of a record first.
#[derive(Debug)]
struct InTwoSteps;

#[async_trait]
impl Flaw for InTwoSteps {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        if !key.label.starts_with("torn") {
            return at.memory.swap(key, seen, next).await;
        }
        let half = cut(next, filler(next) / 2);
        let Swap::Swapped(revision) = at.memory.swap(key, seen, &half).await? else {
            panic!("a swap without a rival was lost");
        };
        yield_now().await;
        at.memory.swap(key, Some(revision), next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a reader panicked")]
async fn no_reader_sees_half_a_record() {
    store(flawed(InTwoSteps)).await;
}

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
