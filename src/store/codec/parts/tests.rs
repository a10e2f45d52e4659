use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;

use super::*;
use crate::record::{Lease, Origin, Owner, StoredPair};
use crate::seal::{AssociatedData, SealError, Sealer};
use crate::store::StoreTime;
use crate::token::{TokenFamily, TokenPair};

/// A sealer that hides the bytes, binds the key, and gives a different result each time.
#[derive(Default)]
struct Mask(AtomicU8);

fn masked(bytes: &[u8], mask: u8) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ mask).collect()
}

impl Sealer for Mask {
    fn seal(&self, bound: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mask = self.0.fetch_add(1, Ordering::SeqCst) | 0x80;
        let tag = Digest::of([&bound.to_bytes(), plain].concat());
        Ok([&[mask], tag.as_bytes().as_slice(), &masked(plain, mask)].concat())
    }

    fn open(
        &self,
        bound: &AssociatedData<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (mask, sealed) = sealed.split_first().ok_or(SealError::Refused)?;
        let (tag, sealed) = sealed.split_at_checked(16).ok_or(SealError::Refused)?;
        let plain = masked(sealed, *mask);
        let expected = Digest::of([bound.to_bytes(), plain.clone()].concat());
        match expected.as_bytes() == tag {
            true => Ok(Zeroizing::new(plain)),
            false => Err(SealError::Refused),
        }
    }
}

fn codecs() -> [Codec; 2] {
    [Codec::plain(), Codec::sealed(Mask::default())]
}

fn key() -> Key {
    Key::new("issuer", "client").tenant("diku")
}

fn record() -> Record {
    let pair = TokenPair::new("access sesame").refresh_token("refresh sesame");
    let stored = StoredPair {
        issued_at: StoreTime::from_millis(1),
        origin: Origin::Endpoint,
        pair,
    };
    let mut record = Record::first(key(), TokenFamily::from_bits(1), stored, 1);
    for (number, origin) in [
        (1, Origin::Endpoint),
        (2, Origin::Seed),
        (3, Origin::Endpoint),
        (4, Origin::Replacement),
    ] {
        let until = StoreTime::from_millis(number);
        record.past.note(past(number), origin, Some(until));
    }
    record
}

fn past(number: u64) -> Digest {
    Digest::of(format!("past {number}"))
}

fn leased(record: &Record) -> Record {
    let mut next = record.clone();
    next.next_number += 1;
    next.lease = Some(Lease {
        owner: Owner::from_bits(1),
        number: record.next_number,
        nonce: 2,
        digest: record.digest(),
        since: StoreTime::from_millis(3),
        duration: std::time::Duration::from_secs(60),
        doubtful: None,
        by: None,
        before: None,
        sendings: 0,
        released: false,
    });
    next
}

/// A session that was logged out and whose pair was revoked.
fn cleared() -> Record {
    record()
        .ended(crate::record::RecordState::LoggedOut)
        .cleared()
}

/// A record with fields of a later version, at every level.
fn later() -> Record {
    let mut form = serde_json::to_value(leased(&record())).unwrap();
    form["later"] = json!({ "a": [1, null] });
    for part in ["key", "pair", "state", "lease", "past"] {
        form[part]["later"] = json!({ "colour": "blue" });
    }
    serde_json::from_value(form).unwrap()
}

fn every_kind() -> [Record; 5] {
    let vacant = Record::vacant(key(), TokenFamily::from_bits(1));
    [record(), leased(&record()), later(), vacant, cleared()]
}

fn parts(codec: &Codec, record: &Record) -> Parts {
    codec.encode_parts(record).unwrap()
}

/// The text of the error, which does not contain a token.
fn refusal(codec: &Codec, parts: &Parts) -> String {
    let flaw = codec.decode_parts(&key(), parts).unwrap_err();
    let text = format!("{flaw} {flaw:?}");
    assert!(!text.contains("sesame"), "{text}");
    text
}

#[test]
fn a_record_is_restored_from_its_parts() {
    for codec in codecs() {
        for record in every_kind() {
            let parts = parts(&codec, &record);
            assert_eq!(codec.decode_parts(&key(), &parts).unwrap(), record);
            // The whole bytes and the parts are of the same record.
            let whole = codec.encode(&record).unwrap();
            assert_eq!(codec.decode(&key(), &whole).unwrap(), record);
        }
    }
}

#[test]
fn only_its_part_has_the_pair_and_the_rest_has_the_digests() {
    for (codec, is_sealed) in codecs().into_iter().zip([false, true]) {
        let Parts {
            pair,
            past,
            lease,
            rest,
        } = parts(&codec, &later());
        let [pair, lease, rest] =
            [pair.unwrap(), lease, rest].map(|part| String::from_utf8_lossy(&part).into_owned());
        assert_eq!(pair.contains("sesame"), !is_sealed);
        assert!(
            !(lease + &rest).contains("sesame") && !rest.contains("\"pair\""),
            "{rest}"
        );
        let form: Value = serde_json::from_str(&rest).unwrap();
        let names = json!({ "digest": Digest::of("refresh sesame"), "access_digest": Digest::of("access sesame") });
        assert_eq!(form["names"], names);
        assert_eq!(form["format"], if is_sealed { 4 } else { 3 });
        let lists = json!({ "refreshed": 2, "seeds": 1, "replaced": 1, "until": 4, "later": { "colour": "blue" } });
        assert_eq!(form["past"], lists);
        let digests = [1, 3, 2, 4].map(super::tests::past);
        let digests: Vec<u8> = digests
            .iter()
            .flat_map(|digest| *digest.as_bytes())
            .collect();
        assert_eq!(past, digests);
    }
}

#[test]
fn a_lease_changes_only_its_own_part() {
    let codec = Codec::plain();
    let [before, after] = [record(), leased(&record())].map(|record| parts(&codec, &record));
    assert_eq!(before.pair, after.pair);
    assert_eq!(before.past, after.past);
    assert_eq!(before.rest, after.rest);
    assert_eq!(
        *before.lease,
        br#"{"lease":null,"next_number":1,"not_before":null}"#
    );
    assert_ne!(before.lease, after.lease);
}

#[cfg(feature = "postgres")]
#[test]
fn the_lease_and_the_rest_are_one_json_that_begins_with_the_lease() {
    for codec in codecs() {
        for record in every_kind() {
            let parts = parts(&codec, &record);
            let joined = parts.record();
            assert!(joined.starts_with(br#"{"lease":"#));
            serde_json::from_slice::<Value>(&joined).unwrap();
            let parts = Parts::of_record(&joined, parts.past, parts.pair);
            assert_eq!(codec.decode_parts(&key(), &parts).unwrap(), record);
        }
    }
}

#[test]
fn a_plain_record_without_a_pair_has_no_pair_part_and_a_sealed_one_has_the_seal() {
    let [plain, sealed] = codecs();
    for record in [Record::vacant(key(), TokenFamily::from_bits(1)), cleared()] {
        assert!(parts(&plain, &record).pair.is_none());
        let parts = parts(&sealed, &record);
        assert!(parts.pair.is_some());
        let form: Value = serde_json::from_slice(&parts.rest).unwrap();
        assert_eq!(form["names"], Value::Null);
    }
}

#[test]
fn parts_of_two_records_are_refused() {
    let mut other = leased(&record());
    other.pair.as_mut().unwrap().pair =
        TokenPair::new("other sesame").refresh_token("another sesame");
    other.past.note(past(9), Origin::Endpoint, None);
    for codec in codecs() {
        let [pair, past] = [(); 2].map(|()| parts(&codec, &record()));
        let no_pair = Parts {
            pair: None,
            ..parts(&codec, &record())
        };
        let other_pair = Parts {
            pair: parts(&codec, &other).pair,
            ..pair
        };
        let other_past = Parts {
            past: parts(&codec, &other).past,
            ..past
        };
        for parts in [no_pair, other_pair, other_past] {
            let text = refusal(&codec, &parts);
            let is_named =
                text.contains("not of one record") || text.contains("not what was sealed");
            assert!(is_named, "{text}");
        }
    }
    let a_pair_too_many = Parts {
        pair: parts(&Codec::plain(), &record()).pair,
        ..parts(&Codec::plain(), &cleared())
    };
    assert!(refusal(&Codec::plain(), &a_pair_too_many).contains("not of one record"));
}

#[test]
fn parts_that_are_cut_off_are_refused() {
    let [plain, sealed] = codecs();
    let cut = |codec: &Codec, part: usize| {
        let mut parts = parts(codec, &record());
        let part = match part {
            0 => &mut *parts.rest,
            1 => &mut parts.past,
            2 => &mut *parts.lease,
            _ => parts.pair.as_mut().unwrap(),
        };
        part.pop();
        parts
    };
    for (part, reason) in [
        (0, "not a whole record"),
        (1, "not of one record"),
        (2, "not a whole record"),
        (3, "not a whole record"),
    ] {
        let text = refusal(&plain, &cut(&plain, part));
        assert!(text.contains(reason), "{part}: {text}");
    }
    for part in 0..4 {
        refusal(&sealed, &cut(&sealed, part));
    }
}

#[test]
fn a_readable_copy_that_differs_from_the_sealed_record_is_refused() {
    let sealed = Codec::sealed(Mask::default());
    let text = String::from_utf8(parts(&sealed, &record()).rest.to_vec()).unwrap();
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("\"until\":4", "\"until\":5"),
        ("\"seeds\":1", "\"seeds\":0"),
        (
            "\"refreshed\":2,\"replaced\":1",
            "\"refreshed\":1,\"replaced\":2",
        ),
        (
            &Digest::of("access sesame").to_string(),
            &past(1).to_string(),
        ),
        (
            &Digest::of("refresh sesame").to_string(),
            &past(1).to_string(),
        ),
        ("\"names\":{", "\"later\":1,\"names\":{"),
        ("\"names\":{", "\"names\":{\"later\":1,"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        let rest = Zeroizing::new(text.replace(from, to).into_bytes());
        refusal(
            &sealed,
            &Parts {
                rest,
                ..parts(&sealed, &record())
            },
        );
    }
}

#[test]
fn a_record_of_another_session_or_form_or_format_is_refused() {
    let [plain, sealed] = codecs();
    let other = Record {
        key: key().label("other"),
        ..record()
    };
    for codec in [&plain, &sealed] {
        assert!(refusal(codec, &parts(codec, &other)).contains("another session"));
        for (format, reason) in [
            (1, "the layout of an unreleased version"),
            (2, "the layout of an unreleased version"),
            (9, "format 9"),
        ] {
            let mut form: Value = serde_json::from_slice(&parts(codec, &record()).rest).unwrap();
            form["format"] = format.into();
            let rest = Zeroizing::new(serde_json::to_vec(&form).unwrap());
            let text = refusal(
                codec,
                &Parts {
                    rest,
                    ..parts(codec, &record())
                },
            );
            assert!(text.contains(reason), "{text}");
        }
    }
    assert!(refusal(&plain, &parts(&sealed, &record())).contains("it is sealed"));
    assert!(refusal(&sealed, &parts(&plain, &record())).contains("it is not sealed"));
    // The seal of another record of this session, and the seal of another session.
    for of in [&leased(&record()), &other] {
        let parts = Parts {
            pair: parts(&sealed, of).pair,
            ..parts(&sealed, &record())
        };
        refusal(&sealed, &parts);
    }
    let accepting = Codec::sealed(Mask::default()).accept_plain(true);
    let accepted = accepting.decode_parts(&key(), &parts(&plain, &record()));
    assert_eq!(accepted.unwrap(), record());
}

#[cfg(feature = "redis")]
#[test]
fn the_outline_of_parts_without_the_pair_knows_the_tokens_of_the_session() {
    for codec in codecs() {
        let parts = Parts {
            pair: None,
            ..self::parts(&codec, &record())
        };
        let outline = parts.outline().unwrap();
        assert_eq!(outline.record.key, key());
        for known in [
            Digest::of("refresh sesame"),
            past(1),
            past(2),
            past(3),
            past(4),
        ] {
            assert!(outline.knows(&known));
            assert_ne!(outline.access_digest(), Some(known));
        }
        let access = Digest::of("access sesame");
        assert!(outline.access_digest() == Some(access) && !outline.knows(&access));
        assert!(!outline.knows(&past(5)));
        assert!(
            !outline.knows(&key().digest()),
            "the digest of the record without its pair"
        );
    }
}
