//! A value of a configuration, or a list of such values.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// The name by which the [`Reader`](super::reader) knows the type. No Rust type can have it.
pub(super) const ONE_OR_MORE: &str = "$evertoken::config::OneOrMore";

/// A list, or one value without brackets.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMore<T> {
    #[cfg_attr(
        not(feature = "seal"),
        expect(dead_code, reason = "keys of seals are not read")
    )]
    pub(crate) values: Vec<T>,
    /// Whether the values stood in a list, and have a number in the path of an error.
    #[cfg_attr(not(feature = "seal"), expect(dead_code, reason = "as above"))]
    pub(crate) is_list: bool,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ONE_OR_MORE, Either(PhantomData))
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a list of such values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        let values = Vec::deserialize(SeqAccessDeserializer::new(access))?;
        let is_list = true;
        Ok(OneOrMore { values, is_list })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, one: D) -> Result<Self::Value, D::Error> {
        let values = vec![T::deserialize(one)?];
        let is_list = false;
        Ok(OneOrMore { values, is_list })
    }
}
