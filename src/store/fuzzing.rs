//! The parsers of stored records, as functions of bytes for the fuzzer.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::codec::{Codec, Outline};
use super::{SealError, Sealer, StoreError};
use crate::token::Key;

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

/// The key in the bytes of a record.
#[derive(Deserialize)]
struct Keyed {
    key: Key,
}

/// A sealer that inverts every bit, so that a mutation of sealed bytes is a mutation of the pair.
struct Inverted;

impl Sealer for Inverted {
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
