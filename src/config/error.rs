use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::Problem;
use crate::error::BuildError;

/// What is wrong with a configuration, where, and what is allowed there. It repeats no value that could
/// be a secret.
///
/// Shown as `FILE:LINE:COLUMN: PATH: PROBLEM`, with what is known of it.
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
    pub(super) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(Box::new(Report {
            file: None,
            position: None,
            path: path.into(),
            problem: problem.into(),
            source: None,
        }))
    }

    pub(super) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// `problem` with what is at `inner` in `outer`.
    pub(super) fn read(outer: &str, inner: &str, problem: Problem) -> Self {
        let inner = if inner == "." { "" } else { inner };
        let path = joined(outer, inner);
        match problem {
            Problem::MissingKey(key) => Self::new(joined(&path, key), problem.to_string()),
            _ => Self::new(path, problem.to_string()),
        }
    }

    /// Why what is configured at `path` could not be made.
    pub(super) fn not_made(path: &str, error: Box<dyn StdError + Send + Sync>) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(mut error) => {
                error.0.path = joined(path, &error.0.path);
                return *error;
            }
            Err(error) => error,
        };
        match error.downcast::<BuildError>() {
            Ok(error) => match *error {
                BuildError::Invalid { name, problem } => Self::new(joined(path, name), problem),
                error => Self::new(path, error.to_string()).with_source(error),
            },
            Err(error) => Self::new(path, error.to_string()).with_source(error),
        }
    }

    pub(super) fn in_file(mut self, file: Option<&Path>) -> Self {
        self.0.file = file.map(Path::to_owned);
        self
    }

    pub(super) fn at(mut self, position: Option<(usize, usize)>) -> Self {
        self.0.position = position;
        self
    }

    /// The file, if the configuration was read from one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Line and column, both from 1, where the format tells them: TOML always, JSON for its syntax.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        self.0.position
    }

    /// Where inside, `refresh.strategy.window` for example. Empty if the configuration could not be read
    /// at all.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is wrong, and what is allowed.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.0.problem
    }
}

fn joined(outer: &str, inner: &str) -> String {
    match (outer, inner) {
        (outer, "") => outer.to_owned(),
        ("", inner) => inner.to_owned(),
        (outer, inner) if inner.starts_with('[') => format!("{outer}{inner}"),
        _ => format!("{outer}.{inner}"),
    }
}

/// As it is shown to people: a `main` that returns it prints this.
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
    /// What is said in the message already is left out.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref()?.source()
    }
}
