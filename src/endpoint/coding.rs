//! Decodes a body that came compressed, though none was asked for (RFC 9110 section 8.4). What was read is kept where the
//! rest cannot be decoded: a whole pair must not be lost for its wrapping.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zeroize::Zeroizing;

use super::transport::Broken;

/// What gzip begins with (RFC 1952 section 2.3.1). No JSON and no form begins so.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How many bytes are decoded at once.
const STEP: usize = 64;

/// The decoded body, of so many bytes at most, and why it is not all; `None` if it is not compressed in a way that is known
/// here.
pub(super) fn decoded(
    headers: &HeaderMap,
    body: &[u8],
    limit: usize,
) -> Option<(Zeroizing<Vec<u8>>, Option<Broken>)> {
    let names = |coding: &str| {
        let value = headers.get(CONTENT_ENCODING);
        value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(coding.as_bytes()))
    };
    if body.starts_with(&GZIP) {
        return Some(read(GzDecoder::new(body), limit));
    }
    // The name is in some headers, and the body is what it always is.
    let is_text = body
        .iter()
        .take(16)
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if is_text || !names("deflate") {
        return None;
    }
    // Some servers leave the frame out that RFC 1950 puts around it.
    let framed = read(ZlibDecoder::new(body), limit);
    match framed.0.is_empty() {
        true => Some(read(DeflateDecoder::new(body), limit)),
        false => Some(framed),
    }
}

fn read(mut decoder: impl Read, limit: usize) -> (Zeroizing<Vec<u8>>, Option<Broken>) {
    // Whole from the start: a buffer that grows leaves a copy of the tokens behind. One byte more shows that there is more.
    let mut decoded = Zeroizing::new(vec![0; limit + 1]);
    let mut length = 0;
    let broken = loop {
        // What a call has written is not counted if it fails.
        let end = decoded.len().min(length + STEP);
        match decoder.read(&mut decoded[length..end]) {
            Ok(0) if length > limit => break Some(Broken::TooLong { limit }),
            Ok(0) => break None,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(Broken::Garbled(error)),
        }
    };
    decoded.truncate(length.min(limit));
    (decoded, broken)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    const PAIR: &[u8] = br#"{"access_token":"a2","refresh_token":"r2"}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_decoded_if_it_is_compressed_whatever_its_header_says() {
        let mut headers = HeaderMap::new();
        let (body, broken) = decoded(&headers, &gzip(PAIR), 100).unwrap();
        assert_eq!((&body[..], broken.is_none()), (PAIR, true));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let (body, broken) = decoded(&headers, &gzip(PAIR), PAIR.len()).unwrap();
        assert_eq!((&body[..], broken.is_none()), (PAIR, true));
        assert!(decoded(&headers, PAIR, 100).is_none());
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("Deflate"));
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(PAIR).unwrap();
        let (body, broken) = decoded(&headers, &encoder.finish().unwrap(), 100).unwrap();
        assert_eq!((&body[..], broken.is_none()), (PAIR, true));
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(PAIR).unwrap();
        let (body, broken) = decoded(&headers, &encoder.finish().unwrap(), 100).unwrap();
        assert_eq!((&body[..], broken.is_none()), (PAIR, true));
        assert!(
            decoded(&headers, PAIR, 100).is_none(),
            "it is not compressed"
        );
    }

    #[test]
    fn what_follows_on_a_compressed_body_is_none_of_it() {
        let body = [&gzip(PAIR)[..], b"\n\0\0"].concat();
        let (body, broken) = decoded(&HeaderMap::new(), &body, 100).unwrap();
        assert_eq!((&body[..], broken.is_none()), (PAIR, true));
    }

    #[test]
    fn what_breaks_off_or_is_too_long_is_kept_as_far_as_it_goes() {
        let headers = HeaderMap::new();
        let whole = gzip(PAIR);
        let (body, broken) = decoded(&headers, &whole[..whole.len() - 8], 100).unwrap();
        assert!(matches!(broken, Some(Broken::Garbled(_))), "{broken:?}");
        assert_eq!(&body[..], PAIR);
        let (body, broken) = decoded(&headers, &gzip(&[b'x'; 1_000]), 10).unwrap();
        assert_eq!(&body[..], b"xxxxxxxxxx");
        assert!(matches!(broken, Some(Broken::TooLong { limit: 10 })));
    }
}
