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

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::lease::{Holder, Lease, Owner};
use super::past::{Names, Past};
use super::pause::{Class, NotBefore};
use super::{FORMAT, Origin, Record, RecordState, StoredPair};
use crate::clock::StoreTime;
use crate::token::{Digest, Key, Lifetime, RefreshExpiry, TokenFamily, TokenPair, Validity};

/// Refuses a record of a layout that this version of the crate does not know: what this version would write back
/// might mean something else in that layout.
pub(super) fn check(form: &Value) -> Result<(), String> {
    let format = u32::deserialize(&form["format"]).map_err(|_| {
        "the record's `format` is missing or not a number; is it a record of this crate?".to_owned()
    })?;
    if format == super::SEALED_FORMAT {
        return Err(
            "the record is sealed; give the store a `store::Codec` with the sealer that sealed it"
                .to_owned(),
        );
    }
    if super::is_unreleased(format) {
        return Err(format!(
            "the record has format {format}, the layout of an unreleased version; move the record away and sign in again"
        ));
    }
    // A codec gives sealed records a number of its own, so a number that no version writes would come back as another
    // one.
    if format == 0 {
        return Err(
            "the record has format 0, which no version writes; restore the record, or move it away and sign in \
             again"
                .to_owned(),
        );
    }
    if format > super::FORMAT {
        return Err(format!(
            "the record has format {format}, and this version reads only format {}; update evertoken",
            super::FORMAT
        ));
    }
    Ok(())
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
pub(super) mod pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::token::{AccessToken, Lifetime, RefreshToken, Scope, TokenPair};

    #[derive(Serialize)]
    struct Borrowed<'a> {
        access_token: Option<&'a str>,
        refresh_token: Option<&'a str>,
        lifetime: Lifetime,
        token_type: Option<&'a str>,
        scope: Option<&'a Scope>,
    }

    #[derive(Deserialize)]
    struct Owned {
        #[serde(default, deserialize_with = "token")]
        access_token: Option<AccessToken>,
        #[serde(default, deserialize_with = "token")]
        refresh_token: Option<RefreshToken>,
        #[serde(default)]
        lifetime: Lifetime,
        #[serde(default)]
        token_type: Option<String>,
        #[serde(default)]
        scope: Option<Scope>,
    }

    /// Moves the string into zeroizing memory at once, where it is wiped even if a later field is invalid.
    fn token<'de, D: Deserializer<'de>, T: From<String>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(T::from))
    }

    pub(in super::super) fn serialize<S: Serializer>(
        pair: &TokenPair,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Borrowed {
            access_token: pair.access.as_ref().map(AccessToken::expose),
            refresh_token: pair.refresh.as_ref().map(RefreshToken::expose),
            lifetime: pair.lifetime,
            token_type: pair.token_type.as_deref(),
            scope: pair.scope.as_ref(),
        }
        .serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TokenPair, D::Error> {
        let owned = Owned::deserialize(deserializer)?;
        Ok(TokenPair {
            access: owned.access_token,
            refresh: owned.refresh_token,
            lifetime: owned.lifetime,
            token_type: owned.token_type,
            scope: owned.scope,
        })
    }
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
        if let Some((digest, fields)) = &self.pair
            && record.pair.is_some()
            && record.digest() == *digest
        {
            put_back(fields, &mut form["pair"]);
        }
        if let Some((state, fields)) = &self.state
            && record.state == *state
        {
            put_back(fields, &mut form["state"]);
        }
        if let Some((holder, fields)) = &self.lease
            && record.lease.as_ref().map(Lease::holder) == Some(*holder)
        {
            put_back(fields, &mut form["lease"]);
        }
        if let Some((pause, fields)) = &self.not_before
            && record.not_before.as_ref() == Some(pause)
        {
            put_back(fields, &mut form["not_before"]);
        }
        put_back(&self.past, &mut form["past"]);
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
        let parts = ["key", "pair", "state", "lease", "not_before", "past"];
        let [key, pair, state, lease, not_before, past] = parts.map(&mut inside);
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
    #[serde(default)]
    not_before: Option<NotBefore>,
    #[serde(default)]
    sign_ins: u64,
    next_number: u64,
    committed_number: u64,
    past: Past,
    #[serde(flatten)]
    unknown: Fields,
    #[serde(skip)]
    carried: Carried,
}

/// A record with every field that this version knows.
static KNOWN: LazyLock<Value> = LazyLock::new(|| {
    let digest = Digest::of("");
    let time = StoreTime::from_millis(0);
    let span = Validity::Known {
        total: std::time::Duration::ZERO,
    };
    let record = Record {
        format: FORMAT,
        key: Key::default(),
        family: TokenFamily::from_bits(0),
        version: 0,
        pair: Some(StoredPair {
            issued_at: time,
            origin: Origin::Endpoint,
            pair: TokenPair {
                access: None,
                refresh: None,
                lifetime: Lifetime {
                    access: span,
                    refresh: span,
                    refresh_expiry: RefreshExpiry::default(),
                    refresh_in: None,
                },
                token_type: None,
                scope: None,
            },
        }),
        state: RecordState::Rejected {
            digest,
            code: None,
            description: None,
        },
        lease: Some(Lease {
            owner: Owner::from_bits(0),
            number: 0,
            nonce: 0,
            digest,
            since: time,
            duration: std::time::Duration::ZERO,
            doubtful: None,
            by: None,
            before: None,
            sendings: 0,
            released: false,
        }),
        not_before: Some(NotBefore {
            until: time,
            class: Class::Unknown,
            code: None,
            failures: 0,
        }),
        sign_ins: 0,
        next_number: 0,
        committed_number: 0,
        past: Past {
            refreshed: Names(vec![digest]),
            seeds: Names(vec![digest]),
            replaced: Names(vec![digest]),
            until: Some(time),
        },
        unknown: Fields::default(),
        carried: Carried::default(),
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
