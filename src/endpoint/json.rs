//! Reads the members of a JSON object, whatever else is wrong with the document. The reader hands out only what it has
//! read to its end, and nothing in it is recursive.
//!
//! A parser refuses a whole document for one flaw: a number that is too large, a `NaN`, a raw line break, or a missing comma
//! in a field without a use here. The rest of the document would be lost: the new refresh token, say, while the old one is
//! spent. So a scanner splits the document, and passes over such flaws. The scanner builds no tree, does not recurse, and
//! only finds where names and values begin and end, in the buffer into which the answer was read. It splits a valid document
//! as a parser does.
//!
//! This module resolves escapes, because a parser would unescape into its own buffers, which are not zeroized, and tokens
//! with `\/` in them are common. A text with a wrong escape is lost, and no other text with it.
//!
//! Only [`Scanner::byte`] advances: it takes a byte or reports the end. Each turn of each loop of the scanner calls
//! [`Scanner::byte`], directly or through another function. So each loop ends, and no byte is read twice.

#[cfg(any(test, fuzzing))]
use std::cell::Cell;
use std::iter;
use std::str::{self, Chars};

use zeroize::Zeroizing;

/// A member's value.
pub(super) enum Value<'a> {
    Text(Zeroizing<String>),
    /// A number, `true`, `null`, or any other text without quotes.
    Bare(&'a str),
    Array(Elements<'a>),
    Object(Members<'a>),
    /// A text with a wrong escape, or one that is not UTF-8.
    Other,
}

/// The text of an object behind its first bracket. An iteration finds the members, repeated names included.
///
/// The members of a second object that follows do not count, because they are in brackets.
pub(super) struct Members<'a>(&'a [u8]);

/// The text of an array behind its first bracket. An iteration finds the elements.
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Members<'a> {
    /// The members of the object with which `text` begins, after a byte order mark; `None` if `text` begins otherwise.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        text.trim_ascii_start().strip_prefix(b"{").map(Self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Zeroizing<String>, Value<'a>)> + use<'a> {
        let mut scanner = Scanner(self.0);
        let members = iter::from_fn(move || scanner.member());
        members.map(|(name, value)| match Value::of(name) {
            Value::Text(name) => (name, Value::of(value)),
            _ => (Zeroizing::default(), Value::of(value)),
        })
    }

    /// Whether the object is complete, whatever follows it.
    pub(super) fn is_closed(&self) -> bool {
        Scanner(self.0).end_of_nest().is_some()
    }
}

impl<'a> Elements<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut scanner = Scanner(self.0);
        iter::from_fn(move || scanner.element()).map(Value::of)
    }
}

impl<'a> Value<'a> {
    fn of(raw: &'a [u8]) -> Self {
        match raw {
            [b'"', text @ .., b'"'] => unescaped(text).map_or(Self::Other, Self::Text),
            [b'{', inner @ ..] => Self::Object(Members(inner)),
            [b'[', inner @ ..] => Self::Array(Elements(inner)),
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

#[cfg(any(test, fuzzing))]
thread_local! {
    /// The number of bytes that scanners have taken on this thread.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// How many bytes scanners take during `work`, and the result of `work`. A test holds the scanner to a number of bytes,
/// because a test that measured time would fail on a busy machine.
#[cfg(any(test, fuzzing))]
pub(super) fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = TAKEN.get();
    let done = work();
    (TAKEN.get() - before, done)
}

/// The bytes that have not been read.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        #[cfg(any(test, fuzzing))]
        TAKEN.set(TAKEN.get() + 1);
        Some(*byte)
    }

    /// The name and the value of the next member, each with its quotes or brackets. The scanner passes over text that is
    /// neither a name nor a value, such as a stray bracket, and finds the members after it.
    fn member(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let mut name = None;
        loop {
            let from = self.0;
            match self.byte()? {
                b'"' => {
                    self.end_of_text()?;
                    name = Some(self.since(from));
                }
                b':' => {
                    self.skip_space();
                    if let Some(name) = name.take().filter(|_| self.is_at_value()) {
                        return Some((name, self.value()?));
                    }
                }
                b'{' | b'[' => {
                    self.end_of_nest()?;
                    name = None;
                }
                byte if byte.is_ascii_whitespace() => {}
                _ => name = None,
            }
        }
    }

    fn element(&mut self) -> Option<&'a [u8]> {
        loop {
            self.skip_space();
            match self.0.first()? {
                b']' => return None,
                b',' | b':' | b'}' => {
                    self.byte()?;
                }
                _ => return self.value(),
            }
        }
    }

    /// A value with its quotes or brackets; `None` if the value is not complete.
    fn value(&mut self) -> Option<&'a [u8]> {
        let from = self.0;
        match self.byte()? {
            b'"' => self.end_of_text()?,
            b'{' | b'[' => self.end_of_nest()?,
            _ => {
                while !b",}]".contains(self.0.first()?) {
                    self.byte()?;
                }
            }
        }
        Some(self.since(from))
    }

    /// Reads to the quote that closes a text.
    fn end_of_text(&mut self) -> Option<()> {
        loop {
            match self.byte()? {
                b'"' => return Some(()),
                b'\\' => {
                    self.byte()?;
                }
                _ => {}
            }
        }
    }

    /// Reads to the bracket that closes an object or an array. The kinds of brackets need not match.
    fn end_of_nest(&mut self) -> Option<()> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.byte()? {
                b'"' => self.end_of_text()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    fn skip_space(&mut self) {
        while self.0.first().is_some_and(u8::is_ascii_whitespace) {
            self.byte();
        }
    }

    /// Whether a value comes next, and not the end of the member or of the object.
    fn is_at_value(&self) -> bool {
        self.0.first().is_some_and(|byte| !b",}]".contains(byte))
    }

    /// The bytes between `from`, an earlier state of the scanner, and the current position.
    fn since(&self, from: &'a [u8]) -> &'a [u8] {
        &from[..from.len() - self.0.len()]
    }
}

#[cfg(test)]
mod tests;
