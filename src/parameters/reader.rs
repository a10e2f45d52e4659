//! Reads a [`Value`] as any type that serde can deserialize, with the path of every error.

use std::path::Path;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{ConfigError, Problem, one_of};
use super::list::ONE_OR_MORE;
use super::value::{Table, Value};

/// Reads the value at `path`. Relative paths in the value start at `base`.
pub(crate) fn read<T: DeserializeOwned>(
    path: &str,
    value: &Value,
    base: &Path,
) -> Result<T, ConfigError> {
    read_with(path, value, base, |_| {})
}

/// Reads the value at `path`. `add` completes a problem of the value itself, but not one that lies deeper inside.
pub(crate) fn read_with<T: DeserializeOwned>(
    path: &str,
    value: &Value,
    base: &Path,
    add: impl FnOnce(&mut Problem),
) -> Result<T, ConfigError> {
    let reader = Reader {
        value,
        base,
        known: &[],
    };
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let is_nested = error.path().iter().len() > 1;
        let inner = error.path().to_string();
        let mut problem = error.into_inner();
        if !is_nested {
            add(&mut problem);
        }
        ConfigError::read(path, &inner, problem)
    })
}

/// Names of newtypes that the [`Reader`] treats in its own way: relative paths in them start at the directory
/// of the configuration file. A [`Secret`](super::Secret) holds the path in its key `file`, and a local path is
/// the text itself. No Rust type can have these names.
const SECRET: &str = "$evertoken::config::Secret";
const LOCAL_PATH: &str = "$evertoken::config::LocalPath";

/// A deserializer of one value.
#[derive(Clone, Copy)]
struct Reader<'a> {
    value: &'a Value,
    /// The directory in which relative paths start.
    base: &'a Path,
    /// The known keys of the table that holds the value.
    known: &'static [&'static str],
}

impl<'a> Reader<'a> {
    fn nested(self, value: &'a Value) -> Self {
        Self { value, ..self }
    }

    fn map<'de>(
        self,
        table: &'a Table,
    ) -> MapDeserializer<'de, impl Iterator<Item = (&'a str, Self)>, Problem> {
        // A known key whose value is null counts as absent.
        let is_absent =
            move |key: &str, value| matches!(value, &Value::Null) && self.known.contains(&key);
        let entries = table
            .iter()
            .filter(move |(key, value)| !is_absent(key, *value));
        MapDeserializer::new(entries.map(move |(key, value)| (key.as_str(), self.nested(value))))
    }

    /// A copy of the value with its relative path joined to `base`, if the value holds a path.
    fn localized(self, name: &str) -> Result<Option<Value>, Problem> {
        Ok(match (name, self.value) {
            (LOCAL_PATH, Value::Text(text)) => Some(self.absolute(text)?),
            (SECRET, Value::Table(table)) => match table.get("file") {
                Some(Value::Text(file)) => {
                    let mut table = table.clone();
                    table.insert("file".to_owned(), self.absolute(file)?);
                    Some(Value::Table(table))
                }
                _ => None,
            },
            _ => None,
        })
    }

    fn absolute(self, path: &str) -> Result<Value, Problem> {
        if path.is_empty() {
            return Err(Problem::custom("must not be an empty path"));
        }
        let problem = "is relative to a directory whose name is not UTF-8; write an absolute path";
        let path = self.base.join(path);
        let path = path.to_str().ok_or_else(|| Problem::custom(problem))?;
        Ok(Value::text(path))
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(list) => {
                let elements = list.iter().map(move |value| self.nested(value));
                visitor.visit_seq(SeqDeserializer::new(elements))
            }
            Value::Table(table) => visitor.visit_map(self.map(table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if name == ONE_OR_MORE && matches!(self.value, Value::List(_)) {
            return self.deserialize_any(visitor);
        }
        match self.localized(name)? {
            Some(value) => visitor.visit_newtype_struct(self.nested(&value)),
            None => visitor.visit_newtype_struct(self),
        }
    }

    /// Accepts a table only, because serde would also read a list of values in the order of the fields.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.value {
            Value::Table(table) => visitor.visit_map(Self { known, ..self }.map(table)),
            other => Err(Problem::kind(other.kind(), "a table")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) if table.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(self.map(table)))
            }
            _ => Err(Problem::custom(one_of(variants))),
        }
    }

    /// Refuses a key that the type would ignore.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        let allowed = self.known.iter().map(|&key| key.to_owned()).collect();
        Err(Problem::UnknownKey { of: None, allowed })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

impl<'de> IntoDeserializer<'de, Problem> for Reader<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
