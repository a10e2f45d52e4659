//! Times in a server's answer: `Retry-After`, `Date`, and the points in time that bodies hold.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use crate::token::LONGEST_LIFETIME;

/// Reads a point in time in the forms that servers write (ISO 8601, RFC 3339), since the Unix epoch: with or without
/// seconds and fractions; with `Z`, with an offset in any form, or without an offset, which means UTC.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (text, is_west, offset) = split_offset(text.trim())?;
    let is_short = text.len() == "2024-10-24T14:33".len();
    let whole = format!("{text}{}", if is_short { ":00" } else { "" });
    let written = humantime::parse_rfc3339_weak(&whole).ok()?;
    let local = written.duration_since(UNIX_EPOCH).ok()?;
    match is_west {
        true => local.checked_add(offset),
        false => local.checked_sub(offset),
    }
}

/// The span from `now` to `end`, if the span can be a lifetime or a wait. A server issues no expired token and asks for no
/// wait that is over, so a span of zero or less, or of many years, means that a clock is wrong.
pub(super) fn lifetime_until(end: Option<Duration>, now: Duration) -> Option<Duration> {
    let span = end?.checked_sub(now)?;
    Some(span).filter(|span| !span.is_zero() && *span <= LONGEST_LIFETIME)
}

/// The time without its offset, whether the offset is west of UTC, and how far.
fn split_offset(text: &str) -> Option<(&str, bool, Duration)> {
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return Some((utc, false, Duration::ZERO));
    }
    // The offset follows the time; the date has hyphens as well.
    let time = text.find(['T', ' '])?;
    let Some(at) = text[time..].find(['+', '-']).map(|at| time + at) else {
        return Some((text, false, Duration::ZERO));
    };
    let digits = text[at + 1..].replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at_checked(2)?,
        _ => return None,
    };
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let span = Duration::from_secs(3_600 * hours + 60 * minutes);
    Some((&text[..at], text[at..].starts_with('-'), span))
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3), which holds seconds or a date. A fraction of a second counts as a whole
/// second. A date is measured against the `Date` of the answer, or against `wall` if the answer has no `Date`, or if the
/// wait by that `Date` is over or years away.
pub(crate) fn retry_after(headers: &HeaderMap, wall: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_number {
        // A number that does not fit is a very long wait.
        let seconds = whole.parse().map_or(Duration::MAX, Duration::from_secs);
        let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
        return Some(seconds.saturating_add(Duration::from_secs(more)));
    }
    let date = http_date(text)?;
    let by_the_server = server_time(headers).and_then(|now| lifetime_until(Some(date), now));
    Some(by_the_server.unwrap_or_else(|| date.saturating_sub(wall)))
}

/// The server's clock when it answered (RFC 9110 section 6.6.1), since the Unix epoch.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Duration> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// A date of HTTP (RFC 9110 section 5.6.7), since the Unix epoch.
pub(super) fn http_date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a2_times_are_read_in_every_form() {
        let noon = 1_700_217_555; // date -u -d 2023-11-17T10:39:15Z +%s
        for text in [
            "2023-11-17T10:39:15.000Z",
            "2023-11-17T10:39:15Z",
            "2023-11-17T10:39:15.000+00:00",
            "2023-11-17T10:39:15+00:00",
            "2023-11-17T10:39:15-00:00",
            "2023-11-17T10:39:15.000+0000",
            "2023-11-17T10:39:15+00",
            "2023-11-17T10:39:15",
            "2023-11-17 10:39:15",
            " 2023-11-17T10:39:15.000z ",
            "2023-11-17T12:09:15+01:30",
            "2023-11-17T02:39:15.000-0800",
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(noon)), "{text}");
        }
        assert_eq!(
            parse("2026-08-07T18:13:36Z"),
            Some(Duration::from_secs(1_786_126_416))
        );
        // Java writes a time without seconds if they are zero.
        assert_eq!(
            parse("2026-08-07T18:13Z"),
            Some(Duration::from_secs(1_786_126_380))
        );
        assert_eq!(
            parse("2023-11-17T10:39:15.123456Z"),
            Some(Duration::from_micros(noon * 1_000_000 + 123_456))
        );
    }

    #[test]
    fn a2_a_text_that_is_not_a_time_is_none() {
        for text in [
            "",
            "soon",
            "1700217555",
            "2023-11-17",
            "2023-11-17T",
            "2023-11-17T10",
            "2023-13-17T10:39:15Z",
            "2023-11-31T10:39:15Z",
            "2023-11-17T25:39:15Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2023-11-17T10:39:15+1",
            "2023-11-17T10:39:15+é1",
            "2023-11-17T10:39:15 GMT",
            "Fri, 17 Nov 2023 10:39:15 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text: String, odd in "[0-9TZ:.+ é-]{0,30}") {
            parse(&text);
            parse(&odd);
        }
    }

    const WALL: Duration = Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT

    fn after(text: &'static str, date: Option<&'static str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
        headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
        retry_after(&headers, WALL).map(|span| span.as_secs())
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_of_any_distance() {
        assert_eq!(after("120", None), Some(120));
        assert_eq!(after(" 1 ", None), Some(1));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT", None), Some(30));
        let skewed = Some("Sun, 06 Nov 1994 08:50:00 GMT");
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT", skewed), Some(7));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(0));
        assert_eq!(after("99999999999999999999999", None), Some(u64::MAX));
        let half_a_century = after("Mon, 07 Nov 2044 12:00:00 GMT", None);
        assert_eq!(half_a_century, Some(1_578_021_023));
        for wrong in [
            "Thu, 01 Jan 1970 00:10:00 GMT",
            "Fri, 06 Nov 2026 08:49:37 GMT",
        ] {
            let after = after("Sun, 06 Nov 1994 08:50:07 GMT", Some(wrong));
            assert_eq!(after, Some(30), "{wrong}");
        }
        assert_eq!(after("120.5", None), Some(121));
        assert_eq!(after("120.0", None), Some(120));
        assert_eq!(after("Sunday, 06-Nov-94 08:50:07 GMT", None), Some(30));
        for odd in ["soon", "-1", "1.", ".5", "1.5.2", "1e3", "NaN", ""] {
            assert_eq!(after(odd, None), None, "{odd}");
        }
    }
}
