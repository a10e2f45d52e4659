//! Splits what a parser refuses, as far as its parts can be told apart. It builds no tree, does not recurse, and hands
//! out nothing that was not read to its end: half a token is worse than no token.
//!
//! Only [`Scanner::byte`] moves on, and it takes a byte or reports the end. Every turn of every loop below calls it, or
//! a function that does; so each loop ends, and reads no byte twice.

use std::iter;

/// What has not been read.
struct Scanner<'a>(&'a [u8]);

/// Names and values of the object that `object` begins with, each value with its quotes or brackets.
///
/// What is neither a name nor a value is passed over, a stray bracket among it: the members behind it are found. The
/// members of another object that follows are not, since they are in brackets.
pub(super) fn members(object: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut scanner = Scanner(object.strip_prefix(b"{").unwrap_or_default());
    iter::from_fn(|| scanner.member()).collect()
}

/// Whether the object that `object` begins with comes to its end.
pub(super) fn is_closed(object: &[u8]) -> bool {
    let mut scanner = Scanner(object.strip_prefix(b"{").unwrap_or_default());
    scanner.end_of_nest().is_some()
}

/// The values of the array that `array` begins with.
pub(super) fn elements(array: &[u8]) -> Vec<&[u8]> {
    let mut scanner = Scanner(array.strip_prefix(b"[").unwrap_or_default());
    iter::from_fn(|| scanner.element()).collect()
}

impl<'a> Scanner<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        #[cfg(any(test, fuzzing))]
        super::steps::count();
        Some(*byte)
    }

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

    /// A value with its quotes or brackets; `None` if its end is not there.
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

    /// Reads on behind the quote that closes a text.
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

    /// Reads on behind the bracket that closes an object or an array, of whichever kind it is.
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

    /// Whether a value, and not its end or that of what it is in, comes next.
    fn is_at_value(&self) -> bool {
        self.0.first().is_some_and(|byte| !b",}]".contains(byte))
    }

    /// What was read of `from`, which is what had not been read then.
    fn since(&self, from: &'a [u8]) -> &'a [u8] {
        &from[..from.len() - self.0.len()]
    }
}
