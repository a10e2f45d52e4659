use std::collections::HashMap;
use std::fmt;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::flaw::{Answer, Flaw, Handle, assert_found, assert_refused, edited, flawed};

/// Keeps another record than the one that was swapped in: a record that has lost something.
#[derive(Debug)]
struct Lossy(fn(&Record) -> Record);

#[async_trait]
impl Flaw for Lossy {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        at.memory.swap(key, seen, &self.0(next)).await
    }
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

fn without_unknown(record: &Record) -> Record {
    edited(record, |form| {
        drop(form.as_object_mut().unwrap().remove("of_a_later_version"))
    })
}

fn without_nul(record: &Record) -> Record {
    let text = serde_json::to_string(record)
        .unwrap()
        .replace("\\u0000", "");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_suite_finds_a_store_that_keeps_another_record_than_it_was_given() {
    let without_lease = |record: &Record| edited(record, |form| form["lease"] = ().into());
    let differs = "the record that was swapped in is loaded";
    let is_long = "characters comes back equal";
    let later = "fields of a later version survive";
    let is_cut = "is stored whole or refused with an error";
    for (case, lossy, expected) in [
        ("lease", Lossy(without_lease), differs),
        ("unknown fields", Lossy(without_unknown), differs),
        ("NUL", Lossy(without_nul), later),
        ("100 kB", Lossy(|record| cut(record, 100_000)), is_long),
        ("1 MB", Lossy(|record| cut(record, 1_000_000)), is_cut),
    ] {
        assert_refused(case, store(flawed(lossy)), expected);
    }
}

/// Refuses records that are longer than this, before or after writing them.
#[derive(Debug)]
struct Strict {
    limit: usize,
    after_writing: bool,
}

#[async_trait]
impl Flaw for Strict {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
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

fn strict(limit: usize, after_writing: bool) -> Strict {
    Strict {
        limit,
        after_writing,
    }
}

#[tokio::test(start_paused = true)]
async fn the_suite_accepts_a_store_that_refuses_a_record_that_is_far_too_long() {
    store(flawed(strict(1_000_000, false))).await;
}

#[test]
fn the_suite_finds_a_store_that_refuses_a_long_record_or_one_that_it_has_written() {
    assert_found([
        (strict(100_000, false), "swap failed: StoreError"),
        (
            strict(1_000_000, true),
            "is stored whole or refused with an error",
        ),
    ]);
}

/// Writes the first half of a record first, and the whole record a little later.
pub(crate) async fn in_two_steps(
    at: &Handle,
    key: &Key,
    seen: Option<Revision>,
    next: &Record,
) -> Answer {
    let half = cut(next, filler(next) / 2);
    match at.memory.swap(key, seen, &half).await? {
        Swap::Swapped(revision) => {
            yield_now().await;
            at.memory.swap(key, Some(revision), next).await
        }
        lost => Ok(lost),
    }
}

type Cut = fn(Key) -> Key;

/// Keys lose a part: keys that differ in that part alone are one.
#[derive(Debug)]
struct Blind {
    cut: Cut,
    /// The first of the keys that are now one, by the rest of the key.
    first: Mutex<HashMap<Key, Key>>,
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

    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let key = self.seen(key);
        let next = edited(next, |form| {
            form["key"] = serde_json::to_value(&key).unwrap()
        });
        at.memory.swap(&key, seen, &next).await
    }
}

fn label(key: Key, change: impl FnOnce(&str) -> String) -> Key {
    let label = change(&key.label);
    key.label(label)
}

#[test]
fn the_suite_finds_a_store_for_which_two_keys_are_one() {
    let cuts: [(&str, Cut); 6] = [
        ("the case of a label", |key| label(key, str::to_lowercase)),
        ("a label from its NUL on", |key| {
            label(key, |text| text.split('\0').next().unwrap().to_owned())
        }),
        ("white space at the end of a label", |key| {
            label(key, |text| text.trim_end().to_owned())
        }),
        ("the scope", |key| key.scope("")),
        ("the issuer", |mut key| {
            key.issuer.clear();
            key
        }),
        ("where the parts of a key end", |mut key| {
            key.tenant.push_str(&std::mem::take(&mut key.subject));
            key
        }),
    ];
    for (case, cut) in cuts {
        let blind = Blind {
            cut,
            first: Mutex::default(),
        };
        assert_refused(
            case,
            store(flawed(blind)),
            "does not have the entry of another key",
        );
    }
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
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        if key.label.starts_with("secrets") {
            *self.0.lock() = serde_json::to_string(next).unwrap();
        }
        at.memory.swap(key, seen, next).await
    }
}

#[derive(Debug)]
enum Contents {
    /// Writes the first half of a record first.
    InTwoSteps,
    /// Quotes the record that it refuses.
    Quoting,
}

#[async_trait]
impl Flaw for Contents {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        match self {
            Self::InTwoSteps if key.label.starts_with("torn") => {
                in_two_steps(at, key, seen, next).await
            }
            Self::Quoting if key.label.starts_with("secrets") && seen.is_some() => {
                let text = serde_json::to_string(next).unwrap();
                Err(StoreError::with_source("too long", text))
            }
            _ => at.memory.swap(key, seen, next).await,
        }
    }
}

#[test]
fn the_suite_finds_a_store_that_shows_half_a_record_or_a_token() {
    let talkative = store(flawed(Talkative::default()));
    assert_refused(
        "talkative",
        talkative,
        "a token is in the store's Debug form",
    );
    assert_found([
        (Contents::InTwoSteps, "a reader panicked"),
        (Contents::Quoting, "a token is in an error"),
    ]);
}
