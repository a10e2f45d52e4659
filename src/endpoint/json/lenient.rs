//! A scanner that splits what a parser refuses, as far as the parts can be distinguished. The scanner builds no tree, does
//! not recurse, and hands out only what it has read to its end: half a token is worse than no token.
//!
//! Only [`Scanner::byte`] advances: it takes a byte or reports the end. Each turn of each loop below calls
//! [`Scanner::byte`], directly or through another function. So each loop ends, and no byte is read twice.

#[cfg(any(test, fuzzing))]
use std::cell::Cell;
use std::iter;

#[cfg(any(test, fuzzing))]
thread_local! {
    /// The number of bytes that scanners have taken on this thread.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// How many bytes scanners take during `work`, and the result of `work`. A test holds the scanner to a number of bytes,
/// because a test that measured time would fail on a busy machine.
#[cfg(any(test, fuzzing))]
pub(in crate::endpoint) fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = TAKEN.get();
    let done = work();
    (TAKEN.get() - before, done)
}

/// The bytes that have not been read.
struct Scanner<'a>(&'a [u8]);

/// Names and values of the object with which `object` begins, each value with its quotes or brackets.
///
/// The scanner passes over text that is neither a name nor a value, such as a stray bracket, and finds the members after
/// it. The members of a second object that follows do not count, because they are in brackets.
pub(super) fn members(object: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut scanner = Scanner(object.strip_prefix(b"{").unwrap_or_default());
    iter::from_fn(|| scanner.member()).collect()
}

/// Whether the object with which `object` begins is complete.
pub(super) fn is_closed(object: &[u8]) -> bool {
    let mut scanner = Scanner(object.strip_prefix(b"{").unwrap_or_default());
    scanner.end_of_nest().is_some()
}

/// The values of the array with which `array` begins.
pub(super) fn elements(array: &[u8]) -> Vec<&[u8]> {
    let mut scanner = Scanner(array.strip_prefix(b"[").unwrap_or_default());
    iter::from_fn(|| scanner.element()).collect()
}

impl<'a> Scanner<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        #[cfg(any(test, fuzzing))]
        TAKEN.set(TAKEN.get() + 1);
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
