//! A record in parts, for stores that write a part only where it changed. Most swaps leave the pair and the past tokens
//! as they are.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Codec, Flaw, Keyed, Names, Outline, bound, known_format};
use crate::record::format::Wiped;
use crate::record::{FORMAT, Record, SEALED_FORMAT};
use crate::store::StoreError;
use crate::store::blocking;
use crate::token::{Digest, Key, json};

/// The lists of past tokens, in the order in which they stand in their part.
const LISTS: [&str; 3] = ["refreshed", "seeds", "replaced"];

/// The members that a lease and its release change.
const CHANGING: [&str; 3] = ["lease", "next_number", "not_before"];

/// The parts of a record.
pub(in crate::store) struct Parts {
    /// The pair as JSON; with a sealer the whole record, sealed. `None` where a plain record has no pair.
    pub(in crate::store) pair: Option<Zeroizing<Vec<u8>>>,
    /// The digests of past tokens, 16 bytes each, the lists one after the other.
    pub(in crate::store) past: Vec<u8>,
    /// The members that a lease changes, as JSON.
    pub(in crate::store) lease: Zeroizing<Vec<u8>>,
    /// All other members as JSON, with the digests of the tokens in the place of the pair, and with the length of each
    /// list in the place of the list. Secret only where a later version put a secret member there.
    pub(in crate::store) rest: Zeroizing<Vec<u8>>,
}

impl Parts {
    /// The lease and the rest as one JSON. The lease stands first: a database that logs the bytes between the first and
    /// the last difference of two rows then logs few of them.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn record(&self) -> Zeroizing<Vec<u8>> {
        let begun = self.lease.strip_suffix(b"}").unwrap_or_default();
        let ended = self.rest.strip_prefix(b"{").unwrap_or_default();
        Zeroizing::new([begun, b",", ended].concat())
    }

    /// The parts of a record whose lease and rest are one JSON.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn of_record(
        record: &[u8],
        past: Vec<u8>,
        pair: Option<Zeroizing<Vec<u8>>>,
    ) -> Self {
        Self {
            pair,
            past,
            lease: Zeroizing::new(b"{}".to_vec()),
            rest: Zeroizing::new(record.to_vec()),
        }
    }

    /// The outline of the record. The pair may be missing.
    pub(in crate::store) fn outline(&self) -> Result<Outline, Flaw> {
        // An unknown format is reported before any other flaw.
        known_format(&self.rest)?;
        let (mut form, names) = self.form(Wiped::default())?;
        Ok(Outline {
            record: serde_json::from_value(form.take())?,
            names,
            sealed: None,
        })
    }

    /// The plain form of the record with this pair, and the digests of its tokens.
    fn form(&self, mut pair: Wiped<Value>) -> Result<(Wiped<Value>, Option<Names>), Flaw> {
        let read = |part: &[u8]| serde_json::from_slice::<Wiped<Map<String, Value>>>(part);
        let mut form = read(&self.rest)?;
        form.extend(std::mem::take(&mut *read(&self.lease)?));
        let names = serde_json::from_value(form.remove("names").unwrap_or_default())?;
        put_lists(form.get_mut("past"), &self.past)?;
        form.insert("format".to_owned(), FORMAT.into());
        form.insert("pair".to_owned(), pair.take());
        let form = Value::Object(std::mem::take(&mut *form));
        Ok((Wiped::from(form), names))
    }
}

impl Names {
    fn of(record: &Record) -> Option<Self> {
        record.pair.as_ref().map(|_| Self {
            digest: record.digest(),
            access_digest: record.access_digest(),
        })
    }
}

impl Codec {
    /// The record in parts. The buffers with secrets are zeroized and never reallocated.
    pub(in crate::store) fn encode_parts(&self, record: &Record) -> Result<Parts, Flaw> {
        let mut form = Wiped::from(serde_json::to_value(record)?);
        let pair = Wiped::from(form["pair"].take());
        let past = take_lists(&mut form["past"])?;
        form["names"] = serde_json::to_value(Names::of(record))?;
        let pair = match &self.sealer {
            Some(sealer) => {
                form["format"] = SEALED_FORMAT.into();
                let sealed = sealer.seal(&bound(record), &json::zeroizing(record)?);
                Some(Zeroizing::new(sealed.map_err(Flaw::Sealing)?))
            }
            None if pair.is_null() => None,
            None => Some(json::zeroizing(&*pair)?),
        };
        // The members that a lease changes, or all others.
        let part = |changing| {
            let members = form.as_object().into_iter().flatten();
            let members = members.filter(|(name, _)| {
                *name != "pair" && CHANGING.contains(&name.as_str()) == changing
            });
            json::zeroizing(&members.collect::<BTreeMap<_, _>>())
        };
        Ok(Parts {
            pair,
            past,
            lease: part(true)?,
            rest: part(false)?,
        })
    }

    /// The record of `key` from its parts.
    pub(in crate::store) fn decode_parts(&self, key: &Key, parts: &Parts) -> Result<Record, Flaw> {
        let is_sealed = known_format(&parts.rest)? == SEALED_FORMAT;
        // Before anything else, because parts of two records may be of two sessions.
        let Keyed { key: found } = serde_json::from_slice(&parts.rest)?;
        if found != *key {
            return Err(Flaw::OtherKey(Box::new(found)));
        }
        if let Some(sealer) = self.opener(is_sealed)? {
            let sealed = parts.pair.as_ref().ok_or(Flaw::Apart)?;
            return parts.outline()?.open(sealer, sealed);
        }
        let pair = match &parts.pair {
            Some(pair) => serde_json::from_slice(pair)?,
            None => Wiped::default(),
        };
        let (mut form, names) = parts.form(pair)?;
        let record: Record = serde_json::from_value(form.take())?;
        let is_whole = Names::of(&record) == names;
        is_whole.then_some(record).ok_or(Flaw::Apart)
    }

    /// [`encode_parts`](Self::encode_parts) for stores whose calls must not block: a sealer may block.
    pub(in crate::store) async fn encode_parts_async(
        &self,
        record: &Record,
    ) -> Result<Parts, StoreError> {
        let encode = |codec: &Self, record: &Record| {
            let parts = codec.encode_parts(record);
            parts.map_err(|flaw| flaw.of_writing(record))
        };
        if self.sealer.is_none() {
            return encode(self, record);
        }
        let (codec, record) = (self.clone(), record.clone());
        blocking(move || encode(&codec, &record)).await
    }

    /// [`decode_parts`](Self::decode_parts) for stores whose calls must not block. Errors are about `subject`.
    pub(in crate::store) async fn decode_parts_async(
        &self,
        key: &Key,
        parts: Parts,
        subject: String,
    ) -> Result<Record, StoreError> {
        let decode = move |codec: &Self, key: &Key| {
            let record = codec.decode_parts(key, &parts);
            record.map_err(|flaw| flaw.of(subject))
        };
        if self.sealer.is_none() {
            return decode(self, key);
        }
        let (codec, key) = (self.clone(), key.clone());
        blocking(move || decode(&codec, &key)).await
    }
}

/// Moves the lists out of the form, and puts the length of each list in its place.
fn take_lists(past: &mut Value) -> Result<Vec<u8>, Flaw> {
    let mut all = Vec::new();
    for list in LISTS {
        let Some(text) = past.get_mut(list) else {
            continue;
        };
        let digests = BASE64_URL_SAFE_NO_PAD.decode(text.as_str().unwrap_or_default());
        let digests = digests.map_err(|_| Flaw::Apart)?;
        *text = (digests.len() / Digest::LENGTH).into();
        all.extend(digests);
    }
    Ok(all)
}

/// Puts the lists back into the form. Lengths that do not fit the lists are of another record.
fn put_lists(past: Option<&mut Value>, mut all: &[u8]) -> Result<(), Flaw> {
    let past = past.ok_or(Flaw::Apart)?;
    for list in LISTS {
        let Some(length) = past.get_mut(list) else {
            continue;
        };
        let bytes = length
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
            .and_then(|length| length.checked_mul(Digest::LENGTH))
            .ok_or(Flaw::Apart)?;
        let (digests, others) = all.split_at_checked(bytes).ok_or(Flaw::Apart)?;
        *length = BASE64_URL_SAFE_NO_PAD.encode(digests).into();
        all = others;
    }
    all.is_empty().then_some(()).ok_or(Flaw::Apart)
}

#[cfg(test)]
mod tests;
