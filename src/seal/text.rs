//! Sealing keys as text.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::keys::KEY;

/// The length of a key in base64, without padding.
const BASE64: usize = 43;

/// The problem of a line that is not a key.
pub(super) const NO_KEY: &str = "is not a key; write 32 random bytes there in base64 or in hexadecimal digits, as \
                                 `openssl rand -base64 32` prints them, or begin a comment with `#`";

/// The problem of a line with a key that no random source gives.
pub(super) const NOT_RANDOM: &str = "is not a random key; make one by `openssl rand -base64 32`";

/// The problem of a text without a key.
pub(super) const EMPTY: &str =
    "there is no key; write one key a line, as `openssl rand -base64 32` prints it";

/// The lines with a key, each with its number from 1. `None` where the line is not a key.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, Option<Zeroizing<[u8; KEY]>>)> {
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| (number, key(line)))
}

/// A key from its text.
fn key(text: &str) -> Option<Zeroizing<[u8; KEY]>> {
    if text.len() == 2 * KEY {
        return of_digits(text.as_bytes());
    }
    let text = match text.strip_suffix('=') {
        Some(text) if text.len() == BASE64 => text,
        _ => text,
    };
    if text.len() != BASE64 {
        return None;
    }
    // The decoder asks for room for the longest that so many characters could be.
    let mut bytes = Zeroizing::new([0; KEY + 1]);
    let length = [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD]
        .iter()
        .find_map(|base64| base64.decode_slice(text, &mut *bytes).ok());
    let mut key = Zeroizing::new([0; KEY]);
    key.copy_from_slice(bytes.get(..length?)?.first_chunk::<KEY>()?);
    Some(key)
}

fn of_digits(digits: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    let mut key = Zeroizing::new([0; KEY]);
    for (byte, two) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(two[0])? << 4 | digit(two[1])?;
    }
    Some(key)
}
