//! Durations as a configuration writes them: a number with a unit.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The longest duration. A longer one is a mistake, and the sum of two such durations does not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads a duration such as `"10s"`, `"500ms"` or `"1h 30m"`, for parameters of your own:
/// `#[serde(deserialize_with = "evertoken::config::duration")]`.
///
/// # Errors
///
/// If the value is not a duration, or is longer than 100 years.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(SpanText)
}

/// Reads a duration that is not zero.
pub(crate) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let span = duration(deserializer)?;
    match span.is_zero() {
        true => Err(D::Error::custom("must be longer than zero")),
        false => Ok(span),
    }
}

/// A duration.
#[cfg(feature = "config")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

#[cfg(feature = "config")]
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        duration(deserializer).map(Self)
    }
}

/// A duration that is not zero.
#[cfg(feature = "config")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PositiveSpan(pub(crate) Duration);

#[cfg(feature = "config")]
impl<'de> Deserialize<'de> for PositiveSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        positive(deserializer).map(Self)
    }
}

#[cfg(feature = "config")]
impl From<Span> for Duration {
    fn from(Span(span): Span) -> Self {
        span
    }
}

struct SpanText;

impl Visitor<'_> for SpanText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a duration with a unit, such as "10s", "500ms" or "1h 30m""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let span = humantime::parse_duration(text)
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
        if span > LONGEST {
            return Err(E::custom("must not be longer than 100 years"));
        }
        Ok(span)
    }
}
