//! Form encoding of secrets, in buffers that do not grow: one that does leaves a copy behind.

use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// One value, form-encoded (RFC 6749 appendix B).
pub(super) fn encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(longest("", text)));
    encoded.extend(byte_serialize(text.as_bytes()));
    encoded
}

/// The room for `&name=value` with every byte escaped.
pub(super) fn longest(name: &str, value: &str) -> usize {
    3 * (name.len() + value.len()) + 2
}
