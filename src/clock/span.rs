//! Durations as a configuration writes them: a number with a unit.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The longest duration. A longer one is a mistake, and the sum of two such durations does not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads a duration such as `"10s"`, `"500ms"` or `"1h 30m"`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
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
