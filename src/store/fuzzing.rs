//! The parsers of what stores hold, as functions of bytes.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::codec::{Codec, Outline};
use super::{SealError, Sealer, StoreError};
use crate::token::Key;

/// A record's bytes: whatever they are, what can be read of them is written and read as the same.
/// Returns the errors about what cannot be read.
pub(crate) fn record(input: &[u8]) -> Vec<StoreError> {
    let mut errors = Vec::new();
    let _ = Outline::read(input);
    let keyed = serde_json::from_slice(input);
    let key = keyed.map_or_else(|_| Key::default(), |Keyed { key }| key);
    for codec in [Codec::plain(), Codec::sealed(Turned)] {
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
            Ok(read) => assert!(read == record, "{read:?} was written as {record:?}"),
            Err(error) => panic!("what was written cannot be read: {error}"),
        }
    }
    errors
}

/// The part that a record is read for.
#[derive(Deserialize)]
struct Keyed {
    key: Key,
}

/// Seals by turning every bit, so that a mutation of sealed bytes is one of the pair.
struct Turned;

impl Sealer for Turned {
    fn seal(&self, _: &Key, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(plain.iter().map(|byte| !byte).collect())
    }

    fn open(&self, _: &Key, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Ok(Zeroizing::new(sealed.iter().map(|byte| !byte).collect()))
    }
}
