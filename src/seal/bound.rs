//! What a seal is bound to.

use crate::token::{Key, PairId};

/// What a seal is bound to, besides the sealed bytes: a purpose, a session, and the pair where there is one. Sealed bytes
/// open only where all three are what they were.
///
/// Associated data is not secret, and is not stored with the sealed bytes: the caller that opens them has it from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssociatedData<'a> {
    purpose: &'a str,
    key: &'a Key,
    pair: Option<PairId>,
}

impl<'a> AssociatedData<'a> {
    /// The purpose of the record of a store.
    pub const RECORD: &'static str = "evertoken record";

    /// The purpose of a browser's cookies. The label of the key is the tag in the cookies' names.
    #[cfg(feature = "gateway")]
    pub const COOKIE: &'static str = "evertoken cookie";

    /// Binds to a session, and to a purpose, which keeps apart what one sealer seals for different uses. A program
    /// chooses purposes of its own. Those that begin with `evertoken` are the crate's.
    #[must_use]
    pub const fn new(purpose: &'a str, key: &'a Key) -> Self {
        let pair = None;
        Self { purpose, key, pair }
    }

    /// Binds to a pair of the session as well.
    #[must_use]
    pub const fn pair(self, pair: PairId) -> Self {
        let pair = Some(pair);
        Self { pair, ..self }
    }

    /// The purpose.
    #[must_use]
    pub const fn purpose(&self) -> &'a str {
        self.purpose
    }

    /// The session.
    #[must_use]
    pub const fn key(&self) -> &'a Key {
        self.key
    }

    /// The pair, where the seal is bound to one.
    #[must_use]
    pub const fn pair_id(&self) -> Option<PairId> {
        self.pair
    }

    /// The bytes that a sealer authenticates. Different associated data has different bytes, and none of them is the
    /// beginning of others.
    ///
    /// Each text and the list of scopes stand behind their length, and numbers are big-endian: the name and version of the
    /// encoding, the purpose, the parts of the key in the order of their declaration, and 0, or 1 with the family (16 bytes)
    /// and the version (8 bytes) of the pair.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Not the digest of the key: its 128 bits are no proof against two keys that were chosen to have one digest.
        let Key {
            issuer,
            client_id,
            tenant,
            subject,
            scope,
            audience,
            label,
        } = self.key;
        let mut bytes = Vec::new();
        for part in [
            "evertoken seal 1",
            self.purpose,
            issuer,
            client_id,
            tenant,
            subject,
        ] {
            push_text(&mut bytes, part);
        }
        push_length(&mut bytes, scope.iter().count());
        for part in scope.iter().chain([audience.as_str(), label]) {
            push_text(&mut bytes, part);
        }
        match self.pair {
            None => bytes.push(0),
            Some(PairId { family, version }) => {
                bytes.push(1);
                bytes.extend(family.bits().to_be_bytes());
                bytes.extend(version.to_be_bytes());
            }
        }
        bytes
    }
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend((length as u64).to_be_bytes());
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_length(bytes, text.len());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::token::TokenFamily;

    /// A scope with a space in it cannot be parsed from a text, and can be read from a record.
    fn scopes(list: &[&str]) -> Key {
        let mut key = Key::new("issuer", "client");
        key.scope = serde_json::from_value(serde_json::json!(list)).unwrap();
        key
    }

    #[test]
    fn different_associated_data_has_different_bytes_and_none_begins_others() {
        let key = Key::new("issuer", "client");
        let keys = [
            key.clone(),
            Key::new("issuerc", "lient"),
            Key::new("", "issuerclient"),
            key.clone().tenant("x"),
            key.clone().subject("x"),
            key.clone().audience("x"),
            key.clone().label("x"),
            key.clone().audience("x").label("x"),
            scopes(&["x"]),
            scopes(&["x", "y"]),
            scopes(&["x y"]),
            scopes(&["x"]).audience("y"),
        ];
        let pair = |bits, version| PairId {
            family: TokenFamily::from_bits(bits),
            version,
        };
        let mut all = BTreeSet::new();
        let mut count = 0;
        for key in &keys {
            for purpose in ["", AssociatedData::RECORD, "evertoken recordi"] {
                let bound = AssociatedData::new(purpose, key);
                all.insert(bound.to_bytes());
                all.extend(
                    [pair(0, 0), pair(0, 1), pair(1, 0)].map(|id| bound.pair(id).to_bytes()),
                );
                count += 4;
            }
        }
        assert_eq!(all.len(), count);
        let all: Vec<_> = all.into_iter().collect();
        // In their order, a beginning stands directly before what it begins.
        assert!(all.windows(2).all(|two| !two[1].starts_with(&two[0])));
    }

    #[test]
    fn the_bytes_are_those_that_earlier_versions_sealed_with() {
        let key = scopes(&["read", "write"]).tenant("diku").label("nightly");
        let id = PairId {
            family: TokenFamily::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            version: 258,
        };
        let bytes = AssociatedData::new(AssociatedData::RECORD, &key)
            .pair(id)
            .to_bytes();
        let text = |text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            [&[0, 0, 0, 0, 0, 0, 0, length], text.as_bytes()].concat()
        };
        let expected = [
            text("evertoken seal 1"),
            text("evertoken record"),
            text("issuer"),
            text("client"),
            text("diku"),
            text(""),
            vec![0, 0, 0, 0, 0, 0, 0, 2],
            text("read"),
            text("write"),
            text(""),
            text("nightly"),
            vec![1],
            vec![
                0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
                0xcd, 0xef,
            ],
            vec![0, 0, 0, 0, 0, 0, 1, 2],
        ];
        assert_eq!(bytes, expected.concat());
    }
}
