//! Types of values that a configuration writes as a string or a number: durations, paths, statuses, headers and scopes.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderName, StatusCode};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};

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
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Span(#[serde(deserialize_with = "duration")] pub(crate) Duration);

/// A duration that is not zero.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct PositiveSpan(#[serde(deserialize_with = "span::positive")] pub(crate) Duration);

/// A point in time in UTC (RFC 3339), such as `"2026-07-01T12:00:00Z"`, since the Unix epoch.
///
/// A time without the `Z` is refused: it would be the local time of one reader and not that of another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UtcTime(pub(crate) Duration);

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UtcText)
    }
}

struct UtcText;

impl Visitor<'_> for UtcText {
    type Value = UtcTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a point in time in UTC, in quotes, such as "2026-07-01T12:00:00Z""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<UtcTime, E> {
        let moment = humantime::parse_rfc3339(text).ok();
        let since_epoch = moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        let wrong = || E::invalid_value(Unexpected::Str(text), &self);
        since_epoch.map(UtcTime).ok_or_else(wrong)
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
#[derive(Debug, Clone, Deserialize)]
#[serde(rename = "$evertoken::config::LocalPath")]
pub(crate) struct LocalPath(pub(crate) PathBuf);

/// The status of an error, from 400 to 599.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u16")]
pub(crate) struct ErrorStatus(pub(crate) StatusCode);

impl TryFrom<u16> for ErrorStatus {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        let status = StatusCode::from_u16(number).ok();
        let status = status.filter(|it| it.is_client_error() || it.is_server_error());
        status
            .map(Self)
            .ok_or("must be the status of an error, from 400 to 599")
    }
}

/// The name of a header.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Header(pub(crate) HeaderName);

impl TryFrom<String> for Header {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let name = HeaderName::try_from(name).map(Self);
        name.map_err(|_| r#"must be the name of a header, such as "X-Okapi-Token""#)
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

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Scopes, A::Error> {
        let scopes = Vec::<String>::deserialize(SeqAccessDeserializer::new(access))?;
        Ok(Scopes(scopes.into_iter().collect()))
    }
}
