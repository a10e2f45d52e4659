//! Reads a configuration out of a document that the program has other uses for.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::Config;
use super::content::Content;
use crate::parameters::{ConfigError, Source, Value, json};

/// Reads a configuration out of a document that holds the program's own keys as well.
///
/// By default the whole document is the configuration, and a key that evertoken does not know is an error, because it may be
/// a misspelled one: with `[refersh]` left unread, every setting in it would silently be its default. So the program names
/// either the table that holds the configuration, or its own tables beside those of evertoken:
///
/// ```
/// use evertoken::ConfigReader;
///
/// # fn main() -> Result<(), evertoken::ConfigError> {
/// let text = r#"
///     [import]
///     batch = 500
///     [login.endpoint]
///     token_url = "https://id.example.org/token"
///     client_id = "importer"
/// "#;
/// let config = ConfigReader::new().table("login").toml(text)?;
///
/// let text = r#"
///     [import]
///     batch = 500
///     [endpoint]
///     token_url = "https://id.example.org/token"
///     client_id = "importer"
/// "#;
/// let config = ConfigReader::new().beside(["import"]).toml(text)?;
/// # Ok(())
/// # }
/// ```
///
/// The program reads its own part of the document itself, with any library. An error of the configuration has the path from
/// the top of the document, such as `login.refresh.wait`, also an error that [`Config::builder`] or [`Config::connect`] finds.
#[derive(Debug, Clone, Default)]
pub struct ConfigReader {
    table: String,
    beside: Vec<String>,
}

impl ConfigReader {
    /// A reader of documents that are configurations as a whole.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the path of the table that holds the configuration, `login` or `services.login` for example. Nothing outside that
    /// table is checked. Default: an empty path, which is the whole document.
    #[must_use]
    pub fn table(mut self, path: impl Into<String>) -> Self {
        self.table = path.into();
        self
    }

    /// Adds keys of the program's own, tables or values, that may stand beside `refresh`, `endpoint` and the others of
    /// evertoken. They are not read. Default: none.
    #[must_use]
    pub fn beside(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.beside.extend(names.into_iter().map(Into::into));
        self
    }

    /// Reads TOML, as [`Config::from_toml`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with line and column; also if the table is missing, or if a name [`beside`](Self::beside) is one of
    /// evertoken's own.
    pub fn toml(&self, text: &str) -> Result<Config, ConfigError> {
        self.read(Source::default(), |source| source.toml(text))
    }

    /// Reads JSON, as [`Config::from_json`].
    ///
    /// # Errors
    ///
    /// As [`toml`](Self::toml).
    pub fn json(&self, text: &str) -> Result<Config, ConfigError> {
        self.read(Source::default(), |_| json(text))
    }

    /// Reads a file, as [`Config::from_file`].
    ///
    /// # Errors
    ///
    /// As [`toml`](Self::toml), with the file.
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        let path = path.as_ref();
        let extension = path.extension().and_then(|extension| extension.to_str());
        self.read(Source::of_file(path), |source| {
            let parse = match extension {
                Some("toml") => Source::toml,
                Some("json") => |_: &mut Source, text: &str| json(text),
                _ => {
                    let problem =
                        "has an unknown format; its name must end with `.toml` or `.json`";
                    return Err(ConfigError::new("", problem));
                }
            };
            let text = fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| {
                ConfigError::new("", format!("cannot be read: {error}")).with_source(error)
            })?;
            parse(source, &text)
        })
    }

    fn read(
        &self,
        mut source: Source,
        text: impl FnOnce(&mut Source) -> Result<Value, ConfigError>,
    ) -> Result<Config, ConfigError> {
        let document = text(&mut source);
        let value = document.and_then(|document| source.narrow(document, &self.table));
        let content = value.and_then(|value| Content::of(&value, &source.base, &self.beside));
        match content {
            Ok(content) => Ok(Config {
                source,
                content: Ok(content),
            }),
            Err(error) => Err(source.locate(error)),
        }
    }
}
