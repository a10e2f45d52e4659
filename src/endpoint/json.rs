//! Reads the members of a JSON object, whatever else is wrong with it. It hands out nothing that was not read to its
//! end, and nothing it does is recursive.
//!
//! What is valid is split by a parser (`strict`). A parser refuses a document, though: it stops at a number that is too
//! large, at a `NaN`, a raw line break or a missing comma in a field that nobody needs, and what stands behind that is
//! lost - the new refresh token, say, while the old one is spent. So what the parser refuses is split by a scanner
//! that passes over such things (`lenient`). Both only find where names and values begin and end, in the buffer that
//! the answer was read into.
//!
//! Escapes are resolved here, and not by the parser: it unescapes into buffers of its own, which nobody zeroizes, and
//! tokens with `\/` in them are common. A text whose escapes are wrong costs that text alone.

mod lenient;
#[cfg(any(test, fuzzing))]
pub(crate) mod steps;
mod strict;

use std::iter::Map;
use std::str::{self, Chars};
use std::vec;

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

/// The members of an object, which are looked for when they are iterated over.
pub(super) struct Members<'a>(&'a [u8]);

/// The elements of an array, likewise.
pub(super) struct Elements<'a>(&'a [u8]);

/// A name and a value as they stand in the text.
type Raw<'a> = (&'a [u8], &'a [u8]);
type Member<'a> = (Zeroizing<String>, Value<'a>);

impl<'a> Members<'a> {
    /// Nothing, unless `text` begins with an object. A byte order mark is passed over.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = text.trim_ascii_start();
        text.starts_with(b"{").then_some(Self(text))
    }
}

impl<'a> IntoIterator for Members<'a> {
    type Item = Member<'a>;
    type IntoIter = Map<vec::IntoIter<Raw<'a>>, fn(Raw<'a>) -> Member<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        let members = strict::members(self.0).unwrap_or_else(|| lenient::members(self.0));
        members.into_iter().map(|(name, value)| {
            let name = match Value::of(name) {
                Value::Text(name) => name,
                _ => Zeroizing::default(),
            };
            (name, Value::of(value))
        })
    }
}

impl<'a> IntoIterator for Elements<'a> {
    type Item = Value<'a>;
    type IntoIter = Map<vec::IntoIter<&'a [u8]>, fn(&'a [u8]) -> Value<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        let elements = strict::elements(self.0).unwrap_or_else(|| lenient::elements(self.0));
        elements.into_iter().map(Value::of)
    }
}

impl<'a> Value<'a> {
    fn of(raw: &'a [u8]) -> Self {
        match raw {
            [b'"', text @ .., b'"'] => unescaped(text).map_or(Self::Other, Self::Text),
            [b'{', ..] => Self::Object(Members(raw)),
            [b'[', ..] => Self::Array(Elements(raw)),
            _ => str::from_utf8(raw).map_or(Self::Other, |text| Self::Bare(text.trim())),
        }
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
            Value::Array(elements) => format!("{}[{}]", *key, elements.into_iter().count()),
            Value::Object(members) => format!("{}{{{}}}", *key, members.into_iter().count()),
            Value::Other => format!("{}?", *key),
        };
        members.into_iter().map(show).collect()
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
    fn what_is_no_member_is_passed_over_and_the_members_behind_it_are_found() {
        for (odd, expected) in [
            (r#"{"a":"x" "b":"y"}"#, &["a=x", "b=y"][..]),
            (r#"{a:1,"b":"y"}"#, &["b=y"]),
            (r#"{"a","b":"y"}"#, &["b=y"]),
            (r#"{"a":,"b":"y"}"#, &["b=y"]),
            (r#"{"a":"x":"z","b":"y"}"#, &["a=x", "b=y"]),
            (r#"{"a":"x"],{"c":"z"},["c"],"b":"y"}"#, &["a=x", "b=y"]),
            ("{\"a\":\0,\0\"b\":\"y\"}", &["a~\0", "b=y"]),
            (r#"{"a":x{},"b":"y"}"#, &["a~x{", "b=y"]),
            ("{\"a\":NaN,\"b\":\"y\"} {\"c\":\"z\"}", &["a~NaN", "b=y"]),
            ("\u{feff} {\"a\":NaN}", &["a~NaN"]),
            ("\u{feff} {\"a\":1}", &["a~1"]),
        ] {
            assert_eq!(shown(odd), expected, "{odd}");
        }
    }

    #[test]
    fn a_repeated_name_is_handed_out_each_time_in_valid_json_and_in_broken() {
        assert_eq!(shown(r#"{"a":1,"a":2}"#), ["a~1", "a~2"]);
        assert_eq!(shown(r#"{"a":1,"a":2,}"#), ["a~1", "a~2"]);
    }

    #[test]
    fn bytes_that_are_no_text_cost_their_member_alone() {
        let members = Members::of(b"{\"a\":\"\xff\",\"\xfe\":1,\"b\":\xff,\"c\":\"y\"}").unwrap();
        let named: Vec<_> = members.into_iter().collect();
        let is_text = |value: &Value<'_>| matches!(value, Value::Text(text) if **text == "y");
        let names: Vec<_> = named.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "", "b", "c"]);
        assert_eq!(named.iter().filter(|(_, value)| is_text(value)).count(), 1);
    }

    #[test]
    fn a_bare_element_with_a_quoted_bracket_in_it_is_passed_over() {
        assert_eq!(
            shown(r#"{"a":[x"]"],"b":[x"]",7,"z"],"c":"y"}"#),
            ["a[1]", "b[1]", "c=y"]
        );
    }

    /// As many levels as FOLIO's errors have, which are the deepest that are asked for.
    const LEVELS: usize = 3;

    /// Reads all that any reader of this crate asks for.
    fn walk(value: Value<'_>, levels: usize) {
        match value {
            Value::Array(elements) if levels > 0 => {
                elements.into_iter().for_each(|it| walk(it, levels - 1));
            }
            Value::Object(members) if levels > 0 => {
                members.into_iter().for_each(|(_, it)| walk(it, levels - 1));
            }
            _ => {}
        }
    }

    /// How many bytes are taken for `text`; it is read as an object and as an array.
    fn steps_of(text: &[u8]) -> usize {
        let both = || {
            walk(Value::Object(Members(text)), LEVELS);
            walk(Value::Array(Elements(text)), LEVELS);
        };
        steps::of(both).0
    }

    #[test]
    fn a_mebibyte_of_anything_is_read_in_as_many_steps_for_each_level() {
        for piece in [
            r#"[x"]"],"#,
            r#"x"]"],"#,
            r#""a":[x"]"],"#,
            r#""a":x"]","#,
            r#"{"a":"#,
            r#"{"a":1,"#,
            r#"{"a":[x],"#,
            r#"[{"a":[x],"#,
            "[[],",
            "[",
            "{",
            "]",
            "}",
            "\"",
            "\\",
            ":",
            ",",
            "\"a\":",
            "x",
            " ",
            "\0",
            "\u{ff}",
        ] {
            for (opening, length) in [
                (r#"{"scope":["#, 1 << 20),
                (r#"{"errors":[{"code":["#, 1 << 12),
                ("{", 1 << 12),
                ("[", 1 << 12),
            ] {
                let mut text = opening.to_owned() + &piece.repeat(length / piece.len() + 1);
                for closing in ["", "]}]}"] {
                    text.push_str(closing);
                    let steps = steps_of(text.as_bytes());
                    let most = 2 * LEVELS * text.len();
                    assert!(steps <= most, "{steps} for {opening}{piece}..{closing}");
                }
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
            "[\\\\\"{}\\[\\]:, x]{0,8}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// Takes the space from around values without quotes, which a parser leaves out.
    fn trimmed<'a>(members: &[Raw<'a>]) -> Vec<Raw<'a>> {
        let trim = |(name, value): &Raw<'a>| (*name, value.trim_ascii());
        members.iter().map(trim).collect()
    }

    proptest! {
        #[test]
        fn the_scanner_splits_valid_json_as_the_parser_does(
            members in prop::collection::vec((any::<String>(), any_json()), 0..5),
            elements in prop::collection::vec(any_json(), 0..5),
            pretty: bool,
        ) {
            let text = |json: &serde_json::Value| if pretty { format!("{json:#}") } else { json.to_string() };
            let member = |(name, value): &(String, _)| format!("{} : {}", text(&name.as_str().into()), text(value));
            let object = format!("{{{}\n}}", members.iter().map(member).collect::<Vec<_>>().join(" ,\t"));
            let array = text(&elements.into());
            let strict = strict::members(object.as_bytes()).unwrap();
            prop_assert_eq!(strict.len(), members.len());
            prop_assert_eq!(strict, trimmed(&lenient::members(object.as_bytes())));
            let strict = strict::elements(array.as_bytes()).unwrap();
            let lenient = lenient::elements(array.as_bytes());
            let lenient: Vec<_> = lenient.into_iter().map(<[u8]>::trim_ascii).collect();
            prop_assert_eq!(strict, lenient);
        }

        #[test]
        fn any_bytes_are_read_in_as_many_steps_for_each_level(
            bytes: Vec<u8>,
            pieces in r#"(\{|\}|\[|\]|:|,|"|\\|x|1| |"a":|x"\]"|\x00){0,60}"#,
        ) {
            for text in [bytes.as_slice(), pieces.as_bytes()] {
                prop_assert!(steps_of(text) <= 2 * LEVELS * text.len());
            }
        }

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
