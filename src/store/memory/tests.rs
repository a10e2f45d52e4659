//! The index answers as a scan of all records would, and a packed record is the record.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::browser::{Browser, Pin};
use crate::record::lease::Candidate;
use crate::record::marks::Marks;
use crate::record::past::{Names, Past};
use crate::record::{Class, NotBefore, Origin, Owner, RecordState, StoredPair};
use crate::token::{Lifetime, TokenFamily, TokenPair};

/// So few names that many records know one token.
const NAMES: u8 = 6;

fn name() -> impl Strategy<Value = String> {
    (0..NAMES).prop_map(|number| format!("token {number}"))
}

fn digests(most: usize) -> impl Strategy<Value = Names> {
    let digest = name().prop_map(Digest::of);
    vec(digest, 0..=most).prop_map(Names)
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let total = option::of((1..4_u64).prop_map(Duration::from_secs));
    (total.clone(), total.clone(), total).prop_map(|(access, refresh, refresh_in)| Lifetime {
        access: access.map(Into::into).unwrap_or_default(),
        refresh: refresh.map(Into::into).unwrap_or_default(),
        refresh_in,
        ..Lifetime::default()
    })
}

fn pair() -> impl Strategy<Value = StoredPair> {
    let tokens = (option::of(name()), option::of(name()), lifetime());
    let words = (option::of("[a-b]{0,2}"), option::of("[a-b ]{0,3}"));
    (tokens, words, any::<u64>(), origin()).prop_map(|(tokens, words, issued_at, origin)| {
        let pair = TokenPair {
            access: tokens.0.map(Into::into),
            refresh: tokens.1.map(Into::into),
            lifetime: tokens.2,
            token_type: words.0,
            scope: words.1.map(|scope| (&*scope).into()),
        };
        StoredPair {
            issued_at: StoreTime::from_millis(issued_at),
            origin,
            pair,
        }
    })
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Endpoint),
        Just(Origin::Seed),
        Just(Origin::Replacement)
    ]
}

fn state() -> impl Strategy<Value = RecordState> {
    let digest = || name().prop_map(Digest::of);
    let rejected = (digest(), option::of(name()), option::of(name()));
    prop_oneof![
        5 => Just(RecordState::Active),
        1 => rejected.prop_map(|(digest, code, description)| RecordState::Rejected {
            digest,
            code,
            description
        }),
        1 => digest().prop_map(|digest| RecordState::OutcomeUnknown { digest }),
        1 => Just(RecordState::LoggedOut),
    ]
}

fn past() -> impl Strategy<Value = Past> {
    let until = option::of(any::<u64>().prop_map(StoreTime::from_millis));
    (digests(3), digests(2), digests(2), until).prop_map(|(refreshed, seeds, replaced, until)| {
        Past {
            refreshed,
            seeds,
            replaced,
            until,
        }
    })
}

/// What a record has where a user's sign-in began its session.
fn of_a_user() -> impl Strategy<Value = (Option<Box<Browser>>, Option<Marks>)> {
    let digest = || option::of(name().prop_map(Digest::of));
    let marks = (digest(), digest()).prop_map(|(session, subject)| Marks { session, subject });
    let pin = (name(), any::<u64>()).prop_map(|(token, until)| Pin {
        digest: Digest::of(token),
        until: StoreTime::from_millis(until),
    });
    let browser = (any::<u64>(), vec(pin, 0..3)).prop_map(|(number, pins)| {
        let at = StoreTime::from_millis(number);
        Box::new(Browser {
            pins,
            ..Browser::new(number, at, at)
        })
    });
    (option::of(browser), option::of(marks))
}

fn key() -> impl Strategy<Value = Key> {
    vec("[ab]{0,2}", 7).prop_map(|parts| {
        Key::new(&*parts[0], &*parts[1])
            .tenant(&*parts[2])
            .subject(&*parts[3])
            .scope(&*parts[4])
            .audience(&*parts[5])
            .label(&*parts[6])
    })
}

/// Any record of this key, also such as the protocol never writes.
fn record(key: Key) -> impl Strategy<Value = Record> {
    let numbers = (any::<u128>(), any::<[u64; 4]>());
    let marks = (any::<bool>(), option::of(name()), option::of(name()));
    (
        option::of(pair()),
        state(),
        past(),
        of_a_user(),
        numbers,
        marks,
    )
        .prop_map(
            move |(pair, state, past, user, (family, numbers), (is_leased, pause, unknown))| {
                let mut record = Record {
                    version: numbers[0],
                    pair,
                    state,
                    sign_ins: numbers[1],
                    next_number: numbers[2],
                    committed_number: numbers[3],
                    past,
                    browser: user.0,
                    upstream: user.1,
                    not_before: pause.map(|code| NotBefore {
                        until: StoreTime::from_millis(numbers[0]),
                        class: Class::Page,
                        code: Some(code),
                        failures: 2,
                    }),
                    ..Record::vacant(key.clone(), TokenFamily::from_bits(family))
                };
                if let Some(unknown) = unknown {
                    record.unknown.insert("later".to_owned(), unknown.into());
                }
                let by = Candidate {
                    owner: Owner::from_bits(family),
                    nonce: numbers[1],
                    lease_duration: Duration::from_millis(numbers[2]),
                };
                match is_leased {
                    true => record.leased(by, Digest::of("token 0"), StoreTime::from_millis(7)),
                    false => record,
                }
            },
        )
}

/// A swap of one of a few keys, and whether it sees the newest revision.
fn swap() -> impl Strategy<Value = (Record, bool)> {
    let keys = (0..5_u8).prop_map(|number| Key::new("issuer", "client").label(number.to_string()));
    (keys.prop_flat_map(record), prop::bool::weighted(0.8))
}

/// A store, and what it has to hold.
#[derive(Default)]
struct Checked {
    store: MemoryStore,
    records: BTreeMap<Key, (Record, Revision)>,
}

impl Checked {
    fn swap(&mut self, next: &Record, sees_newest: bool) {
        let newest = self.records.get(next.key()).map(|(_, revision)| *revision);
        let seen = match sees_newest {
            true => newest,
            false => Some(Revision::new(u64::MAX)),
        };
        let swapping = self.store.swap(next.key(), seen, next);
        match swapping.now_or_never().unwrap().unwrap() {
            Swap::Swapped(revision) => {
                assert!(sees_newest);
                let entry = (next.clone(), revision);
                self.records.insert(next.key().clone(), entry);
            }
            Swap::Lost(held) => {
                assert!(!sees_newest);
                assert_eq!(held.as_ref(), self.records.get(next.key()));
            }
        }
    }

    /// Each answer is one that a scan of all records may give.
    fn check(&self) {
        for (key, entry) in &self.records {
            let loaded = self.store.load(key).now_or_never().unwrap().unwrap();
            assert_eq!(loaded.entry.as_ref(), Some(entry));
        }
        let names = (0..=NAMES).map(|number| Digest::of(format!("token {number}")));
        let keys = self.records.keys().map(Key::digest);
        for digest in names.chain(keys) {
            let found = self.store.find(&digest).now_or_never().unwrap().unwrap();
            self.is_as_scanned(found, |record| record.knows(&digest));
            let found = self.store.find_by_access(&digest);
            let found = found.now_or_never().unwrap().unwrap();
            self.is_as_scanned(found, |record| record.access_digest() == Some(digest));
            let found = self.store.find_by_upstream(&digest);
            let found = found.now_or_never().unwrap().unwrap().unwrap();
            let has = |record: &Record| record.upstream().any(|its| *its == digest);
            let scanned = self.records.iter().filter(|(_, (record, _))| has(record));
            let scanned: Vec<_> = scanned.map(|(key, _)| key.clone()).collect();
            assert_eq!(BTreeSet::from_iter(found.clone()).len(), found.len());
            assert_eq!(BTreeSet::from_iter(found), BTreeSet::from_iter(scanned));
        }
    }

    fn is_as_scanned(&self, found: Option<Key>, is_it: impl Fn(&Record) -> bool) {
        match found {
            Some(key) => assert!(is_it(&self.records[&key].0), "the record of {key}"),
            None => assert!(!self.records.values().any(|(record, _)| is_it(record))),
        }
    }

    /// An index has no more entries than its records have names: what leaves a record leaves the index.
    fn is_no_larger(&self) {
        let entries = self.store.shared.entries.lock();
        let names = |names: &dyn Fn(&Packed) -> Vec<Digest>| -> usize {
            let packed = entries.places.iter().map(|entry| names(&entry.packed));
            packed.map(|names| names.len()).sum()
        };
        assert_eq!(entries.by_key.len(), self.records.len());
        assert!(entries.by_known.len() <= names(&|packed| packed.known().collect()));
        let access = names(&|packed| packed.access_digest().into_iter().collect());
        assert_eq!(entries.by_access.len(), access);
        let marks = names(&|packed| packed.upstream().copied().collect());
        assert!(entries.by_mark.len() <= marks);
        assert!(entries.common.len() <= 2 * self.records.len());
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds(swaps in vec(swap(), 1..12)) {
        let mut checked = Checked::default();
        for (next, sees_newest) in swaps {
            checked.swap(&next, sees_newest);
            checked.check();
        }
        checked.is_no_larger();
    }

    #[test]
    fn a_packed_record_is_the_record(
        (first, next) in key().prop_flat_map(|key| (record(key.clone()), record(key)))
    ) {
        let mut common = Common::default();
        let packed = Packed::new(&first, None, &mut common);
        prop_assert_eq!(packed.record(), first);
        let packed = Packed::new(&next, Some(&packed), &mut common);
        prop_assert!(packed.is_of(next.key()));
        prop_assert_eq!(packed.record(), next);
    }

    #[test]
    fn a_packed_record_is_of_no_other_key(one in key(), other in key()) {
        let first = Record::vacant(one.clone(), TokenFamily::from_bits(1));
        let packed = Packed::new(&first, None, &mut Common::default());
        prop_assert_eq!(packed.is_of(&other), one == other);
        prop_assert_eq!(packed.key(), one);
    }
}

/// A record with fields of a later version inside its parts.
#[test]
fn a_packed_record_carries_unknown_fields() {
    let key = Key::new("issuer", "client");
    let first = Record::vacant(key, TokenFamily::from_bits(1));
    let mut form = serde_json::to_value(&first).unwrap();
    form["key"]["later"] = "kept".into();
    let read: Record = serde_json::from_value(form.clone()).unwrap();
    let packed = Packed::new(&read, None, &mut Common::default());
    assert_eq!(serde_json::to_value(packed.record()).unwrap(), form);
}

/// The text of a token is not copied: the store and the managers hold it once.
#[test]
fn a_packed_record_shares_the_buffers_of_its_tokens() {
    let stored = StoredPair {
        issued_at: StoreTime::default(),
        origin: Origin::Endpoint,
        pair: TokenPair::new("access").refresh_token("refresh"),
    };
    let text = |pair: &TokenPair| {
        let access = pair.access.as_ref().unwrap().expose().as_ptr();
        (access, pair.refresh.as_ref().unwrap().expose().as_ptr())
    };
    let before = text(&stored.pair);
    let first = Record::first(Key::default(), TokenFamily::from_bits(1), stored, 1);
    let packed = Packed::new(&first, None, &mut Common::default());
    assert_eq!(text(&packed.record().pair.unwrap().pair), before);
}
