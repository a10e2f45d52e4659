//! Dates as FOLIO writes them: seconds since the Unix epoch in, text out.

use std::time::{Duration, UNIX_EPOCH};

/// For a cookie or a `Date` header (RFC 9110 section 5.6.7).
pub(super) fn http(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// For a body: ISO 8601, in UTC and with whole seconds.
pub(super) fn iso(seconds: u64) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = http(seconds);
    let month = MONTHS.find(&date[8..11]).unwrap_or_default() / 3 + 1;
    format!(
        "{}-{month:02}-{}T{}Z",
        &date[12..16],
        &date[5..7],
        &date[17..25]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_both_forms() {
        assert_eq!(iso(1_729_780_408), "2024-10-24T14:33:28Z");
        assert_eq!(http(1_729_780_408), "Thu, 24 Oct 2024 14:33:28 GMT");
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(1_709_164_800), "2024-02-29T00:00:00Z");
    }
}
