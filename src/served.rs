//! The access token as callers get it, with its header ready made. It never decides anything.
//!
//! A header value is a reference-counted buffer, and cloning it writes the count: two threads that
//! clone one header are slower than one. So there is a copy for each processor, each with its count
//! on a cache line of its own, over one zeroizing buffer that holds the token once.

use std::cell::Cell;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::Coarse;
use crate::error::Error;
use crate::token::{AccessToken, Identity};

/// Copies of a header are useful up to the number of processors; past 16 they cost more than they save.
const STRIPES_LIMIT: usize = 16;

/// An access token as the manager served it, with the identity by which it can be rejected.
///
/// Cloning is cheap. Its `Debug` form shows the identity and no secret.
#[derive(Clone)]
pub struct Token {
    inner: Arc<Inner>,
}

struct Inner {
    access: AccessToken,
    identity: Identity,
    /// `None` if the token holds characters that no header may carry.
    headers: Option<Stripes>,
    /// Whether an API is known to have accepted it.
    accepted: AtomicBool,
}

impl Token {
    pub(crate) fn new(access: AccessToken, identity: Identity, prefix: &str) -> Self {
        let headers = headers(&access, prefix);
        Self {
            inner: Arc::new(Inner {
                access,
                identity,
                headers,
                accepted: AtomicBool::new(false),
            }),
        }
    }

    /// The token itself. Keep it out of logs and errors.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.inner.access.expose()
    }

    /// Which pair it belongs to.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// The value of the header that carries it, marked sensitive; `Bearer ...` (RFC 6750 section 2.1)
    /// unless another header was chosen. Allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHeader`] if the token holds characters that no header may carry.
    pub fn authorization(&self) -> Result<HeaderValue, Error> {
        self.inner
            .headers
            .as_ref()
            .map(Stripes::mine)
            .ok_or(Error::InvalidHeader)
    }

    pub(crate) fn accepted(&self) -> bool {
        self.inner.accepted.load(Ordering::Relaxed)
    }

    /// An API accepted it.
    pub(crate) fn accept(&self) {
        // Looks first: a write for every response would have all threads fight for the line.
        if !self.accepted() {
            self.inner.accepted.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("identity", &self.inner.identity)
            .finish_non_exhaustive()
    }
}

/// What a reader of a quiet token needs: one load, one comparison.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Until then nothing has to be decided.
    pub(crate) quiet_until: Coarse,
    /// The token's own, one step nearer.
    headers: Option<Stripes>,
    token: Token,
}

impl Snapshot {
    pub(crate) fn new(token: Token, quiet_until: Coarse) -> Self {
        Self {
            quiet_until,
            headers: token.inner.headers.clone(),
            token,
        }
    }

    #[inline]
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// `None` if no header may carry the token.
    #[inline]
    pub(crate) fn headers(&self) -> Option<&Stripes> {
        self.headers.as_ref()
    }
}

/// Copies of one header, as many as a power of two.
#[derive(Debug, Clone)]
pub(crate) struct Stripes(Arc<[HeaderValue]>);

impl Stripes {
    /// The copy for this thread.
    #[inline]
    pub(crate) fn mine(&self) -> HeaderValue {
        self.0[stripe() & (self.0.len() - 1)].clone()
    }
}

/// One copy's owner of the shared buffer. The alignment gives the copy's reference count, which `Bytes`
/// puts before the owner, a cache line (two, for the processors that fetch pairs) of its own.
#[repr(align(128))]
struct Copy(Arc<Zeroizing<Vec<u8>>>);

impl AsRef<[u8]> for Copy {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn headers(access: &AccessToken, prefix: &str) -> Option<Stripes> {
    static STRIPES: LazyLock<usize> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        processors.next_power_of_two().min(STRIPES_LIMIT)
    });
    // Sized first: growing would leave copies of the token behind.
    let mut text = Zeroizing::new(Vec::with_capacity(prefix.len() + access.expose().len()));
    text.extend_from_slice(prefix.as_bytes());
    text.extend_from_slice(access.expose().as_bytes());
    let text = Arc::new(text);
    (0..*STRIPES)
        .map(|_| {
            let mut value =
                HeaderValue::from_maybe_shared(Bytes::from_owner(Copy(Arc::clone(&text)))).ok()?;
            value.set_sensitive(true);
            Some(value)
        })
        .collect::<Option<_>>()
        .map(Stripes)
}

/// The thread's number, dealt out in turn.
#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Lineage;

    fn token(text: &str) -> Token {
        let identity = Identity {
            lineage: Lineage::from_bits(1),
            version: 1,
        };
        Token::new(text.into(), identity, "Bearer ")
    }

    #[test]
    fn the_header_is_sensitive_and_debug_shows_no_secret() -> Result<(), Error> {
        let token = token("sesame");
        let value = token.authorization()?;
        assert_eq!(value, "Bearer sesame");
        assert!(value.is_sensitive());
        assert!(!format!("{token:?} {value:?}").contains("sesame"));
        Ok(())
    }

    #[test]
    fn a_token_that_no_header_may_carry_is_a_typed_error() {
        assert!(matches!(
            token("two\nlines").authorization(),
            Err(Error::InvalidHeader)
        ));
    }
}
