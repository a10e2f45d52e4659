//! Reads the members of a JSON object, whatever else is wrong with the document. The reader hands out only what it has
//! read to its end, and nothing in it is recursive.
//!
//! A parser splits a valid document. But a parser refuses a whole document for one flaw: a number that is too large, a
//! `NaN`, a raw line break, or a missing comma in a field without a use here. The rest of the document would be lost: the
//! new refresh token, say, while the old one is spent. So a scanner (`lenient`), which passes over such flaws, splits what
//! the parser refuses. Parser and scanner only find where names and values begin and end, in the buffer into which the
//! answer was read. The parser reads each value as a [`RawValue`]: it finds the end of a value without recursion, and
//! makes no copy of its text.
//!
//! This module resolves escapes, because the parser would unescape into its own buffers, which are not zeroized, and
//! tokens with `\/` in them are common. A text with a wrong escape is lost, and no other text with it.

mod lenient;

use std::fmt;
use std::str::{self, Chars};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

#[cfg(any(test, fuzzing))]
pub(super) use self::lenient::steps_of;

/// A member's value.
pub(super) enum Value<'a> {
    Text(Zeroizing<String>),
    /// A number, `true`, `null`, or any other text without quotes.
    Bare(&'a str),
    Array(Elements<'a>),
    #[cfg_attr(
        not(feature = "folio"),
        allow(dead_code, reason = "OAuth2 nests nothing")
    )]
    Object(Members<'a>),
    /// A text with a wrong escape, or one that is not UTF-8.
    Other,
}

/// The members of an object. An iteration finds them.
pub(super) struct Members<'a>(&'a [u8]);

/// The elements of an array. An iteration finds them.
pub(super) struct Elements<'a>(&'a [u8]);

/// A name and a value as the text holds them.
type Raw<'a> = (&'a [u8], &'a [u8]);
type Member<'a> = (Zeroizing<String>, Value<'a>);

impl<'a> Members<'a> {
    /// The members of the object with which `text` begins, after a byte order mark; `None` if `text` begins otherwise.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = text.trim_ascii_start();
        text.starts_with(b"{").then_some(Self(text))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let members = parsed_members(self.0).unwrap_or_else(|| lenient::members(self.0));
        members.into_iter().map(|(name, value)| {
            let name = match Value::of(name) {
                Value::Text(name) => name,
                _ => Zeroizing::default(),
            };
            (name, Value::of(value))
        })
    }

    /// Whether the object is complete, whatever follows it.
    pub(super) fn is_closed(&self) -> bool {
        parsed_members(self.0).is_some() || lenient::is_closed(self.0)
    }
}

impl<'a> Elements<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let elements = parsed_elements(self.0).unwrap_or_else(|| lenient::elements(self.0));
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

/// Resolves the escapes (RFC 8259 section 7). `None` for a wrong escape, and for a text that is not UTF-8.
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

/// The character that follows `\u`. A character beyond the basic plane has two escapes.
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

/// Names and values of an object, in order, repeated names included; `None` if the object is not valid JSON.
fn parsed_members(object: &[u8]) -> Option<Vec<Raw<'_>>> {
    let Pairs(pairs) = serde_json::from_slice(object).ok()?;
    Some(pairs)
}

/// The values of an array; `None` if the array is not valid JSON.
fn parsed_elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    let values: Vec<&RawValue> = serde_json::from_slice(array).ok()?;
    Some(values.into_iter().map(bytes).collect())
}

fn bytes(raw: &RawValue) -> &[u8] {
    raw.get().as_bytes()
}

/// The members of an object. A map would keep only one of two members of the same name.
struct Pairs<'a>(Vec<Raw<'a>>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    pairs.push((bytes(name), bytes(value)));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests;
