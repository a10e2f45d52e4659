#[cfg(any(feature = "postgres", feature = "redis"))]
mod aside;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod parts;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::parts::Parts;
#[cfg(feature = "redis")]
pub(super) use self::parts::Shown;
use super::{SealError, Sealer, StoreError};
use crate::record::{FORMAT, Record, SEALED_FORMAT, is_unreleased};
use crate::token::{Digest, Key};

/// Turns records into bytes and back, for stores that keep them outside the process.
///
/// The bytes are JSON. With a [`Sealer`], the whole record is sealed, and everything but the pair (key, state,
/// lease, versions, digests) stands beside the seal as a readable copy, so that a session can be looked into and
/// found without the secret. Fields of later versions are carried along in both forms, at every level.
///
/// # What a seal proves
///
/// A codec with a sealer believes what was sealed for this session, and nothing else. It refuses a record whose
/// readable copy differs from what was sealed, the sealed record of another session, and every plain record:
/// otherwise a writer without the secret takes the seal off by writing a plain record in its place, with tokens of
/// its own choice. Sealed records hold for records without a pair too (a sign-in that is leased, a session that
/// was logged out).
///
/// A seal cannot prove that a record is the latest one: a writer to the storage can delete a record, or put an
/// older one of the same session back, whole.
///
/// # Sealing a store that is in use
///
/// [`accept_plain`](Self::accept_plain) permits plain records, which are sealed when they are written next. Take
/// the permission back when all of them are. The way back to plain records is refused, and a sealed record is
/// refused by versions of this crate that know nothing of seals.
///
/// ```
/// use evertoken::protocol::Record;
/// use evertoken::{Key, StoreError};
/// use evertoken::store::Codec;
///
/// # fn example(record: &Record, key: &Key) -> Result<(), StoreError> {
/// let codec = Codec::plain();
/// let bytes = codec.encode(record)?;
/// assert_eq!(&codec.decode(key, &bytes)?, record);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Codec {
    sealer: Option<Arc<dyn Sealer>>,
    accepts_plain: bool,
}

impl Codec {
    /// Leaves the tokens readable: the bytes are to be kept as the tokens are.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Seals records, and refuses those that are not sealed.
    #[must_use]
    pub fn sealed(sealer: impl Sealer) -> Self {
        Self::plain().with_sealer(sealer)
    }

    /// Whether plain records are accepted although there is a sealer: for a storage that was used without one
    /// before, until every record was written anew. Default: no. Without a sealer it changes nothing.
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Self {
        self.accepts_plain = accept;
        self
    }

    /// The permission stays, in whatever order the two are given.
    pub(super) fn with_sealer(mut self, sealer: impl Sealer) -> Self {
        self.sealer = Some(Arc::new(sealer));
        self
    }

    /// The record as bytes, in a buffer that is zeroized and was never moved.
    ///
    /// # Errors
    ///
    /// The sealer's.
    pub fn encode(&self, record: &Record) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.write(record)
            .map_err(|flaw| flaw.of("a record cannot be written"))
    }

    /// The record of `key` from its bytes.
    ///
    /// # Errors
    ///
    /// If they are not a whole record of this key that this version and this sealer can read, or if they are plain
    /// and this codec has a sealer. The error holds nothing of what was read but the key.
    pub fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Record, StoreError> {
        self.read(key, bytes)
            .map_err(|flaw| flaw.of("a stored record cannot be read"))
    }

    pub(super) fn write(&self, record: &Record) -> Result<Zeroizing<Vec<u8>>, Flaw> {
        let Some(sealer) = &self.sealer else {
            return json(record);
        };
        let sealed = sealer
            .seal(&record.key, &json(record)?)
            .map_err(Flaw::Sealing)?;
        let sealed = Sealed {
            digest: record.digest(),
            access_digest: record.access_digest(),
            sealed: BASE64_URL_SAFE_NO_PAD.encode(sealed),
        };
        let mut form = serde_json::to_value(bare(record.clone())).map_err(Flaw::unreadable)?;
        form["format"] = SEALED_FORMAT.into();
        form["pair"] = serde_json::to_value(sealed).map_err(Flaw::unreadable)?;
        json(&form)
    }

    pub(super) fn read(&self, key: &Key, bytes: &[u8]) -> Result<Record, Flaw> {
        let outline = Outline::read(bytes)?;
        if outline.record.key != *key {
            return Err(Flaw::OtherKey(Box::new(outline.record.key)));
        }
        match (outline.sealed, &self.sealer) {
            (None, None) => Ok(outline.record),
            (None, Some(_)) if self.accepts_plain => Ok(outline.record),
            (None, Some(_)) => Err(Flaw::Plain),
            (Some(_), None) => Err(Flaw::NoSealer),
            (Some(sealed), Some(sealer)) => sealed.open(sealer.as_ref(), &outline.record),
        }
    }
}

/// Shows whether it seals, and nothing of the sealer.
impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Codec");
        shown.field("seals", &self.sealer.is_some());
        if self.sealer.is_some() {
            shown.field("accepts_plain", &self.accepts_plain);
        }
        shown.finish()
    }
}

/// What stands in a sealed record where a plain one has its pair. A member more would be one that no seal covers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// The pair's, as [`Record::digest`] has it.
    digest: Digest,
    /// The access token's, as [`Record::access_digest`] has it.
    access_digest: Option<Digest>,
    /// The plain form of the whole record, sealed; base64url without padding.
    ///
    /// Not of the pair alone: the rest would be what any writer makes of it, and an older pair could be put under
    /// a newer version.
    sealed: String,
}

impl Sealed {
    /// The record that was sealed, if `copy` is what can be read of it.
    fn open(&self, sealer: &dyn Sealer, copy: &Record) -> Result<Record, Flaw> {
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(&self.sealed)
            .map_err(|_| Flaw::Opening(SealError::Refused))?;
        let plain = sealer.open(&copy.key, &sealed).map_err(Flaw::Opening)?;
        let record: Record = serde_json::from_slice(&plain).map_err(Flaw::unreadable)?;
        // The key too, for a sealer that does not bind it.
        let is_named =
            record.digest() == self.digest && record.access_digest() == self.access_digest;
        if !is_named || bare(record.clone()) != *copy {
            return Err(Flaw::Altered);
        }
        Ok(record)
    }
}

/// What stays readable of a sealed record.
fn bare(record: Record) -> Record {
    Record {
        pair: None,
        carried: record.carried.without_pair(),
        ..record
    }
}

/// A record as far as it can be read without a sealer: if it is sealed, without its pair.
pub(super) struct Outline {
    pub(super) record: Record,
    sealed: Option<Sealed>,
}

impl Outline {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let format = known_format(bytes)?;
        if format != SEALED_FORMAT {
            return Ok(Self {
                record: serde_json::from_slice(bytes).map_err(Flaw::unreadable)?,
                sealed: None,
            });
        }
        let mut form: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(Flaw::unreadable)?;
        form.insert("format".to_owned(), FORMAT.into());
        let pair = form.insert("pair".to_owned(), Value::Null);
        let sealed = serde_json::from_value(pair.unwrap_or_default()).map_err(Flaw::unreadable)?;
        let record = serde_json::from_value(form.into()).map_err(Flaw::unreadable)?;
        Ok(Self {
            record,
            sealed: Some(sealed),
        })
    }

    /// As [`Record::digest`].
    pub(super) fn digest(&self) -> Digest {
        match &self.sealed {
            Some(sealed) => sealed.digest,
            None => self.record.digest(),
        }
    }

    /// As [`Record::access_digest`].
    pub(super) fn access_digest(&self) -> Option<Digest> {
        match &self.sealed {
            Some(sealed) => sealed.access_digest,
            None => self.record.access_digest(),
        }
    }

    /// As [`Record::knows`].
    pub(super) fn knows(&self, digest: &Digest) -> bool {
        match &self.sealed {
            Some(sealed) if sealed.digest == *digest => true,
            // Without its pair, the record goes by the digest of the key.
            Some(_) => *digest != self.record.digest() && self.record.knows(digest),
            None => self.record.knows(digest),
        }
    }
}

/// The format of a record, if this version reads it.
fn known_format(bytes: &[u8]) -> Result<u32, Flaw> {
    /// Everything else is skipped, so that an unknown format is reported as that and nothing is copied.
    #[derive(Deserialize)]
    struct Probe {
        format: u32,
    }
    // A list would be taken for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Flaw::Unreadable { line: 1, column: 1 });
    }
    let Probe { format } = serde_json::from_slice(bytes).map_err(Flaw::unreadable)?;
    if is_unreleased(format) {
        return Err(Flaw::Unreleased { format });
    }
    if format > SEALED_FORMAT {
        return Err(Flaw::Newer { format });
    }
    Ok(format)
}

/// Why bytes are no record, or a record no bytes. It holds nothing of them but a key: what serde says of
/// a value that is out of place quotes it, and it may be a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    #[error(
        "it is no whole record (line {line}, column {column}); restore it from a backup, or move it \
         away and sign in anew"
    )]
    Unreadable { line: usize, column: usize },
    #[error(
        "it has format {format} and this version reads up to {SEALED_FORMAT}; use the version that \
         wrote it, or a later one"
    )]
    Newer { format: u32 },
    #[error(
        "it has format {format}, the layout of an unreleased version; move it away and sign in anew"
    )]
    Unreleased { format: u32 },
    #[error("it is the record of another session ({0}); move it away")]
    OtherKey(Box<Key>),
    #[error("it is sealed; give the store the sealer that it was written with")]
    NoSealer,
    #[error(
        "it is not sealed, and this store has a sealer; if it was written before the store had one, permit it by \
         `accept_plain(true)`, else move it away and sign in anew"
    )]
    Plain,
    #[error(
        "what can be read of it is not what was sealed, so it was altered since; restore it from a backup, or move \
         it away and sign in anew"
    )]
    Altered,
    #[error("it could not be opened; give the store the sealer that it was written with")]
    Opening(SealError),
    #[cfg(any(feature = "postgres", feature = "redis"))]
    #[error(
        "its parts are not of one record, so one was altered or lost; restore it from a backup, or move it away and \
         sign in anew"
    )]
    Apart,
    #[error("it could not be sealed")]
    Sealing(SealError),
}

impl Flaw {
    pub(super) fn unreadable(error: serde_json::Error) -> Self {
        Self::Unreadable {
            line: error.line(),
            column: error.column(),
        }
    }

    /// The error of a store, about this thing.
    pub(super) fn of(self, thing: impl fmt::Display) -> StoreError {
        let what = format!("{thing}: {self}");
        match self {
            Self::Opening(error) | Self::Sealing(error) => StoreError::with_source(what, error),
            _ => StoreError::new(what),
        }
    }
}

/// The JSON of `value`. It is measured first: a buffer that grows leaves copies behind.
fn json(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Flaw> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).map_err(Flaw::unreadable)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *bytes, value).map_err(Flaw::unreadable)?;
    Ok(bytes)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
