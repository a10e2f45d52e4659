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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Or the fuzzer would begin with what is refused at its first field.
    #[test]
    fn every_seed_of_this_layout_is_read_by_one_of_the_codecs() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/record");
        if !corpus.exists() {
            println!("skipped: this is a package, which holds no corpora");
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
