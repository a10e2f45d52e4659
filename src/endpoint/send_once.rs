//! The body of a request that may be sent at most once, and only in time. It answers the question
//! on which everything hangs after a failure: can anything of it have left?
//!
//! A body is *waiting* until the connection takes it. Only then the send window is looked at, after
//! all the time that name resolution, connecting and TLS may have cost. A body that was not taken
//! can be recalled, so that it is never taken, not even by a connection that outlives its request:
//! then the token in it is unspent, by proof and not by the kind of an error.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use zeroize::Zeroizing;

use crate::endpoint::SendWindow;

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const RECALLED: u8 = 2;

/// The body. It cannot be cloned, so no layer below can send it again.
pub(super) struct SendOnce {
    content: Option<Bytes>,
    window: Option<SendWindow>,
    state: Arc<AtomicU8>,
}

/// The sender's hold on a body; dropped, it recalls it.
pub(super) struct Receipt(Arc<AtomicU8>);

/// Why a body was not given to the connection.
#[derive(Debug, thiserror::Error)]
#[error("the time in which the token may be sent was over before there was a connection")]
pub(super) struct TooLate;

impl SendOnce {
    /// A body that is sent while `window` is open, or at any time without one. An empty one is asked for by nobody, so
    /// it counts as taken from the start.
    pub(super) fn new(content: Zeroizing<Vec<u8>>, window: Option<SendWindow>) -> (Self, Receipt) {
        let content = (!content.is_empty()).then(|| Bytes::from_owner(content));
        let begins = if content.is_some() { WAITING } else { TAKEN };
        let state = Arc::new(AtomicU8::new(begins));
        let receipt = Receipt(Arc::clone(&state));
        let body = Self {
            content,
            window,
            state,
        };
        (body, receipt)
    }
}

impl Receipt {
    /// Whether nothing of the body has left, and nothing ever will.
    pub(super) fn recall(&self) -> bool {
        leave_waiting(&self.0, RECALLED)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.recall();
    }
}

impl Body for SendOnce {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(content) = self.content.take() else {
            return Poll::Ready(None);
        };
        let in_time = self.window.as_ref().is_none_or(SendWindow::is_open);
        let next = if in_time { TAKEN } else { RECALLED };
        let moved = leave_waiting(&self.state, next);
        Poll::Ready(Some(if in_time && moved {
            Ok(Frame::data(content))
        } else {
            Err(TooLate)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.content.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(length as u64)
    }
}

/// Moves a waiting body on; whether it is in the state `next` then.
fn leave_waiting(state: &AtomicU8, next: u8) -> bool {
    state
        .compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire)
        .map_or_else(|is| is == next, |_| true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn body(window: Option<Duration>) -> (SendOnce, Receipt) {
        let clock = Arc::new(SystemClock);
        let window = window.map(|open| SendWindow::new(clock.clone(), clock.now() + open));
        SendOnce::new(Zeroizing::new(b"token".to_vec()), window)
    }

    fn take(body: SendOnce) -> Option<Bytes> {
        let sent = body.collect().now_or_never()?.ok()?;
        Some(sent.to_bytes())
    }

    #[test]
    fn what_was_taken_cannot_be_recalled() {
        for window in [None, Some(Duration::from_secs(3600))] {
            let (body, receipt) = body(window);
            assert_eq!(body.size_hint().exact(), Some(5));
            assert_eq!(take(body), Some(Bytes::from("token")));
            assert!(!receipt.recall());
        }
    }

    #[test]
    fn what_was_recalled_cannot_be_taken() {
        let (recalled, receipt) = body(None);
        assert!(receipt.recall());
        assert_eq!(take(recalled), None);
        let (orphan, receipt) = body(None);
        drop(receipt);
        assert_eq!(take(orphan), None);
    }

    #[test]
    fn what_has_no_content_may_have_left_at_any_time() {
        let (empty, receipt) = SendOnce::new(Zeroizing::default(), None);
        assert!(empty.is_end_stream());
        assert!(!receipt.recall());
    }

    #[test]
    fn a_closed_window_lets_nothing_out() {
        let (late, receipt) = body(Some(Duration::ZERO));
        assert_eq!(take(late), None);
        assert!(receipt.recall());
    }
}
