//! What a test scripts: the fault that a grant meets at a server, the answer to a call of an API, and the faults of calls of
//! a wrapper.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::clock::pass;

/// What goes wrong with one grant.
///
/// Faults differ in the fate of the refresh token, which the client cannot see. "Rotated" means that the token reaches the
/// server, which decides as it does without a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server answers with this status, and nothing is rotated.
    Status {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
        /// The `Retry-After` header, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Rotated at once, and answered this much later.
    Delay(Duration),
    /// Rotated this much later, and then answered: the request waited in a queue.
    DelayBefore(Duration),
    /// The connection is closed, and nothing is rotated.
    DropBefore,
    /// Rotated, then the connection is closed without an answer.
    DropAfter,
    /// Rotated, and the connection is closed in the middle of the answer's body.
    Truncate,
    /// Rotated, and answered with this body, in which `{access_token}` and `{refresh_token}` stand for the new tokens. A
    /// refusal stays as it is.
    Body {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
    },
}

impl Fault {
    /// The server answers with this status and an empty body, and nothing is rotated.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            body: String::new(),
            retry_after: None,
        }
    }
}

/// The faults of what arrives next, in their order; `None` is a call that works. After them, the standing fault.
pub(super) struct Faults<F> {
    pub(super) next: VecDeque<Option<F>>,
    pub(super) always: Option<F>,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        let (next, always) = (VecDeque::new(), None);
        Self { next, always }
    }
}

impl<F: Clone> Faults<F> {
    /// The fault of what arrives now.
    pub(super) fn take(&mut self) -> Option<F> {
        let next = self.next.pop_front();
        next.unwrap_or_else(|| self.always.clone())
    }
}

/// Decides a grant that meets this fault, and waits before or after the decision where the fault is a delay.
pub(super) async fn met<T>(fault: Option<Fault>, decide: impl FnOnce(Option<Fault>) -> T) -> T {
    let (before, after) = match fault {
        Some(Fault::DelayBefore(delay)) => (delay, Duration::ZERO),
        Some(Fault::Delay(delay)) => (Duration::ZERO, delay),
        _ => (Duration::ZERO, Duration::ZERO),
    };
    pass(before).await;
    let decided = decide(fault);
    pass(after).await;
    decided
}

/// The body of a [`Fault::Body`], with the new tokens.
pub(super) fn fill(template: &str, access: &str, refresh: &str) -> String {
    template
        .replace("{access_token}", access)
        .replace("{refresh_token}", refresh)
}

/// An answer that a server gives without a check of the token.
///
/// ```
/// use evertoken::testing::Answer;
///
/// let busy = Answer::status(503).header("retry-after", "1").body("try later");
/// let elsewhere = Answer::status(307).header("location", "http://127.0.0.1:9/");
/// # let _ = (busy, elsewhere);
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    /// An answer with this status, without headers and with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// 503 with a `Retry-After` header, in whole seconds (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self::status(503).header("retry-after", retry_after.as_secs().to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The response. A status or header that HTTP does not allow makes it a 500 with the error as its body.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let response = response.body(self.body);
        response.unwrap_or_else(|error| super::http::response(500, error.to_string()))
    }
}

/// What goes wrong with one call of a [`FaultyStore`](super::FaultyStore) or a
/// [`FaultyEndpoint`](super::FaultyEndpoint). `E` is the wrapper's error: a [`StoreError`](crate::store::StoreError) or an
/// [`EndpointError`](crate::endpoint::EndpointError).
#[derive(Debug)]
#[non_exhaustive]
pub enum CallFault<E> {
    /// The call does not arrive: the caller gets an error, and the inner call does not happen. The error of an endpoint
    /// is [`EndpointError::not_sent`](crate::endpoint::EndpointError::not_sent).
    Fail,
    /// As [`Fail`](Self::Fail), with an error of the test's.
    Error(fn() -> E),
    /// The inner call happens, and the caller gets an error. The error of an endpoint is [`EndpointError::unknown`](crate::endpoint::EndpointError::unknown).
    LoseAnswer,
    /// The inner call happens this much later.
    DelayBefore(Duration),
    /// The inner call happens at once, and its answer comes this much later.
    DelayAfter(Duration),
    /// The inner call happens once the wrapper's `release` is called.
    HangBefore,
    /// The inner call happens at once, and its answer comes once the wrapper's `release` is called.
    HangAfter,
    /// The call panics, and the inner call does not happen.
    PanicBefore,
    /// The inner call happens, and the call panics with its answer.
    PanicAfter,
}

impl<E> Clone for CallFault<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for CallFault<E> {}

/// What the script has to know of a kind of call.
pub(super) trait Call: fmt::Debug + Copy + Eq + Hash + Send + Sync + 'static {
    type Error;

    /// The call did not arrive.
    fn failed() -> Self::Error;

    /// The call happened, and its answer is lost.
    fn unanswered() -> Self::Error;

    fn fails_while_down(self) -> bool {
        true
    }
}

/// The faults of each kind of call, and the calls so far.
pub(super) struct Script<C: Call> {
    plans: Mutex<HashMap<C, Faults<CallFault<C::Error>>>>,
    pub(super) is_down: AtomicBool,
    pub(super) calls: watch::Sender<HashMap<C, u64>>,
    /// The number of releases.
    pub(super) releases: watch::Sender<u64>,
}

impl<C: Call> Script<C> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            plans: Mutex::default(),
            is_down: AtomicBool::new(false),
            calls: watch::Sender::default(),
            releases: watch::Sender::default(),
        })
    }

    pub(super) fn edit(&self, call: C, edit: impl FnOnce(&mut Faults<CallFault<C::Error>>)) {
        edit(self.plans.lock().entry(call).or_default());
    }

    /// Counts a call, and takes its fault.
    fn arrive(&self, call: C) -> Option<CallFault<C::Error>> {
        let count = |calls: &mut HashMap<C, u64>| *calls.entry(call).or_default() += 1;
        self.calls.send_modify(count);
        self.plans.lock().get_mut(&call)?.take()
    }

    async fn released(&self) {
        // The wait fails only without a sender, which is `self`.
        let _ = self.releases.subscribe().changed().await;
    }

    pub(super) async fn meet<T>(
        &self,
        call: C,
        inner: impl Future<Output = Result<T, C::Error>>,
    ) -> Result<T, C::Error> {
        let fault = self.arrive(call);
        match fault {
            Some(CallFault::Fail) => return Err(C::failed()),
            Some(CallFault::Error(error)) => return Err(error()),
            Some(CallFault::PanicBefore) => panic!("a scripted panic of the call {call:?}"),
            Some(CallFault::DelayBefore(span)) => pass(span).await,
            Some(CallFault::HangBefore) => self.released().await,
            _ => {}
        }
        if self.is_down.load(Ordering::SeqCst) && call.fails_while_down() {
            return Err(C::failed());
        }
        let answer = inner.await;
        match fault {
            Some(CallFault::LoseAnswer) => return answer.and(Err(C::unanswered())),
            Some(CallFault::DelayAfter(span)) => pass(span).await,
            Some(CallFault::HangAfter) => self.released().await,
            Some(CallFault::PanicAfter) => panic!("a scripted panic after the call {call:?}"),
            _ => {}
        }
        answer
    }

    /// A call that is not async.
    pub(super) fn meet_at_once(&self, call: C) {
        if let Some(CallFault::PanicBefore) = self.arrive(call) {
            panic!("a scripted panic of the call {call:?}");
        }
    }
}
