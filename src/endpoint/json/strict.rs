//! Splits valid JSON with a parser, into parts that borrow from it. It copies nothing and resolves no escapes.
//!
//! The parser reads no value: each is a [`RawValue`], whose end it finds without recursion, so that nesting costs no
//! stack, and of whose text it makes no copy that stays in memory.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Names and values of an object, in order, repeated names included; `None` if it is not valid JSON.
pub(super) fn members(object: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let Pairs(pairs) = serde_json::from_slice(object).ok()?;
    let pairs = pairs.into_iter();
    Some(
        pairs
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
    )
}

/// The values of an array; `None` if it is not valid JSON.
pub(super) fn elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    let values: Vec<&RawValue> = serde_json::from_slice(array).ok()?;
    Some(
        values
            .into_iter()
            .map(|value| value.get().as_bytes())
            .collect(),
    )
}

fn bytes(raw: &RawValue) -> &[u8] {
    raw.get().as_bytes()
}

/// A map would keep one of two members of the same name.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
