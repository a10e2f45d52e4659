//! What an API keeps of a body while it arrives: the length, the digest and the records' digests, but never the bytes.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

/// Ends a MARC record (ISO 2709).
const RECORD_TERMINATOR: u8 = 0x1D;

/// The first half of a SHA-256: too long for two bodies of a test to be equal by chance.
pub(super) type Fingerprint = [u8; 16];

pub(super) fn fingerprint(bytes: impl AsRef<[u8]>) -> Fingerprint {
    halved(Sha256::digest(bytes))
}

/// A body, as far as it has arrived.
pub(super) struct Body {
    pub(super) length: u64,
    terminators: u64,
    whole: Sha256,
    record: Sha256,
    /// The digest of each record, where records are remembered.
    records: Option<Vec<Fingerprint>>,
}

impl Body {
    pub(super) fn new(remembers_records: bool) -> Self {
        Self {
            length: 0,
            terminators: 0,
            whole: Sha256::new(),
            record: Sha256::new(),
            records: remembers_records.then(Vec::new),
        }
    }

    pub(super) fn arrived(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.whole.update(bytes);
        for piece in bytes.split_inclusive(|byte| *byte == RECORD_TERMINATOR) {
            let is_end = piece.last() == Some(&RECORD_TERMINATOR);
            self.terminators += u64::from(is_end);
            if let Some(records) = &mut self.records {
                self.record.update(piece);
                if is_end {
                    records.push(halved(self.record.finalize_reset()));
                }
            }
        }
    }

    /// The number of record terminators. A body without one is one record.
    pub(super) fn count(&self) -> u64 {
        match self.terminators {
            0 => u64::from(self.length > 0),
            some => some,
        }
    }

    /// The digest of the whole body, and those of its records, where records are remembered.
    pub(super) fn finish(self) -> (Fingerprint, Vec<Fingerprint>) {
        let whole = halved(self.whole.finalize());
        let records = match self.records {
            Some(records) if records.is_empty() && self.length > 0 => vec![whole],
            records => records.unwrap_or_default(),
        };
        (whole, records)
    }
}

/// How often each record was taken.
#[derive(Default)]
pub(super) struct Taken(HashMap<Fingerprint, u32>);

impl Taken {
    pub(super) fn note(&mut self, records: &[Fingerprint]) {
        for record in records {
            *self.0.entry(*record).or_default() += 1;
        }
    }

    /// The number of different records.
    pub(super) fn distinct(&self) -> u64 {
        self.0.len() as u64
    }

    /// How often this record was taken.
    pub(super) fn times(&self, record: impl AsRef<[u8]>) -> u64 {
        let times = self.0.get(&fingerprint(record));
        times.copied().unwrap_or_default().into()
    }
}

fn halved(digest: impl AsRef<[u8]>) -> Fingerprint {
    let mut half = Fingerprint::default();
    for (byte, whole) in half.iter_mut().zip(digest.as_ref()) {
        *byte = *whole;
    }
    half
}
