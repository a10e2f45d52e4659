//! Errors of a configuration. They never repeat a value, which may be a secret in the wrong place.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{self, Unexpected};

use crate::build_error::BuildError;

/// A problem of a configuration: the place, what is wrong there, and what is allowed. The error repeats no
/// value that could be a secret.
///
/// `Display` prints `FILE:LINE:COLUMN: PATH: PROBLEM`, without the parts that are unknown.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConfigError(Box<Report>);

#[derive(Clone)]
struct Report {
    file: Option<PathBuf>,
    position: Option<(usize, usize)>,
    path: String,
    problem: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(Box::new(Report {
            file: None,
            position: None,
            path: path.into(),
            problem: problem.into(),
            source: None,
        }))
    }

    /// The kind or profile `name` (or "") requires a feature that the program lacks.
    pub(crate) fn without_feature(path: &str, name: &str, feature: &str) -> Self {
        let problem =
            format!("{name}requires evertoken's feature `{feature}`; build the program with it");
        Self::new(path, problem)
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// A problem of the value at the path `inner` inside `outer`.
    pub(crate) fn read(outer: &str, inner: &str, problem: Problem) -> Self {
        let inner = if inner == "." { "" } else { inner };
        let mut path = joined(outer, inner);
        if let Problem::MissingKey(key) = problem {
            path = joined(&path, key);
        }
        Self::new(path, problem.to_string())
    }

    /// The part that is configured at `path` could not be made.
    pub(crate) fn not_made(path: &str, error: Box<dyn StdError + Send + Sync>) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return error.inside(path),
            Err(error) => error,
        };
        if let Some(BuildError::Invalid { name, problem }) = error.downcast_ref() {
            return Self::new(joined(path, name), problem.as_str());
        }
        Self::new(path, error.to_string()).with_source(error)
    }

    /// The same problem, of a value that lies inside `outer`.
    pub(crate) fn inside(mut self, outer: &str) -> Self {
        self.0.path = joined(outer, &self.0.path);
        self
    }

    pub(crate) fn in_file(mut self, file: Option<PathBuf>) -> Self {
        self.0.file = file;
        self
    }

    pub(crate) fn at(mut self, position: Option<(usize, usize)>) -> Self {
        self.0.position = position;
        self
    }

    /// The file, if the configuration was read from one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Line and column, both from 1, where the format reports them: TOML always, JSON for errors of syntax.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        self.0.position
    }

    /// The key, `refresh.strategy.window` for example. Empty if the configuration could not be read at all.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The problem, and what is allowed instead.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.0.problem
    }
}

/// The path of what lies at `inner` inside `outer`.
pub(crate) fn joined(outer: &str, inner: &str) -> String {
    match (outer, inner) {
        (outer, "") => outer.to_owned(),
        ("", inner) => inner.to_owned(),
        (outer, inner) if inner.starts_with('[') => format!("{outer}{inner}"),
        _ => format!("{outer}.{inner}"),
    }
}

/// The same text as `Display`, because a `main` that returns an error prints its `Debug`.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &*self.0;
        match (&report.file, report.position) {
            (Some(file), Some((line, column))) => {
                write!(f, "{}:{line}:{column}: ", file.display())?;
            }
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some((line, column))) => write!(f, "line {line}, column {column}: ")?,
            (None, None) => {}
        }
        if !report.path.is_empty() {
            write!(f, "{}: ", report.path)?;
        }
        f.write_str(&report.problem)
    }
}

impl StdError for ConfigError {
    /// The cause's own cause: the message holds the text of the cause already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref()?.source()
    }
}

/// A problem of a value. Unlike the errors of the formats, a problem never repeats the value.
#[derive(Debug)]
pub(crate) enum Problem {
    UnknownKey {
        /// The kind of the component that does not know the key.
        of: Option<String>,
        allowed: Vec<String>,
    },
    MissingKey(&'static str),
    Other(String),
}

impl Problem {
    /// A value of the kind `found`, where one of the kind `expected` is needed.
    pub(crate) fn kind(found: &str, expected: &str) -> Self {
        Self::Other(format!("is {found}, but must be {}", plain(expected)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { of, allowed } => {
                f.write_str("is not a key")?;
                if let Some(kind) = of {
                    write!(f, " of `{kind}`")?;
                }
                match allowed.as_slice() {
                    [] => f.write_str("; no key is allowed here"),
                    allowed => write!(f, "; allowed here: {}", names(allowed)),
                }
            }
            Self::MissingKey(_) => f.write_str("is missing"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::Other(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::kind(kind(found), &expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Other(format!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        let (has, expected) = (format!("has {length} elements"), expected.to_string());
        Self::Other(format!("{has}, but must be {}", plain(&expected)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Other(one_of(expected))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        let allowed = expected.iter().map(|&key| key.to_owned()).collect();
        Self::UnknownKey { of: None, allowed }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingKey(field)
    }
}

/// The allowed words, where a value is one of a few.
pub(crate) fn one_of(allowed: &[impl AsRef<str>]) -> String {
    match allowed {
        [] => "no value is allowed here".to_owned(),
        [one] => format!("must be `{}`", one.as_ref()),
        [first @ .., last] => format!("must be {} or `{}`", names(first), last.as_ref()),
    }
}

/// A list of names in backquotes.
pub(crate) fn names(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    quoted.join(", ")
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "another kind of value",
    }
}

/// The name of a Rust type in the words of a configuration file.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" | "u128" => "an integer from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "an integer",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        "path string" => "a path",
        other => other,
    }
}
