#[cfg(any(feature = "postgres", feature = "redis"))]
mod aside;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{SealError, Sealer, StoreError};
use crate::record::{FORMAT, Record, SEALED_FORMAT};
use crate::token::{Digest, Key};

/// Turns records into bytes and back, for stores that keep them outside the process.
///
/// The bytes are JSON. With a [`Sealer`], the pair is sealed and everything else (key, state, claim,
/// versions, digests) stays readable, so that a session can be looked into and found without the secret.
/// Fields of later versions are carried along in both forms.
///
/// A codec with a sealer reads plain records too, and seals them when they are written next: a store is
/// sealed by giving it a sealer. The way back is refused, and so is a sealed record by versions of this
/// crate that know nothing of seals.
///
/// ```
/// use evertoken::{Key, Record, StoreError};
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
}

impl Codec {
    /// Leaves the tokens readable: the bytes are to be kept as the tokens are.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Seals the pair.
    #[must_use]
    pub fn sealed(sealer: impl Sealer) -> Self {
        Self {
            sealer: Some(Arc::new(sealer)),
        }
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
    /// If they are not a whole record of this key that this version and this sealer can read. The error
    /// holds nothing of what was read but the key.
    pub fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Record, StoreError> {
        self.read(key, bytes)
            .map_err(|flaw| flaw.of("a stored record cannot be read"))
    }

    pub(super) fn write(&self, record: &Record) -> Result<Zeroizing<Vec<u8>>, Flaw> {
        let (Some(sealer), Some(pair)) = (&self.sealer, &record.pair) else {
            return json(record);
        };
        let sealed = sealer
            .seal(&record.key, &json(pair)?)
            .map_err(Flaw::Sealing)?;
        let sealed = Sealed {
            digest: record.digest(),
            sealed: BASE64_URL_SAFE_NO_PAD.encode(sealed),
        };
        let bare = Record {
            pair: None,
            ..record.clone()
        };
        let mut form = serde_json::to_value(bare).map_err(Flaw::unreadable)?;
        form["format"] = SEALED_FORMAT.into();
        form["pair"] = serde_json::to_value(sealed).map_err(Flaw::unreadable)?;
        json(&form)
    }

    pub(super) fn read(&self, key: &Key, bytes: &[u8]) -> Result<Record, Flaw> {
        let Outline { mut record, sealed } = Outline::read(bytes)?;
        if record.key != *key {
            return Err(Flaw::OtherKey(Box::new(record.key)));
        }
        let Some(Sealed { digest, sealed }) = sealed else {
            return Ok(record);
        };
        let sealer = self.sealer.as_ref().ok_or(Flaw::NoSealer)?;
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| Flaw::Opening(SealError::Refused))?;
        let pair = sealer.open(key, &sealed).map_err(Flaw::Opening)?;
        record.pair = Some(serde_json::from_slice(&pair).map_err(Flaw::unreadable)?);
        // The seal binds the pair to the session only, and the rest of the record is anybody's who can
        // write it: a pair of last week must not pass for the one that the record names.
        if record.digest() != digest {
            return Err(Flaw::Opening(SealError::Refused));
        }
        Ok(record)
    }
}

/// Shows whether it seals, and nothing of the sealer.
impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("seals", &self.sealer.is_some())
            .finish()
    }
}

/// What stands in a sealed record where a plain one has its pair.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// The pair's, as [`Record::digest`] has it.
    digest: Digest,
    /// The plain form of the pair, sealed; base64url without padding.
    sealed: String,
}

/// A record as far as it can be read without a sealer: if it is sealed, without its pair.
pub(super) struct Outline {
    pub(super) record: Record,
    sealed: Option<Sealed>,
}

impl Outline {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        /// Everything else is skipped, so that an unknown format is told as that and nothing is copied.
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let Probe { format } = serde_json::from_slice(bytes).map_err(Flaw::unreadable)?;
        if format > SEALED_FORMAT {
            return Err(Flaw::Newer { format });
        }
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
    #[error("it is the record of another session ({0}); move it away")]
    OtherKey(Box<Key>),
    #[error("it is sealed; give the store the sealer that it was written with")]
    NoSealer,
    #[error("its pair could not be opened; give the store the sealer that it was written with")]
    Opening(SealError),
    #[error("its pair could not be sealed")]
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
