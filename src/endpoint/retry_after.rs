use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// A wait beyond this is taken for that of a clock that is set wrong.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Reads `Retry-After` (RFC 9110 section 10.2.3), as seconds or as a date. Fractions of a second count as a whole one. A
/// date is measured against the answer's own `Date`, else, or where by that it is over or years away, against `wall`.
pub(crate) fn retry_after(headers: &HeaderMap, wall: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_number {
        // A number too long to be held is just long.
        let seconds = whole.parse().map_or(Duration::MAX, Duration::from_secs);
        let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
        return Some(seconds.saturating_add(Duration::from_secs(more)));
    }
    let date = date(text)?;
    let is_believed = |after: &Duration| !after.is_zero() && *after <= LONGEST;
    let by_the_servers = server_time(headers).map(|now| date.saturating_sub(now));
    let after = by_the_servers.filter(is_believed);
    Some(after.unwrap_or_else(|| date.saturating_sub(wall)))
}

/// The server's clock when it answered (RFC 9110 section 6.6.1), since the Unix epoch.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Duration> {
    date(headers.get(DATE)?.to_str().ok()?)
}

fn date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const WALL: Duration = Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT

    fn after(text: &'static str, date: Option<&'static str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
        headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
        retry_after(&headers, WALL).map(|span| span.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read_however_far_away() {
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
