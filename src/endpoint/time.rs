use std::time::{Duration, UNIX_EPOCH};

/// Reads a point in time as servers write it (ISO 8601, RFC 3339), since the Unix epoch: with or without fractions and
/// seconds, with `Z`, with an offset in any of its forms, or without any, which means UTC.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (text, offset) = split_offset(text.trim())?;
    let is_short = text.len() == "2024-10-24T14:33".len();
    let whole = format!("{text}{}", if is_short { ":00" } else { "" });
    let written = humantime::parse_rfc3339_weak(&whole).ok()?;
    let local = written.duration_since(UNIX_EPOCH).ok()?;
    match offset {
        Offset::East(span) => local.checked_sub(span),
        Offset::West(span) => local.checked_add(span),
    }
}

enum Offset {
    East(Duration),
    West(Duration),
}

fn split_offset(text: &str) -> Option<(&str, Offset)> {
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return Some((utc, Offset::East(Duration::ZERO)));
    }
    // Behind the date, which has hyphens as well.
    let time = text.find(['T', ' '])?;
    let Some(at) = text[time..].find(['+', '-']).map(|at| time + at) else {
        return Some((text, Offset::East(Duration::ZERO)));
    };
    let digits = text[at + 1..].replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at_checked(2)?,
        _ => return None,
    };
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let span = Duration::from_secs(3_600 * hours + 60 * minutes);
    let offset = match &text[at..=at] {
        "+" => Offset::East(span),
        _ => Offset::West(span),
    };
    Some((&text[..at], offset))
}

#[cfg(test)]
mod tests {
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
        // What Java writes of a time whose seconds are zero.
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
    fn a2_what_is_no_time_is_none() {
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
}
