//! Requests that carry a key of their own, and are acted upon once however often they come
//! (draft-ietf-httpapi-idempotency-key-header). It does no I/O and knows nothing of tokens.

use std::collections::HashMap;

use super::super::body::Fingerprint;

/// The requests that came with a key. A key takes 40 bytes and is never forgotten.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Fingerprint, Request>,
}

#[derive(Debug)]
struct Request {
    fingerprint: Fingerprint,
    records: u32,
    is_answered: bool,
}

/// What a request with a key is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The first: to be acted upon, and [`answered`](Keys::answered) once that is done.
    First,
    /// The same as before: to be answered as the first was, which took so many records.
    Again { records: u64 },
    /// The same as one that is still being acted upon.
    Early,
    /// Another request under a known key.
    Misuse,
}

impl Keys {
    pub(super) fn used(&mut self, key: Fingerprint, fingerprint: Fingerprint, records: u64) -> Use {
        match self.known.get(&key) {
            Some(first) if first.fingerprint != fingerprint => Use::Misuse,
            Some(first) if first.is_answered => Use::Again {
                records: first.records.into(),
            },
            Some(_) => Use::Early,
            None => {
                let request = Request {
                    fingerprint,
                    records: u32::try_from(records).unwrap_or(u32::MAX),
                    is_answered: false,
                };
                self.known.insert(key, request);
                Use::First
            }
        }
    }

    pub(super) fn answered(&mut self, key: &Fingerprint) {
        if let Some(request) = self.known.get_mut(key) {
            request.is_answered = true;
        }
    }
}
