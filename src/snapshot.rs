//! The snapshot that readers find: the access token as callers get it, with its header ready made, and until when nothing has
//! to be decided. The snapshot never decides anything itself.
//!
//! A token and a header value are reference-counted, and cloning one writes the count: two threads that clone one header are
//! slower than one thread. So each thread has a copy of its own, whose counts share no cache line with another copy's. The
//! first thread has the copy that is made with the token; a copy for another thread is made when that thread asks. All copies
//! use one zeroizing buffer, which holds the token once.

use std::cell::Cell;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use http::HeaderValue;

use crate::clock::Coarse;
use crate::error::Error;
use crate::token::{AccessToken, PairId};

/// The most copies of a token. Copies are useful up to the number of processors; past 16 they cost more than they save.
const COPIES_LIMIT: usize = 16;

/// An access token as the manager served it, with the id of its pair, by which it can be rejected.
///
/// Cloning is cheap. Its `Debug` form shows the id of the pair, and not a secret.
#[derive(Clone)]
pub struct Token {
    copy: Arc<Copy>,
}

/// One thread's copy of a token. The alignment keeps its reference count, which `Arc` puts before it, on a cache line that
/// holds nothing of another copy.
#[repr(align(64))]
struct Copy {
    origin: Arc<Origin>,
    /// `None` if the token holds characters that no header may carry.
    header: Option<HeaderValue>,
}

/// What all copies of a token share.
struct Origin {
    access: AccessToken,
    pair_id: PairId,
    /// Whether an API has accepted the token.
    accepted: AtomicBool,
}

impl Token {
    /// The token's text. Keep the text out of logs and errors.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.copy.origin.access.expose()
    }

    /// The id of the pair that the token belongs to.
    #[must_use]
    pub fn pair_id(&self) -> PairId {
        self.copy.origin.pair_id
    }

    /// The value of the header that carries the token, marked sensitive: `Bearer ...` (RFC 6750 section 2.1) unless another
    /// header was chosen. The call does not allocate.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHeader`] if the token holds characters that no header may carry.
    pub fn authorization(&self) -> Result<HeaderValue, Error> {
        self.copy.header.clone().ok_or(Error::InvalidHeader)
    }

    pub(crate) fn accepted(&self) -> bool {
        self.copy.origin.accepted.load(Ordering::Relaxed)
    }

    /// Notes that an API accepted the token.
    pub(crate) fn accept(&self) {
        self.copy.origin.accepted.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("pair_id", &self.pair_id())
            .finish_non_exhaustive()
    }
}

/// A token with its copies, one for each thread that asks. Readers find all that they need behind one pointer: until when
/// nothing has to be decided, and their copy.
#[derive(Debug)]
pub(crate) struct Copies {
    quiet_until: Limit,
    /// The number of the thread that the first copy is for; [`UNCLAIMED`] until one asks.
    first_for: AtomicUsize,
    first: Ready,
    /// The copies for the other threads. Their number is a power of two.
    others: OnceLock<Box<[OnceLock<Ready>]>>,
}

const UNCLAIMED: usize = usize::MAX;

/// Until when a token is quiet, by two clocks. A reader may see one clock's limit from before a change and the other's from
/// after it. Both limits move in the same direction, so a token that is quiet by such a mix is quiet by the limits before the
/// change, or by those after it.
#[derive(Debug)]
struct Limit {
    monotonic: AtomicI64,
    wall: AtomicI64,
}

/// A copy, with its header one pointer nearer.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) header: Option<HeaderValue>,
    pub(crate) token: Token,
}

impl Ready {
    /// A copy of the token, with counts of its own.
    fn new(origin: Arc<Origin>) -> Self {
        let header = header(&origin.access);
        let copy = Arc::new(Copy {
            origin,
            header: header.clone(),
        });
        let token = Token { copy };
        Self { header, token }
    }
}

impl Copies {
    /// `access` becomes a part of the header's buffer: see [`access`](Self::access).
    pub(crate) fn new(access: &AccessToken, pair_id: PairId, prefix: &str) -> Arc<Self> {
        let origin = Arc::new(Origin {
            access: access.behind(prefix),
            pair_id,
            accepted: AtomicBool::new(false),
        });
        Arc::new(Self {
            quiet_until: Limit {
                monotonic: AtomicI64::new(Coarse::PAST.monotonic),
                wall: AtomicI64::new(Coarse::PAST.wall),
            },
            first_for: AtomicUsize::new(UNCLAIMED),
            first: Ready::new(origin),
            others: OnceLock::new(),
        })
    }

    /// Sets until when nothing has to be decided.
    pub(crate) fn set_quiet_until(&self, limit: Coarse) {
        let Limit { monotonic, wall } = &self.quiet_until;
        monotonic.store(limit.monotonic, Ordering::Release);
        wall.store(limit.wall, Ordering::Release);
    }

    /// Whether nothing has to be decided.
    #[inline]
    pub(crate) fn is_quiet(&self, now: Coarse) -> bool {
        now.is_before(Coarse {
            monotonic: self.quiet_until.monotonic.load(Ordering::Acquire),
            wall: self.quiet_until.wall.load(Ordering::Acquire),
        })
    }

    /// The token, for code that does not serve it.
    pub(crate) fn token(&self) -> &Token {
        &self.first.token
    }

    /// The token's text, in the one buffer that holds it.
    pub(crate) fn access(&self) -> AccessToken {
        self.token().copy.origin.access.clone()
    }

    /// The copy for this thread.
    #[inline]
    pub(crate) fn mine(&self) -> &Ready {
        let mine = thread_number();
        if self.first_for.load(Ordering::Relaxed) == mine {
            return &self.first;
        }
        let others = self.others.get();
        // Several threads share a copy where there are more threads than copies.
        let ready = others.and_then(|others| others[mine & (others.len() - 1)].get());
        ready.unwrap_or_else(|| self.made(mine))
    }

    /// The first copy, if no thread has asked for one yet; otherwise a new copy.
    #[cold]
    fn made(&self, mine: usize) -> &Ready {
        let Self {
            first_for,
            first,
            others,
            ..
        } = self;
        let claimed =
            first_for.compare_exchange(UNCLAIMED, mine, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_ok() {
            return first;
        }
        let others = others.get_or_init(|| (0..copies()).map(|_| OnceLock::new()).collect());
        others[mine & (others.len() - 1)]
            .get_or_init(|| Ready::new(Arc::clone(&first.token.copy.origin)))
    }
}

fn copies() -> usize {
    static COPIES: LazyLock<usize> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        processors.next_power_of_two().min(COPIES_LIMIT)
    });
    *COPIES
}

/// The owner of the shared buffer for one header. The alignment gives the header's reference count, which `Bytes` puts before
/// the owner, a cache line of its own.
#[repr(align(64))]
struct Buffer(AccessToken);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.0.whole().as_bytes()
    }
}

/// A header that uses the buffer of which the token is a part.
fn header(access: &AccessToken) -> Option<HeaderValue> {
    let bytes = Bytes::from_owner(Buffer(access.clone()));
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The number of this thread. Numbers are given out in turn.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(UNCLAIMED) };
    }
    MINE.with(|mine| {
        if mine.get() == UNCLAIMED {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenFamily;

    fn copies(text: &str) -> Arc<Copies> {
        let pair_id = PairId {
            family: TokenFamily::from_bits(1),
            version: 1,
        };
        Copies::new(&text.into(), pair_id, "Bearer ")
    }

    #[test]
    fn the_header_is_sensitive_and_debug_shows_no_secret() -> Result<(), Error> {
        let copies = copies("sesame");
        let value = copies.token().authorization()?;
        assert_eq!(value, "Bearer sesame");
        assert!(value.is_sensitive());
        assert!(!format!("{copies:?} {value:?}").contains("sesame"));
        Ok(())
    }

    #[test]
    fn a_token_that_no_header_may_carry_is_a_typed_error() {
        let copies = copies("two\nlines");
        assert!(matches!(
            copies.token().authorization(),
            Err(Error::InvalidHeader)
        ));
        assert!(copies.mine().header.is_none());
    }

    #[test]
    fn the_token_its_text_and_all_its_headers_are_in_one_buffer() {
        let copies = copies("sesame");
        let text = copies.access().expose().as_ptr();
        let buffer = |token: &Token| token.authorization().map(|value| value.as_bytes().as_ptr());
        let here = buffer(&copies.mine().token);
        let elsewhere = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let token = &copies.mine().token;
                assert_eq!(token.expose(), "sesame");
                buffer(token).map(|at| at.addr())
            });
            other.join().unwrap()
        });
        assert_eq!(copies.token().expose().as_ptr(), text);
        assert_eq!(here.unwrap().addr() + "Bearer ".len(), text.addr());
        assert_eq!(elsewhere.unwrap() + "Bearer ".len(), text.addr());
    }

    #[test]
    fn a_second_thread_gets_a_copy_of_its_own_and_the_first_keeps_its() {
        let copies = copies("sesame");
        let first = Arc::as_ptr(&copies.mine().token.copy).addr();
        assert!(copies.others.get().is_none(), "one thread needs one copy");
        let second = std::thread::scope(|scope| {
            let other = scope.spawn(|| Arc::as_ptr(&copies.mine().token.copy).addr());
            other.join().unwrap()
        });
        assert_ne!(first, second);
        assert_eq!(Arc::as_ptr(&copies.mine().token.copy).addr(), first);
        copies.mine().token.accept();
        assert!(
            copies.token().accepted(),
            "what is known of one is known of all"
        );
    }
}
