//! A configuration of any format as a tree of values, and the place of each value in the text.
//!
//! Every format is read into this tree first, because the errors of the formats quote the text that they
//! refuse, and the text may be a password in the wrong place.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::{ConfigError, Problem, joined};

/// A value of a configuration, before its meaning is known.
///
/// Any text in a value may be a secret, so `Debug` shows no text.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Zeroizing<String>),
    List(Vec<Value>),
    Table(Table),
}

pub(crate) type Table = BTreeMap<String, Value>;

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Zeroizing::new(text.to_owned()))
    }

    /// The kind of the value, in the words of a configuration file.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Signed(_) | Self::Unsigned(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Default for Value {
    fn default() -> Self {
        Self::Table(Table::new())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => f.debug_list().entries(list).finish(),
            Self::Table(table) => f.debug_map().entries(table).finish(),
            _ => f.write_str("[REDACTED]"),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a string, a list or a table")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text)))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(access)).map(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut table = Table::new();
        while let Some((key, value)) = access.next_entry::<String, _>()? {
            // JSON permits a key twice, and either value may be the wrong one.
            if table.contains_key(&key) {
                let problem = format!("the key `{key}` appears twice; remove one");
                return Err(A::Error::custom(problem));
            }
            table.insert(key, value);
        }
        Ok(Value::Table(table))
    }
}

/// The origin of a configuration, for errors that name the place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) file: Option<PathBuf>,
    /// The directory in which relative paths start; empty for the working directory.
    pub(crate) base: PathBuf,
    /// The path of the table in which the configuration is; empty for the whole document.
    table: String,
    /// Line and column of each key, by its path in the document.
    positions: HashMap<String, (usize, usize)>,
}

impl Source {
    pub(crate) fn of_file(file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            base: file.parent().map(Path::to_owned).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The table of `document` in which the configuration is. Later errors are located from there.
    pub(crate) fn narrow(&mut self, document: Value, table: &str) -> Result<Value, ConfigError> {
        let mut path = String::new();
        let mut value = document;
        for name in table.split('.').filter(|_| !table.is_empty()) {
            let Value::Table(mut outer) = value else {
                let problem = Problem::kind(value.kind(), "a table");
                return Err(ConfigError::new(path, problem.to_string()));
            };
            path = joined(&path, name);
            let problem = "is missing; add the table that holds the configuration";
            let inner = outer.remove(name);
            value = inner.ok_or_else(|| ConfigError::new(path.as_str(), problem))?;
        }
        self.table = path;
        Ok(value)
    }

    /// The configuration lies at `path` of another document, which was not read here.
    pub(crate) fn within(&mut self, path: &str) {
        self.table = joined(path, &self.table);
        let positions = std::mem::take(&mut self.positions).into_iter();
        self.positions = positions
            .map(|(key, at)| (joined(path, &key), at))
            .collect();
    }

    /// Adds the table, the file, line and column to an error. An error at a missing key gets the position of the nearest
    /// table around the key.
    pub(crate) fn locate(&self, error: ConfigError) -> ConfigError {
        let error = error.inside(&self.table);
        let mut paths = iter::successors(Some(error.path()), |&path| {
            path.rfind(['.', '[']).map(|end| &path[..end])
        });
        let known = paths.find_map(|path| self.positions.get(path).copied());
        let position = error.position().or(known);
        error.at(position).in_file(self.file.clone())
    }

    /// Reads a TOML document, and keeps the position of every key.
    pub(crate) fn toml(&mut self, text: &str) -> Result<Value, ConfigError> {
        let refused = |error: toml::de::Error| {
            let position = error.span().map(|span| position(text, span));
            // The error's `Display` would quote the line, which may hold a secret.
            let problem = format!("is not TOML: {}", error.message());
            ConfigError::new("", problem).at(position)
        };
        let document = DeTable::parse(text).map_err(refused)?;
        self.note_table("", document.get_ref(), text);
        Value::deserialize(toml::Deserializer::from(document)).map_err(refused)
    }

    fn note_table(&mut self, path: &str, table: &DeTable<'_>, text: &str) {
        for (key, value) in table {
            let name = key.get_ref();
            self.note(joined(path, name), key.span(), value, text);
        }
    }

    fn note(&mut self, path: String, span: Range<usize>, value: &Spanned<DeValue<'_>>, text: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.note_table(&path, table, text),
            DeValue::Array(array) => {
                for (at, element) in array.iter().enumerate() {
                    self.note(format!("{path}[{at}]"), element.span(), element, text);
                }
            }
            _ => {}
        }
        self.positions.insert(path, position(text, span));
    }
}

/// Reads JSON.
pub(crate) fn json(text: &str) -> Result<Value, ConfigError> {
    serde_json::from_str(text).map_err(|error| {
        let (message, line, column) = (error.to_string(), error.line(), error.column());
        let place = format!(" at line {line} column {column}");
        let message = message.strip_suffix(&place).unwrap_or(&message);
        ConfigError::new("", format!("is not JSON: {message}")).at(Some((line, column)))
    })
}

/// Line and column, both from 1.
fn position(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    (line, column)
}
