//! Records as bytes: as a whole, or in [parts](parts) for stores that write a part only where it changed; sealed or
//! plain.
//!
//! A codec never decides which record is the latest one, and its errors never contain stored data except a key.

#[cfg(feature = "config")]
mod configured;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod parts;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::parts::Parts;
use super::StoreError;
use crate::record::format::Wiped;
use crate::record::{FORMAT, Record, SEALED_FORMAT, is_unreleased};
use crate::seal::{AssociatedData, SealError, Sealer};
use crate::token::{Digest, Key, json};

/// Turns records into bytes and back, for stores that keep records outside the process.
///
/// The bytes are JSON. With a [`Sealer`], such as `SealingKeys` (feature `seal`), the whole record is sealed. Everything
/// but the pair (key, state, lease, versions, digests) stands beside the seal as a readable copy, so that a session can be
/// inspected and found without the secret. The copy includes the code and the description with which the server refused a
/// token, and the fields of later versions outside the pair. Fields of later versions are kept in both forms, at every
/// level.
///
/// # What a seal proves
///
/// A codec with a sealer accepts only records that were sealed for this session and this pair. It refuses a record whose
/// readable copy differs from the sealed record, the sealed record of another session, and every plain record: otherwise a
/// writer without the secret could remove the seal by writing a plain record with tokens of the writer's choice. Records
/// without a pair are sealed too (a sign-in that is leased, a session that was logged out).
///
/// A seal cannot prove that a record is the latest one: a writer to the storage can delete a record, or restore an older
/// one of the same session as a whole. Nor does it protect what is read without opening it, such as the answer of a
/// [search](crate::TokenStore::find).
///
/// # Sealing a store that is in use
///
/// [`accept_plain`](Self::accept_plain) permits plain records, which are sealed when they are written next. Remove the
/// permission when all records are sealed. The way back to plain records is refused, and a sealed record is refused by
/// versions of this crate that do not know seals.
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

/// The settings of a store with a field `codec`.
macro_rules! sealing_settings {
    () => {
        /// Seals the records, and refuses plain ones, see [`Codec`].
        #[must_use]
        pub fn sealed(mut self, sealer: impl Sealer) -> Self {
            self.codec = self.codec.with_sealer(sealer);
            self
        }

        /// Accepts plain records although there is a sealer, and seals them when they are written next: for the time in
        /// which a store that was used without a sealer gets one. Default: `false`.
        #[must_use]
        pub fn accept_plain(mut self, accept: bool) -> Self {
            self.codec = self.codec.accept_plain(accept);
            self
        }
    };
}
pub(super) use sealing_settings;

impl Codec {
    /// Leaves the tokens readable: keep the bytes as secret as the tokens.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Seals records, and refuses those that are not sealed.
    #[must_use]
    pub fn sealed(sealer: impl Sealer) -> Self {
        Self::plain().with_sealer(sealer)
    }

    /// Accepts plain records although there is a sealer: for a storage that was used without a sealer before, until every
    /// record was written anew. Default: `false`. Without a sealer this setting has no effect.
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Self {
        self.accepts_plain = accept;
        self
    }

    /// The codec with this sealer. The permission for plain records stays, so the order of the settings does not matter.
    pub(super) fn with_sealer(mut self, sealer: impl Sealer) -> Self {
        self.sealer = Some(Arc::new(sealer));
        self
    }

    /// Returns the record as bytes, in a buffer that is zeroized and never reallocated.
    ///
    /// # Errors
    ///
    /// If the sealer fails.
    pub fn encode(&self, record: &Record) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.write(record).map_err(|flaw| flaw.of_writing(record))
    }

    /// Returns the record of `key` from its bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not a whole record of this key that this version and this sealer can read, or if they are plain
    /// and this codec has a sealer. The error contains nothing of the bytes but a key.
    pub fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Record, StoreError> {
        self.read(key, bytes)
            .map_err(|flaw| flaw.of(format_args!("the stored record of {key} cannot be read")))
    }

    pub(super) fn write(&self, record: &Record) -> Result<Zeroizing<Vec<u8>>, Flaw> {
        let Some(sealer) = &self.sealer else {
            return Ok(json::zeroizing(record)?);
        };
        let sealed = sealer
            .seal(&bound(record), &json::zeroizing(record)?)
            .map_err(Flaw::Sealing)?;
        let sealed = Sealed {
            digest: record.digest(),
            access_digest: record.access_digest(),
            sealed: BASE64_URL_SAFE_NO_PAD.encode(sealed),
        };
        // A later version may keep a secret outside the pair.
        let mut form = Wiped::from(serde_json::to_value(bare(record.clone()))?);
        form["format"] = SEALED_FORMAT.into();
        form["pair"] = serde_json::to_value(sealed)?;
        Ok(json::zeroizing(&*form)?)
    }

    pub(super) fn read(&self, key: &Key, bytes: &[u8]) -> Result<Record, Flaw> {
        let outline = Outline::read(bytes)?;
        if outline.record.key != *key {
            return Err(Flaw::OtherKey(Box::new(outline.record.key)));
        }
        let opener = self.opener(outline.sealed.is_some())?;
        let Some((sealer, sealed)) = opener.zip(outline.sealed.as_ref()) else {
            return Ok(outline.record);
        };
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed);
        outline.open(
            sealer,
            &sealed.map_err(|_| Flaw::Opening(SealError::Refused))?,
        )
    }

    /// The sealer that opens a record; `None` for a plain record that is accepted.
    fn opener(&self, is_sealed: bool) -> Result<Option<&dyn Sealer>, Flaw> {
        match (&self.sealer, is_sealed) {
            (None, true) => Err(Flaw::NoSealer),
            (Some(_), false) if !self.accepts_plain => Err(Flaw::Plain),
            (Some(sealer), true) => Ok(Some(sealer.as_ref())),
            (_, false) => Ok(None),
        }
    }
}

/// Shows whether the codec seals, and nothing else of the sealer.
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

/// The member of a sealed record in the place of the pair. Unknown members are refused: no seal covers them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// [`Record::digest`].
    digest: Digest,
    /// [`Record::access_digest`].
    access_digest: Option<Digest>,
    /// The plain form of the whole record, sealed; base64url without padding.
    ///
    /// Not of the pair alone: then any writer could change the rest, and put an older pair under a newer version.
    sealed: String,
}

/// The digests of the pair's tokens, for a record without its pair. Unknown members are refused: no seal covers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    digest: Digest,
    access_digest: Option<Digest>,
}

/// What the seal of a record is bound to. All of it stands in the readable copy.
fn bound(record: &Record) -> AssociatedData<'_> {
    AssociatedData::new(AssociatedData::RECORD, &record.key).pair(record.pair_id())
}

/// The readable copy of a sealed record: the record without its pair.
fn bare(record: Record) -> Record {
    Record {
        pair: None,
        carried: record.carried.without_pair(),
        ..record
    }
}

/// A record as far as it can be read without a sealer.
pub(super) struct Outline {
    /// Without its pair, if the record is sealed or in parts.
    pub(super) record: Record,
    /// The digests of the pair's tokens, where `record` is without its pair.
    names: Option<Names>,
    /// The sealed form of a whole record.
    sealed: Option<String>,
}

impl Outline {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        if known_format(bytes)? != SEALED_FORMAT {
            return Ok(Self {
                record: serde_json::from_slice(bytes)?,
                names: None,
                sealed: None,
            });
        }
        let mut form: Wiped<Map<String, Value>> = serde_json::from_slice(bytes)?;
        form.insert("format".to_owned(), FORMAT.into());
        // A pair that was not sealed may stand here, in a file that was edited.
        let pair = form.insert("pair".to_owned(), Value::Null);
        let pair = Wiped::from(pair.unwrap_or_default());
        let sealed = Sealed::deserialize(&*pair)?;
        let form = std::mem::take(&mut *form);
        Ok(Self {
            // A record wipes the form that it is read from.
            record: serde_json::from_value(form.into())?,
            names: Some(Names {
                digest: sealed.digest,
                access_digest: sealed.access_digest,
            }),
            sealed: Some(sealed.sealed),
        })
    }

    /// The record that was sealed, if this is its outline.
    fn open(&self, sealer: &dyn Sealer, sealed: &[u8]) -> Result<Record, Flaw> {
        let opened = sealer.open(&bound(&self.record), sealed);
        let plain = opened.map_err(Flaw::Opening)?;
        let record: Record = serde_json::from_slice(&plain)?;
        let is_named =
            record.digest() == self.digest() && record.access_digest() == self.access_digest();
        // The comparison includes the key, for a sealer that does not bind its associated data.
        if !is_named || bare(record.clone()) != self.record {
            return Err(Flaw::Altered);
        }
        Ok(record)
    }

    /// [`Record::digest`].
    pub(super) fn digest(&self) -> Digest {
        self.names
            .map_or_else(|| self.record.digest(), |names| names.digest)
    }

    /// [`Record::access_digest`].
    pub(super) fn access_digest(&self) -> Option<Digest> {
        self.names
            .map_or_else(|| self.record.access_digest(), |names| names.access_digest)
    }

    /// [`Record::knows`].
    pub(super) fn knows(&self, digest: &Digest) -> bool {
        // The digest of a record without its pair is that of the key, and does not name a token.
        self.digest() == *digest || *digest != self.record.digest() && self.record.knows(digest)
    }
}

/// The key in the bytes of a record, or in their part.
#[cfg(any(test, fuzzing, feature = "postgres", feature = "redis"))]
#[derive(Deserialize)]
struct Keyed {
    key: Key,
}

/// The format of a record, if this version reads it.
fn known_format(bytes: &[u8]) -> Result<u32, Flaw> {
    /// All other members are skipped, so that an unknown format is reported as such and no token is copied.
    #[derive(Deserialize)]
    struct Probe {
        format: u32,
    }
    // serde would read a list as the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Flaw::Unreadable { line: 1, column: 1 });
    }
    match serde_json::from_slice(bytes)? {
        Probe { format } if is_unreleased(format) => Err(Flaw::Unreleased { format }),
        Probe { format } if format > SEALED_FORMAT => Err(Flaw::Newer { format }),
        Probe { format } => Ok(format),
    }
}

/// Why bytes cannot be read as a record, or a record cannot be written. A flaw contains nothing of the bytes but a key:
/// serde's own errors quote an unexpected value, which may be a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    #[error(
        "it is not a whole record (line {line}, column {column}); restore it from a backup, or move it away and sign \
         in anew"
    )]
    Unreadable { line: usize, column: usize },
    #[error(
        "it has format {format} and this version of evertoken reads up to {SEALED_FORMAT}; use the version that wrote \
         it, or a later one"
    )]
    Newer { format: u32 },
    #[error(
        "it has format {format}, the layout of an unreleased version; move it away and sign in anew"
    )]
    Unreleased { format: u32 },
    #[error("it is the record of another session ({0}); move it away")]
    OtherKey(Box<Key>),
    #[error(
        "it is sealed; give the store the sealer that it was written with, by `sealed(..)` (`seal` in a configuration)"
    )]
    NoSealer,
    #[error(
        "it is not sealed, and this store has a sealer; if it was written before the store had a sealer, permit it by \
         `accept_plain(true)` (`seal_accepts_plain` in a configuration), else move it away and sign in anew"
    )]
    Plain,
    #[error(
        "its readable copy is not what was sealed, so it was altered since; restore it from a backup, or move it away \
         and sign in anew"
    )]
    Altered,
    #[error("it could not be opened; {}", to_open(.0))]
    Opening(SealError),
    #[cfg(any(feature = "postgres", feature = "redis"))]
    #[error(
        "its parts are not of one record, so a part was altered or lost; restore it from a backup, or move it away \
         and sign in anew"
    )]
    Apart,
    #[error("it could not be sealed; check the sealer")]
    Sealing(SealError),
}

/// What an operator does about a record that does not open.
fn to_open(error: &SealError) -> String {
    match error {
        SealError::UnknownKey { id } => format!(
            "it was sealed with the key {id}, which this store does not have; add that key behind the one that seals, \
             or move it away and sign in anew if the key is lost"
        ),
        SealError::UnknownForm { form } => format!(
            "it was sealed in the form {form}, which this store's sealer does not know; use the sealer and the version \
             that it was written with"
        ),
        SealError::Failed { .. } => "check the sealer".to_owned(),
        SealError::Refused => "give the store the sealer that it was written with; if the store has that sealer, the \
                               record was altered: restore it from a backup, or move it away and sign in anew"
            .to_owned(),
    }
}

impl From<serde_json::Error> for Flaw {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::Unreadable { line, column }
    }
}

impl Flaw {
    /// The error of a store that cannot write `record`.
    pub(super) fn of_writing(self, record: &Record) -> StoreError {
        let key = record.key();
        self.of(format_args!("the record of {key} cannot be written"))
    }

    /// The error of a store about `subject`.
    pub(super) fn of(self, subject: impl fmt::Display) -> StoreError {
        let what = format!("{subject}: {self}");
        match self {
            Self::Opening(error) | Self::Sealing(error) => StoreError::with_source(what, error),
            _ => StoreError::new(what),
        }
    }
}

/// The parsers of stored records, as functions of bytes for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    use zeroize::Zeroizing;

    use super::{AssociatedData, Codec, Key, Keyed, Outline, SealError, Sealer, StoreError};

    /// Reads any bytes as a record. A record that can be read is written, and read again as the same record. Returns the
    /// errors of the codecs that cannot read the bytes.
    pub(crate) fn record(input: &[u8]) -> Vec<StoreError> {
        let mut errors = Vec::new();
        let _ = Outline::read(input);
        let keyed = serde_json::from_slice(input);
        let key = keyed.map_or_else(|_| Key::default(), |Keyed { key }| key);
        for codec in [Codec::plain(), Codec::sealed(Inverted)] {
            let record = match codec.decode(&key, input) {
                Ok(record) => record,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let Ok(written) = codec.encode(&record) else {
                continue;
            };
            match codec.decode(&key, &written) {
                Ok(read) => assert!(
                    read == record,
                    "{record:?} was written, and {read:?} was read"
                ),
                Err(error) => panic!("a record that was written cannot be read: {error}"),
            }
        }
        errors
    }

    /// A sealer that inverts every bit, so that a mutation of sealed bytes is a mutation of the pair.
    struct Inverted;

    impl Sealer for Inverted {
        fn seal(&self, _: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
            Ok(plain.iter().map(|byte| !byte).collect())
        }

        fn open(
            &self,
            _: &AssociatedData<'_>,
            sealed: &[u8],
        ) -> Result<Zeroizing<Vec<u8>>, SealError> {
            Ok(Zeroizing::new(sealed.iter().map(|byte| !byte).collect()))
        }
    }

    #[cfg(test)]
    mod tests {
        use std::path::Path;

        use super::*;

        /// Each seed of this layout is read by one codec. A seed that both refuse would teach the fuzzer nothing.
        #[test]
        fn every_seed_of_this_layout_is_read_by_one_of_the_codecs() {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/record");
            if !corpus.exists() {
                println!("skipped: the package does not contain the corpora");
                return;
            }
            for seed in ["00", "01", "02", "03", "s0", "s1", "s2", "s3"] {
                let input = std::fs::read(corpus.join(format!("seed-{seed}"))).unwrap();
                let errors = record(&input);
                assert_eq!(errors.len(), 1, "{seed}: {errors:?}");
            }
            for format in [1, 2] {
                let seed = corpus.join(format!("seed-format-{format}"));
                for error in record(&std::fs::read(seed).unwrap()) {
                    assert!(error.to_string().contains("unreleased version"), "{error}");
                }
            }
        }
    }
}
