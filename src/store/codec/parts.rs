//! A record in parts, for stores that write a part only where it changed: most swaps leave the pair and the past
//! tokens as they are.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::aside::aside;
use super::{Codec, Flaw, bare, json, known_format};
use crate::record::wiped::Wiped;
use crate::record::{FORMAT, Record, SEALED_FORMAT};
use crate::store::StoreError;
use crate::token::{Digest, Key};

/// The lists of past tokens, in the order in which they are put together.
const LISTS: [&str; 3] = ["refreshed", "seeds", "replaced"];

/// What a claim and its release change. It stands first in the rest, so that a database which logs the difference of
/// two rows logs little of the rest.
const CHANGING: [&str; 3] = ["claim", "next_number", "not_before"];

/// The parts of a record.
pub(in crate::store) struct Parts {
    /// The pair as JSON; with a sealer the whole record, sealed. `None` where a plain record has no pair.
    pub(in crate::store) pair: Option<Zeroizing<Vec<u8>>>,
    /// The digests of past tokens, 16 bytes each, the lists one after the other.
    pub(in crate::store) past: Vec<u8>,
    /// Everything else as JSON, with the names of the tokens in the place of the pair, and with the length of each
    /// list in the place of the list. As secret as the pair only in what a later version put there.
    pub(in crate::store) rest: Zeroizing<Vec<u8>>,
}

/// The names of the pair's tokens. A member more would be one that no seal covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    digest: Digest,
    access_digest: Option<Digest>,
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
    /// The record in parts, in buffers that are zeroized and were never moved.
    pub(in crate::store) fn encode_parts(&self, record: &Record) -> Result<Parts, Flaw> {
        let mut form = Wiped::from(serde_json::to_value(record).map_err(Flaw::unreadable)?);
        let pair = Wiped::from(form["pair"].take());
        let past = take_lists(&mut form["past"])?;
        form["names"] = serde_json::to_value(Names::of(record)).map_err(Flaw::unreadable)?;
        let pair = match &self.sealer {
            Some(sealer) => {
                form["format"] = SEALED_FORMAT.into();
                let sealed = sealer.seal(&record.key, &json(record)?);
                Some(Zeroizing::new(sealed.map_err(Flaw::Sealing)?))
            }
            None if pair.is_null() => None,
            None => Some(json(&*pair)?),
        };
        let rest = json(&Rest(&form))?;
        Ok(Parts { pair, past, rest })
    }

    /// The record of `key` from its parts.
    pub(in crate::store) fn decode_parts(&self, key: &Key, parts: &Parts) -> Result<Record, Flaw> {
        /// What it says before anything else: parts of two records may be of two sessions.
        #[derive(Deserialize)]
        struct Whose {
            key: Key,
        }
        known_format(&parts.rest)?;
        let Whose { key: whose } = serde_json::from_slice(&parts.rest).map_err(Flaw::unreadable)?;
        if whose != *key {
            return Err(Flaw::OtherKey(Box::new(whose)));
        }
        let shown = Shown::read(&parts.rest, &parts.past)?;
        match (&self.sealer, shown.is_sealed) {
            (None, true) => Err(Flaw::NoSealer),
            (Some(_), false) if !self.accepts_plain => Err(Flaw::Plain),
            (Some(sealer), true) => {
                let sealed = parts.pair.as_ref().ok_or(Flaw::Apart)?;
                let plain = sealer.open(key, sealed).map_err(Flaw::Opening)?;
                let record: Record = serde_json::from_slice(&plain).map_err(Flaw::unreadable)?;
                // The key too, for a sealer that does not bind it.
                if Names::of(&record) != shown.names || bare(record.clone()) != shown.record {
                    return Err(Flaw::Altered);
                }
                Ok(record)
            }
            (_, false) => {
                let pair = match &parts.pair {
                    Some(pair) => serde_json::from_slice(pair).map_err(Flaw::unreadable)?,
                    None => Value::Null,
                };
                let (form, _) = form_of(&parts.rest, &parts.past, pair)?;
                let record: Record = serde_json::from_value(form).map_err(Flaw::unreadable)?;
                if Names::of(&record) != shown.names {
                    return Err(Flaw::Apart);
                }
                Ok(record)
            }
        }
    }

    /// As [`encode_parts`](Self::encode_parts), for stores whose calls must not block.
    pub(in crate::store) async fn encode_parts_aside(
        &self,
        record: &Record,
    ) -> Result<Parts, StoreError> {
        let problem = |flaw: Flaw| flaw.of("a record cannot be written");
        if self.sealer.is_none() {
            return self.encode_parts(record).map_err(problem);
        }
        let (codec, record) = (self.clone(), record.clone());
        aside(move || codec.encode_parts(&record).map_err(problem)).await
    }

    /// As [`decode_parts`](Self::decode_parts); errors are about `thing`.
    pub(in crate::store) async fn decode_parts_aside(
        &self,
        key: &Key,
        parts: Parts,
        thing: String,
    ) -> Result<Record, StoreError> {
        if self.sealer.is_none() {
            return self
                .decode_parts(key, &parts)
                .map_err(|flaw| flaw.of(thing));
        }
        let (codec, key) = (self.clone(), key.clone());
        aside(move || {
            codec
                .decode_parts(&key, &parts)
                .map_err(|flaw| flaw.of(thing))
        })
        .await
    }
}

/// What can be read of a record without its pair.
pub(in crate::store) struct Shown {
    /// Without its pair.
    record: Record,
    names: Option<Names>,
    is_sealed: bool,
}

impl Shown {
    pub(in crate::store) fn read(rest: &[u8], past: &[u8]) -> Result<Self, Flaw> {
        let is_sealed = known_format(rest)? == SEALED_FORMAT;
        let (form, names) = form_of(rest, past, Value::Null)?;
        Ok(Self {
            record: serde_json::from_value(form).map_err(Flaw::unreadable)?,
            names: serde_json::from_value(names).map_err(Flaw::unreadable)?,
            is_sealed,
        })
    }

    pub(in crate::store) fn key(&self) -> &Key {
        &self.record.key
    }

    /// As [`Record::knows`].
    pub(in crate::store) fn knows(&self, digest: &Digest) -> bool {
        let is_current = self.names.is_some_and(|names| names.digest == *digest);
        // Without its pair, the record goes by the digest of the key.
        is_current || *digest != self.record.digest() && self.record.knows(digest)
    }

    /// Whether this is the current access token's digest.
    pub(in crate::store) fn has_access(&self, digest: &Digest) -> bool {
        self.names
            .is_some_and(|names| names.access_digest == Some(*digest))
    }
}

/// The plain form of a record, and its names.
fn form_of(rest: &[u8], past: &[u8], pair: Value) -> Result<(Value, Value), Flaw> {
    let mut form: Map<String, Value> = serde_json::from_slice(rest).map_err(Flaw::unreadable)?;
    let names = form.remove("names").unwrap_or_default();
    put_lists(form.get_mut("past"), past)?;
    form.insert("format".to_owned(), FORMAT.into());
    form.insert("pair".to_owned(), pair);
    Ok((form.into(), names))
}

/// Moves the lists out, and leaves the length of each.
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

/// The other way round. Lengths that are not those of the lists are of another record.
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
    match all {
        [] => Ok(()),
        _ => Err(Flaw::Apart),
    }
}

/// With what changes most at the beginning.
struct Rest<'a>(&'a Value);

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rest = serializer.serialize_map(None)?;
        for name in CHANGING {
            rest.serialize_entry(name, &self.0[name])?;
        }
        let others = self.0.as_object().into_iter().flatten();
        for (name, value) in others {
            if name != "pair" && !CHANGING.contains(&name.as_str()) {
                rest.serialize_entry(name, value)?;
            }
        }
        rest.end()
    }
}

#[cfg(test)]
mod tests;
