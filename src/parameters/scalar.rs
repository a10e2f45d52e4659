//! Types of values that a configuration writes as a string or a number: durations, paths, statuses, headers and scopes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::clock::span;
use crate::token::Scope;

/// Reads a duration such as `"10s"`, `"500ms"` or `"1h 30m"`, for parameters of your own:
/// `#[serde(deserialize_with = "evertoken::config::duration")]`.
///
/// # Errors
///
/// If the value is not a duration, or is longer than 100 years.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    span::duration(deserializer)
}

/// A duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        span::duration(deserializer).map(Self)
    }
}

/// A duration that is not zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PositiveSpan(pub(crate) Duration);

impl<'de> Deserialize<'de> for PositiveSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        span::positive(deserializer).map(Self)
    }
}

impl From<Span> for Duration {
    fn from(Span(span): Span) -> Self {
        span
    }
}

/// Reads a path, for parameters of your own:
/// `#[serde(deserialize_with = "evertoken::config::path")]`. In a [`Config`](crate::Config) that was read
/// from a file, a relative path starts at that file's directory.
///
/// # Errors
///
/// If the value is not a string, or is empty.
pub fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let LocalPath(path) = LocalPath::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(D::Error::custom("must not be an empty path"));
    }
    Ok(path)
}

/// A path of a configuration. The [`Reader`](super::reader) knows the type by its name, `LOCAL_PATH`.
#[derive(Deserialize)]
#[serde(rename = "$evertoken::config::LocalPath")]
struct LocalPath(PathBuf);

/// The status of an error, from 400 to 599.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorStatus(pub(crate) StatusCode);

impl<'de> Deserialize<'de> for ErrorStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        StatusCode::from_u16(number)
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error())
            .map(Self)
            .ok_or_else(|| D::Error::custom("must be the status of an error, from 400 to 599"))
    }
}

/// The name of a header.
#[derive(Debug, Clone)]
pub(crate) struct Header(pub(crate) HeaderName);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let problem = r#"must be the name of a header, such as "X-Okapi-Token""#;
        HeaderName::try_from(text)
            .map(Self)
            .map_err(|_| D::Error::custom(problem))
    }
}

/// Scopes, as a list or as a string with spaces between them.
#[derive(Debug, Clone)]
pub(crate) struct Scopes(pub(crate) Scope);

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScopeText)
    }
}

struct ScopeText;

impl<'de> Visitor<'de> for ScopeText {
    type Value = Scopes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of scopes, or a string with spaces between them")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scopes, E> {
        Ok(Scopes(Scope::parse(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Scopes, A::Error> {
        let mut scopes = Vec::new();
        while let Some(scope) = access.next_element::<String>()? {
            scopes.push(scope);
        }
        Ok(Scopes(Scope::parse(&scopes.join(" "))))
    }
}
