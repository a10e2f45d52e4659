use evertoken::protocol::Record;
use evertoken::store::{Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
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
