//! Reads the members of a JSON object, whatever else is wrong with it. It hands out nothing that was not read to its
//! end, and nothing it does is recursive.
//!
//! What is valid is split by a parser (`strict`). A parser refuses a document, though: it stops at a number that is too
//! large, at a `NaN`, a raw line break or a missing comma in a field without a use here, and what stands behind that is
//! lost - the new refresh token, say, while the old one is spent. So what the parser refuses is split by a scanner
//! that passes over such things (`lenient`). Both only find where names and values begin and end, in the buffer that
//! the answer was read into.
//!
//! Escapes are resolved here, and not by the parser: it unescapes into buffers of its own that are not zeroized, and
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

    /// Whether the object comes to its end, whatever follows on that.
    pub(super) fn is_closed(&self) -> bool {
        strict::members(self.0).is_some() || lenient::is_closed(self.0)
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
mod tests;
