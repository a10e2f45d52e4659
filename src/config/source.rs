use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::value::Value;

/// Where a configuration came from, for errors that name the place.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) file: Option<PathBuf>,
    /// Where relative paths start; empty for the working directory.
    pub(super) base: PathBuf,
    /// Line and column of each path.
    positions: HashMap<String, (usize, usize)>,
}

impl Source {
    pub(super) fn of_file(file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            base: file.parent().map(Path::to_owned).unwrap_or_default(),
            positions: HashMap::new(),
        }
    }

    /// Says where the error is: at its path or, where something is missing, at the nearest one around it.
    pub(super) fn locate(&self, error: ConfigError) -> ConfigError {
        let mut path = error.path();
        let position = loop {
            if path.is_empty() || error.position().is_some() {
                break error.position();
            }
            if let Some(position) = self.positions.get(path) {
                break Some(*position);
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        };
        error.at(position).in_file(self.file.as_deref())
    }

    /// Reads a TOML document, and remembers where everything is.
    pub(super) fn toml(&mut self, text: &str) -> Result<Value, ConfigError> {
        let refused = |error: toml::de::Error| {
            let position = error.span().map(|span| position(text, span));
            // Its `Display` would quote the line, with whatever secret is there.
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
            let path = if path.is_empty() {
                name.to_string()
            } else {
                format!("{path}.{name}")
            };
            self.note(path, key.span(), value, text);
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
pub(super) fn json(text: &str) -> Result<Value, ConfigError> {
    serde_json::from_str(text).map_err(|error| {
        let told = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let problem = format!(
            "is not JSON: {}",
            told.strip_suffix(&place).unwrap_or(&told)
        );
        ConfigError::new("", problem).at(Some((error.line(), error.column())))
    })
}

/// Line and column, both from 1.
fn position(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    (line, column)
}
