//! Walks the members of a JSON object for as long as they can be told apart. It builds no tree, does
//! not recurse, and hands out nothing that was not read to its end.
//!
//! Why no JSON parser is used: a parser refuses a document. It stops at a number that is too large, at
//! a `NaN`, a raw line break or half a surrogate pair in a field that nobody needs, and what stands
//! behind that is lost - the new refresh token, say, while the old one is spent. It also unescapes into
//! buffers of its own, which nobody zeroizes; tokens with `\/` in them are common.

use std::str::Chars;
use std::{mem, str};

use zeroize::Zeroizing;

/// A member's value.
pub(super) enum Value<'a> {
    Text(Zeroizing<String>),
    /// A number, `true`, `null`, or whatever else stands there without quotes.
    Bare(&'a str),
    Array(Elements<'a>),
    #[cfg_attr(
        not(feature = "folio"),
        allow(dead_code, reason = "OAuth2 nests nothing")
    )]
    Object(Members<'a>),
    /// A text that is not one.
    Other,
}

/// The members of an object.
pub(super) struct Members<'a>(&'a [u8]);

impl<'a> Members<'a> {
    /// Nothing, unless `text` begins with an object.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        text.trim_ascii_start().strip_prefix(b"{").map(Self)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Zeroizing<String>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = quoted(skip_separators(mem::take(&mut self.0)))?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?;
        let (value, rest) = value(rest.trim_ascii_start())?;
        self.0 = rest;
        Some((unescaped(key).unwrap_or_default(), value))
    }
}

/// The elements of an array.
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (value, rest) = value(skip_separators(mem::take(&mut self.0)))?;
        self.0 = rest;
        Some(value)
    }
}

fn skip_separators(mut rest: &[u8]) -> &[u8] {
    while let [b',' | b' ' | b'\t' | b'\r' | b'\n', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

/// The value that `rest` begins with, and what follows it; `None` if its end is not there.
fn value(rest: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match rest.first()? {
        b'"' => {
            let (raw, rest) = quoted(rest)?;
            Some((unescaped(raw).map_or(Value::Other, Value::Text), rest))
        }
        b'{' => {
            let (_, after) = nested(rest)?;
            // With its closing brace, which is where a last number ends.
            let inner = &rest[1..rest.len() - after.len()];
            Some((Value::Object(Members(inner)), after))
        }
        b'[' => nested(rest).map(|(inner, rest)| (Value::Array(Elements(inner)), rest)),
        _ => {
            let end = rest.iter().position(|byte| b",}]".contains(byte))?;
            let (bare, rest) = rest.split_at(end);
            let bare = str::from_utf8(bare).map_or(Value::Other, |text| Value::Bare(text.trim()));
            Some((bare, rest))
        }
    }
}

/// What stands between the quotes that `rest` begins with, escapes and all.
fn quoted(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = rest.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match inner.get(at)? {
            b'"' => return Some((&inner[..at], &inner[at + 1..])),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What stands between the brackets that `rest` begins with.
fn nested(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match rest.get(at)? {
            b'"' => {
                let (raw, _) = quoted(&rest[at..])?;
                at += raw.len() + 1;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some((&rest[1..at], &rest[at + 1..])),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// Resolves the escapes (RFC 8259 section 7). `None` for one that is none, and for what is not UTF-8.
fn unescaped(raw: &[u8]) -> Option<Zeroizing<String>> {
    let mut rest = str::from_utf8(raw).ok()?;
    // Escapes only shrink, so the buffer never grows and leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(rest.len()));
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        text.push(match chars.next()? {
            same @ ('"' | '\\' | '/') => same,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => code_point(&mut chars)?,
            _ => return None,
        });
        rest = chars.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// What follows `\u`; two of them for what lies beyond the basic plane.
fn code_point(chars: &mut Chars<'_>) -> Option<char> {
    let unit = hex(chars)?;
    let Some(high) = unit.checked_sub(0xd800).filter(|high| *high < 0x400) else {
        return char::from_u32(unit);
    };
    let (Some('\\'), Some('u')) = (chars.next(), chars.next()) else {
        return None;
    };
    let low = hex(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + (high << 10) + low)
}

fn hex(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let members = Members::of(text.as_bytes()).unwrap();
        let show = |(key, value): (Zeroizing<String>, Value<'_>)| match value {
            Value::Text(text) => format!("{}={}", *key, *text),
            Value::Bare(text) => format!("{}~{text}", *key),
            Value::Array(elements) => format!("{}[{}]", *key, elements.count()),
            Value::Object(members) => format!("{}{{{}}}", *key, members.count()),
            Value::Other => format!("{}?", *key),
        };
        members.map(show).collect()
    }

    #[test]
    fn what_no_parser_accepts_is_passed_over() {
        let odd =
            r#"{"a":NaN,"b":1e999,"c":"\ud800","d":'x',"e":{"f":["]}"]},"g":[{},"x"],,"h":"ok""#;
        assert_eq!(
            shown(odd),
            ["a~NaN", "b~1e999", "c?", "d~'x'", "e{1}", "g[2]", "h=ok"]
        );
        assert_eq!(shown("{ \"a\" : \"x\ty\nz\" ,}"), ["a=x\ty\nz"]);
    }

    #[test]
    fn nothing_is_handed_out_without_its_end() {
        assert_eq!(shown(r#"{"a":"whole","b":"par"#), ["a=whole"]);
        assert_eq!(shown(r#"{"a":"whole","b":"par\"#), ["a=whole"]);
        assert_eq!(shown(r#"{"a":"whole","b":36"#), ["a=whole"]);
        assert_eq!(shown(r#"{"a":{"b":"whole"}"#), ["a{1}"]);
        assert_eq!(shown(r#"{"a":{"b":"whole""#), [""; 0]);
        assert_eq!(shown("{"), [""; 0]);
        assert!(Members::of(b"[{}]").is_none());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!(
            "{{\"a\":{}1{},\"b\":2}}",
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        assert_eq!(shown(&deep), ["a[1]", "b~2"]);
    }

    proptest! {
        #[test]
        fn texts_are_read_as_a_parser_reads_them(text: String, ascii: bool) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = escaped(&json);
            }
            let members = shown(&format!("{{\"k\":{json}}}"));
            prop_assert_eq!(members, [format!("k={text}")]);
        }

        #[test]
        fn escapes_are_read_or_refused_as_a_parser_does(
            raw in r#"(\\[u"\\/bfnrtx]|\\u[dD][89abAB][0-9a-f]{2}|\\u[dD][c-fC-F][0-9a-f]{2}|[0-9a-f]{1,4}|é){0,6}"#,
        ) {
            let parsed: Option<String> = serde_json::from_str(&format!("\"{raw}\"")).ok();
            prop_assert_eq!(unescaped(raw.as_bytes()).map(|text| text.to_string()), parsed);
        }
    }

    /// Everything beyond ASCII as `\uXXXX`.
    fn escaped(json: &str) -> String {
        json.encode_utf16()
            .map(|unit| match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                _ => format!("\\u{unit:04X}"),
            })
            .collect()
    }
}
