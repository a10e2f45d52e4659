//! An answer of a token endpoint: what was read of it, and what it proves about a grant that it does not accept.
//!
//! This module decides nothing from a body; the endpoints do. A body that came compressed is decoded here, although no
//! request asks for that (RFC 9110 section 8.4). An answer that broke off, or that cannot be decoded to its end, keeps
//! what arrived: a whole pair must not be lost for the bytes around it.

use std::io::{self, Read};
use std::mem;
use std::time::Duration;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode, Version};
use reqwest::Response;
use zeroize::Zeroizing;

use super::EndpointError;
use super::quote::{Quote, Secrets, cut};
use super::time::{retry_after, server_time};
use crate::clock::{Clock, Deadline, SystemClock};

/// The number of bytes of a content type that an error holds.
const CONTENT_TYPE_LIMIT: usize = 100;

/// The first bytes of gzip (RFC 1952 section 2.3.1). Neither JSON nor a form begins with them.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The number of bytes that one step decodes.
const STEP: usize = 64;

/// An answer, as far as it was read.
#[cfg_attr(
    not(feature = "folio"),
    allow(
        dead_code,
        reason = "only FOLIO's endpoint reads `headers` of an answer"
    )
)]
pub(crate) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The server's clock, since the Unix epoch.
    pub(super) date: Option<Duration>,
    /// The wait that the server asks for.
    pub(super) retry_after: Option<Duration>,
    /// The wall clock of this machine when the answer was read.
    pub(super) read_at: Duration,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Why the body is not complete.
    pub(super) broken: Option<Broken>,
    /// Whether the answer states where its body ends. Otherwise the body ends with the connection, and a connection that
    /// broke looks the same.
    pub(super) is_delimited: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the body is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the answer broke off")]
    Cut(#[source] reqwest::Error),
    #[error("the answer was not complete in time")]
    Late(#[source] TimedOut),
    #[error("the answer is compressed and cannot be decompressed")]
    Garbled(#[source] io::Error),
}

#[derive(Debug, thiserror::Error)]
#[error("the timeout of {} s has passed", .0.as_secs_f64())]
pub(crate) struct TimedOut(pub(super) Duration);

/// An answer that proves nothing about the token.
#[derive(Debug, thiserror::Error)]
#[error("{missing}: {quote}")]
struct Unclear {
    missing: &'static str,
    quote: Quote,
    source: Option<Broken>,
}

impl Reply {
    /// An answer that was read at `wall`.
    pub(super) fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
        broken: Option<Broken>,
        wall: Duration,
    ) -> Self {
        Self {
            status,
            date: server_time(&headers),
            retry_after: retry_after(&headers, wall),
            headers,
            read_at: wall,
            body,
            broken,
            is_delimited: true,
        }
    }

    /// Reads up to `limit` bytes of an answer whose head has arrived, within what is left of `deadline`.
    pub(super) async fn read(
        mut response: Response,
        mut deadline: Deadline,
        timeout: Duration,
        limit: usize,
    ) -> Self {
        let (status, headers) = (response.status(), mem::take(response.headers_mut()));
        let mut is_delimited = response.version() > Version::HTTP_11
            || headers.contains_key(CONTENT_LENGTH)
            || headers.contains_key(TRANSFER_ENCODING);
        // The buffer has its final size from the start: a buffer that grows leaves a copy of the tokens behind.
        let mut body = Zeroizing::new(Vec::with_capacity(limit));
        let broken = loop {
            // Cancelling this future loses no bytes.
            match deadline.wait_for(response.chunk()).await {
                Some(Ok(Some(chunk))) => {
                    let room = limit - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        break Some(Broken::TooLong { limit });
                    }
                }
                Some(Ok(None)) => break None,
                Some(Err(error)) => break Some(Broken::Cut(error.without_url())),
                None if deadline.renew() => {}
                None => break Some(Broken::Late(TimedOut(timeout))),
            }
        };
        let (body, broken) = match decoded(&headers, &body, limit) {
            None => (body, broken),
            // A compressed body states where it ends.
            Some((decoded, None)) => {
                is_delimited = true;
                (decoded, None)
            }
            Some((decoded, garbled)) => (decoded, broken.or(garbled)),
        };
        Self {
            is_delimited,
            ..Self::new(status, headers, body, broken, SystemClock.wall())
        }
    }

    /// Whether the body is known to be complete.
    pub(super) fn is_whole(&self) -> bool {
        self.broken.is_none() && self.is_delimited
    }

    /// The error of an answer that neither issued a pair nor rejected the grant. `is_later` is whether the answer asks to be
    /// called later, `has_code` whether it holds an error code of the server, and `missing` a sentence for an answer that
    /// proves nothing.
    pub(super) fn not_done(
        self,
        is_later: bool,
        has_code: bool,
        quote: Quote,
        missing: &'static str,
    ) -> EndpointError {
        let may_refuse = self.status.is_client_error() || self.status.is_success();
        let error = match EndpointError::by_status(self.status) {
            _ if is_later => EndpointError::later(None),
            Some(EndpointError::Page { .. }) | None if has_code && may_refuse => {
                EndpointError::refused("")
            }
            Some(error) => error,
            None => return self.unclear(quote, missing),
        };
        error.with_quote(quote)
    }

    /// The error of an answer that proves nothing.
    pub(super) fn unclear(self, quote: Quote, missing: &'static str) -> EndpointError {
        let unclear = Unclear {
            missing,
            quote: quote.clone(),
            source: self.broken,
        };
        EndpointError::unknown(unclear).with_quote(quote)
    }

    /// The quote of an answer: its error code and description, or else the first words of a page. The status replaces a
    /// code that must not be quoted.
    pub(super) fn quote(
        &self,
        code: Option<&str>,
        description: Option<&str>,
        secrets: &Secrets,
    ) -> Quote {
        let quote = Quote {
            retry_after: self.retry_after,
            ..Quote::status(self.status.as_u16())
        };
        if let Some(code) = code {
            let code = secrets.redact(code);
            return Quote {
                code: code.or_else(|| Some(self.status.as_str().to_owned())),
                description: description.and_then(|text| secrets.redact(text)),
                ..quote
            };
        }
        let header = |name: HeaderName| self.headers.get(name)?.to_str().ok();
        // A success may hold an unknown token; a page does not.
        let is_page = self.body.trim_ascii_start().starts_with(b"<");
        let start = secrets.first_words(&self.body);
        let content_type = header(CONTENT_TYPE).and_then(|text| secrets.redact(text));
        let location = header(LOCATION).and_then(|text| secrets.target(text));
        Quote {
            content_type: content_type.map(|text| cut(&text, CONTENT_TYPE_LIMIT).to_owned()),
            start: start.filter(|_| is_page || !self.status.is_success()),
            location: location.filter(|_| self.status.is_redirection()),
            ..quote
        }
    }
}

/// The decoded body, of at most `limit` bytes, and why the body is not complete. `None` if the body is not compressed, or
/// in an unknown way.
fn decoded(
    headers: &HeaderMap,
    body: &[u8],
    limit: usize,
) -> Option<(Zeroizing<Vec<u8>>, Option<Broken>)> {
    if body.starts_with(&GZIP) {
        return Some(decode(GzDecoder::new(body), limit));
    }
    // Some servers name the coding of a body that is plain text.
    let is_text = body
        .iter()
        .take(16)
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let coding = headers.get(CONTENT_ENCODING);
    let is_deflate = coding.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"deflate"));
    if is_text || !is_deflate {
        return None;
    }
    // Some servers omit the frame of RFC 1950.
    let framed = decode(ZlibDecoder::new(body), limit);
    match framed.0.is_empty() {
        true => Some(decode(DeflateDecoder::new(body), limit)),
        false => Some(framed),
    }
}

fn decode(mut decoder: impl Read, limit: usize) -> (Zeroizing<Vec<u8>>, Option<Broken>) {
    // The buffer has its final size from the start: a buffer that grows leaves a copy of the tokens behind. One byte more
    // shows that the body goes on.
    let mut decoded = Zeroizing::new(vec![0; limit + 1]);
    let mut length = 0;
    let broken = loop {
        // A failed call does not count the bytes that it has written.
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
    fn a_compressed_body_is_decoded_whatever_its_header_says() {
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
            "the body is not compressed"
        );
    }

    #[test]
    fn bytes_after_a_compressed_body_do_not_belong_to_it() {
        let body = [&gzip(PAIR)[..], b"\n\0\0"].concat();
        let (body, broken) = decoded(&HeaderMap::new(), &body, 100).unwrap();
        assert_eq!((&body[..], broken.is_none()), (PAIR, true));
    }

    #[test]
    fn a_compressed_body_that_breaks_off_or_is_too_long_is_kept_as_far_as_it_goes() {
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
