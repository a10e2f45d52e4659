use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderValue;

use super::TokenManager;
use super::joined::Deciding;
use crate::error::Error;

/// The future of [`TokenManager::authorization`].
///
/// Written by hand, because the code of an `async fn` is compiled once and called: the header would be
/// copied out of it twice, which takes as long as the rest of the common case. This is compiled into the
/// caller, which finds the header where it was made.
#[must_use = "futures do nothing unless awaited"]
pub struct Authorization<'a> {
    tokens: &'a TokenManager,
    deciding: Deciding,
}

impl<'a> Authorization<'a> {
    #[inline]
    pub(super) fn new(tokens: &'a TokenManager) -> Self {
        Self {
            tokens,
            deciding: Deciding::Fresh,
        }
    }

    #[cold]
    fn decide(&mut self, context: &mut Context<'_>) -> Poll<Result<HeaderValue, Error>> {
        let token = ready!(self.deciding.poll(self.tokens, context));
        Poll::Ready(token.and_then(|token| token.authorization()))
    }
}

impl Future for Authorization<'_> {
    type Output = Result<HeaderValue, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.deciding.is_fresh() {
            let session = &self.tokens.session;
            let snapshot = session.snapshot();
            if let Some(copies) = session.quiet(&snapshot)
                && let Some(header) = &copies.mine().header
            {
                return Poll::Ready(Ok(header.clone()));
            }
        }
        self.decide(context)
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").finish_non_exhaustive()
    }
}
