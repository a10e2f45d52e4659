//! The best known ways, written by hand, to keep a fresh header and nothing else.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use evertoken::clock::{Clock, Coarse, SystemClock};
use http::HeaderValue;
use tokio::sync::Mutex;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn header(token: &str) -> HeaderValue {
    let bytes = Bytes::from(format!("Bearer {token}"));
    let mut header = HeaderValue::from_maybe_shared(bytes).expect("ASCII");
    header.set_sensitive(true);
    header
}

fn limit() -> Coarse {
    SystemClock.coarse() + HOUR
}

/// A session: a ready header and its expiry, the token to refresh it with, and a lock for the task that refreshes it.
#[derive(Debug)]
pub(crate) struct Session {
    current: ArcSwap<Current>,
    refreshing: Mutex<()>,
}

#[derive(Debug)]
struct Current {
    header: HeaderValue,
    limit: Coarse,
    refresh: String,
}

impl Current {
    fn new(access: &str, refresh: String) -> Self {
        Self {
            header: header(access),
            limit: limit(),
            refresh,
        }
    }
}

impl Session {
    pub(crate) fn new(access: &str, refresh: String) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(Current::new(access, refresh)),
            refreshing: Mutex::new(()),
        })
    }

    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let current = self.current.load();
        let is_fresh = SystemClock.coarse().is_before(current.limit);
        is_fresh.then(|| current.header.clone())
    }

    /// The work of a refresh without a server.
    pub(crate) async fn refresh(&self, access: &str, refresh: impl FnOnce(&str) -> String) {
        let _turn = self.refreshing.lock().await;
        let refresh = refresh(&self.current.load().refresh);
        let current = Current::new(access, refresh);
        self.current.store(Arc::new(current));
    }
}

/// One value for all threads: a header, or a shared text.
pub(crate) struct Floor<T> {
    current: ArcSwap<(T, Coarse)>,
}

impl<T: Clone> Floor<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            current: ArcSwap::from_pointee((value, limit())),
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<T> {
        self.part(T::clone)
    }

    #[inline]
    fn part<U>(&self, of: impl FnOnce(&T) -> U) -> Option<U> {
        let current = self.current.load();
        let is_fresh = SystemClock.coarse().is_before(current.1);
        is_fresh.then(|| of(&current.0))
    }
}

/// The number of copies.
const STRIPES: usize = 16;

/// A header for each thread, over its own buffer.
pub(crate) struct Striped(Floor<[HeaderValue; STRIPES]>);

impl Striped {
    pub(crate) fn new(token: &str) -> Self {
        Self(Floor::new(std::array::from_fn(|_| header(token))))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<HeaderValue> {
        self.0.part(|headers| headers[mine()].clone())
    }
}

/// The copy of this thread.
fn mine() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        mine.get()
    })
}
