//! The serialized form of a record: which layouts are read, how the tokens of a pair are serialized (here and in no
//! other place), and JSON values that are wiped when they are dropped, because they may be as secret as a token.
//!
//! Fields that a later version of this crate wrote inside the parts of a record are kept beside the record when it is
//! read. They are put back into their part when the record is written, as long as that part is the same. One
//! description of what this version knows, [`KNOWN`], covers every level. The alternative, a map of unknown fields in
//! each type, was rejected: `Lifetime` is `Copy` and public, a `Key` is compared and hashed, and a new type would
//! easily be forgotten.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::browser::{Browser, Pin};
use super::lease::{Candidate, Holder, Lease, Owner};
use super::marks::Marks;
use super::past::{Names, Past};
use super::{
    Class, FORMAT, NotBefore, Origin, Record, RecordState, SEALED_FORMAT, StoredPair, is_unreleased,
};
use crate::clock::StoreTime;
use crate::token::{
    AccessToken, Digest, Key, Lifetime, RefreshToken, Scope, TokenFamily, TokenPair,
};

/// Refuses a record of a layout that this version of the crate does not know: what this version would write back
/// might mean something else in that layout.
pub(super) fn check(form: &Value) -> Result<(), String> {
    let format = u32::deserialize(&form["format"]).map_err(
        |_| "the record's `format` is missing or not a number; is it a record of this crate?",
    )?;
    Err(match format {
        FORMAT => return Ok(()),
        SEALED_FORMAT => {
            "the record is sealed; give the store a `store::Codec` with the sealer that sealed it"
                .to_owned()
        }
        _ if is_unreleased(format) => format!(
            "the record has format {format}, the layout of an unreleased version; move the record away and sign in again"
        ),
        // A codec gives sealed records a number of its own, so a number that no version writes would come back as
        // another one.
        0 => "the record has format 0, which no version writes; restore the record, or move it away and sign in again"
            .to_owned(),
        _ => format!(
            "the record has format {format}, and this version reads only format {FORMAT}; update evertoken"
        ),
    })
}

/// Fields that this version does not know.
pub(crate) type Fields = Wiped<Map<String, Value>>;

/// A JSON value whose texts are wiped when it is dropped. Field names and numbers are not wiped, because a token is a
/// text.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Wiped<T: Wipe>(T);

pub(crate) trait Wipe {
    fn wipe(&mut self);
}

impl Wipe for Value {
    fn wipe(&mut self) {
        match self {
            Self::String(text) => text.zeroize(),
            Self::Array(values) => values.iter_mut().for_each(Wipe::wipe),
            Self::Object(fields) => fields.wipe(),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl Wipe for Map<String, Value> {
    fn wipe(&mut self) {
        self.values_mut().for_each(Wipe::wipe);
    }
}

impl<T: Wipe> From<T> for Wiped<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Wipe> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Wipe> fmt::Debug for Wiped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// The fields of a pair, which stand beside those of the stored pair.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TokenPair")]
pub(super) struct PairForm {
    #[serde(rename = "access_token", default)]
    #[serde(serialize_with = "access", deserialize_with = "token")]
    access: Option<AccessToken>,
    #[serde(rename = "refresh_token", default)]
    #[serde(serialize_with = "refresh", deserialize_with = "token")]
    refresh: Option<RefreshToken>,
    #[serde(default)]
    lifetime: Lifetime,
    token_type: Option<String>,
    scope: Option<Scope>,
}

fn access<S: Serializer>(token: &Option<AccessToken>, to: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(AccessToken::expose).serialize(to)
}

fn refresh<S: Serializer>(token: &Option<RefreshToken>, to: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(RefreshToken::expose).serialize(to)
}

/// Moves the string into zeroizing memory at once, where it is wiped even if a later field is invalid.
fn token<'de, D: Deserializer<'de>, T: From<String>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(T::from))
}

/// The unknown fields that are kept for the parts of a record. Most records have none.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Carried(Option<Box<Parts>>);

/// The unknown fields of each part and of the values inside it, with what identifies the part.
#[derive(Clone, Default, PartialEq)]
struct Parts {
    key: Fields,
    pair: Option<(Digest, Fields)>,
    state: Option<(RecordState, Fields)>,
    lease: Option<(Holder, Fields)>,
    not_before: Option<(NotBefore, Fields)>,
    past: Fields,
    browser: Fields,
    upstream: Option<(Marks, Fields)>,
}

impl Carried {
    /// The same fields without those of the pair, which may be as secret as the pair.
    pub(crate) fn without_pair(self) -> Self {
        let parts = self.0.map(|parts| Parts {
            pair: None,
            ..*parts
        });
        parts.map_or_else(Self::default, Parts::carried)
    }
}

impl Parts {
    fn carried(self) -> Carried {
        let is_empty = self == Self::default();
        Carried((!is_empty).then(|| Box::new(self)))
    }

    fn put_back(&self, record: &Record, form: &mut Value) {
        put_back(&self.key, &mut form["key"]);
        let pair = record.pair.as_ref().map(|_| record.digest());
        let lease = record.lease.as_ref().map(Lease::holder);
        put_back_into(&self.pair, pair.as_ref(), &mut form["pair"]);
        put_back_into(&self.state, Some(&record.state), &mut form["state"]);
        put_back_into(&self.lease, lease.as_ref(), &mut form["lease"]);
        let pause = record.not_before.as_ref();
        put_back_into(&self.not_before, pause, &mut form["not_before"]);
        put_back(&self.past, &mut form["past"]);
        if record.browser.is_some() {
            put_back(&self.browser, &mut form["browser"]);
        }
        if let Some(upstream) = form.get_mut("upstream") {
            put_back_into(&self.upstream, record.upstream.as_ref(), upstream);
        }
    }
}

/// Shows no field, because a later version may keep a secret in one.
impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Map::<String, Value>::deserialize(deserializer)?;
        let mut form = Wiped::from(Value::Object(form));
        // The format is checked first, before anything that a later format may have changed.
        check(&form).map_err(serde::de::Error::custom)?;
        let mut inside = |part: &str| take(&mut form[part], &KNOWN[part]);
        let parts = [
            "key",
            "pair",
            "state",
            "lease",
            "not_before",
            "past",
            "browser",
            "upstream",
        ];
        let [key, pair, state, lease, not_before, past, browser, upstream] = parts.map(&mut inside);
        let unknown = take(&mut form, &KNOWN);
        // The record is built from a borrowed form: the record copies what it needs, and the form is wiped whether
        // the record is valid or not.
        let mut record = Form::deserialize(&*form).map_err(serde::de::Error::custom)?;
        record.unknown = unknown;
        let some = |fields: Fields| (!fields.is_empty()).then_some(fields);
        let leased = record.lease.as_ref().map(Lease::holder);
        record.carried = Parts {
            key,
            pair: some(pair).map(|fields| (record.digest(), fields)),
            state: some(state).map(|fields| (record.state.clone(), fields)),
            lease: leased.zip(some(lease)),
            not_before: record.not_before.clone().zip(some(not_before)),
            past,
            browser,
            upstream: record.upstream.zip(some(upstream)),
        }
        .carried();
        Ok(record)
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(carried) = &self.carried.0 else {
            return Form::serialize(self, serializer);
        };
        let form = Form::serialize(self, serde_json::value::Serializer);
        let mut form = Wiped::from(form.map_err(serde::ser::Error::custom)?);
        carried.put_back(self, &mut form);
        form.serialize(serializer)
    }
}

/// The serialized fields of a [`Record`], with the unknown ones beside them.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Record")]
struct Form {
    format: u32,
    key: Key,
    family: TokenFamily,
    version: u64,
    pair: Option<StoredPair>,
    state: RecordState,
    lease: Option<Lease>,
    not_before: Option<NotBefore>,
    #[serde(default)]
    sign_ins: u64,
    next_number: u64,
    committed_number: u64,
    past: Past,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser: Option<Box<Browser>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<Marks>,
    #[serde(flatten)]
    unknown: Fields,
    #[serde(skip)]
    carried: Carried,
}

/// A record with every field that this version knows.
static KNOWN: LazyLock<Value> = LazyLock::new(|| {
    let (digest, time, span) = (Digest::of(""), StoreTime::default(), Duration::ZERO);
    let pair = StoredPair {
        issued_at: time,
        origin: Origin::Endpoint,
        pair: TokenPair::default()
            .expires_in(span)
            .refresh_expires_in(span),
    };
    let by = Candidate {
        owner: Owner::from_bits(0),
        nonce: 0,
        lease_duration: span,
    };
    let first = Record::first(Key::default(), TokenFamily::from_bits(0), pair, 0);
    let record = Record {
        state: RecordState::Rejected {
            digest,
            code: None,
            description: None,
        },
        not_before: Some(NotBefore {
            until: time,
            class: Class::Unknown,
            code: None,
            failures: 0,
        }),
        past: Past {
            refreshed: Names(vec![digest]),
            seeds: Names(vec![digest]),
            replaced: Names(vec![digest]),
            until: Some(time),
        },
        browser: Some(Box::new(Browser {
            pins: vec![Pin {
                digest,
                until: time,
            }],
            ..Browser::new(0, time, time)
        })),
        upstream: Some(Marks {
            session: Some(digest),
            subject: Some(digest),
        }),
        ..first.leased(by, digest, time)
    };
    serde_json::to_value(record).unwrap_or_default()
});

/// Moves out of `form`, level by level, what `known` does not have.
fn take(form: &mut Value, known: &Value) -> Fields {
    let mut unknown = Fields::default();
    if let (Value::Object(form), Value::Object(known)) = (form, known) {
        form.retain(|name, value| match known.get(name) {
            Some(known) => {
                let mut inside = take(value, known);
                if !inside.is_empty() {
                    let inside = std::mem::take(&mut *inside);
                    unknown.insert(name.clone(), inside.into());
                }
                true
            }
            None => {
                unknown.insert(name.clone(), value.take());
                false
            }
        });
    }
    unknown
}

/// Puts unknown fields back into `form`. A field that this version knows and has set stays.
fn put_back(unknown: &Map<String, Value>, form: &mut Value) {
    let Value::Object(form) = form else { return };
    for (name, value) in unknown {
        match (form.get_mut(name), value) {
            (None, value) => {
                form.insert(name.clone(), value.clone());
            }
            (Some(inside), Value::Object(unknown)) => put_back(unknown, inside),
            (Some(_), _) => {}
        }
    }
}

/// Puts unknown fields back into `form` if it is the part that they were found in.
fn put_back_into<T: PartialEq>(unknown: &Option<(T, Fields)>, part: Option<&T>, form: &mut Value) {
    if let Some((found_in, unknown)) = unknown
        && part == Some(found_in)
    {
        put_back(unknown, form);
    }
}
