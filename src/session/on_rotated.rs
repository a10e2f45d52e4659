use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::token::TokenPair;
use crate::user_code::{UserCodeError, guarded};

/// What the user does with each new pair.
pub(crate) struct OnRotated(Box<dyn Fn(TokenPair) -> Saving + Send + Sync>);

type Saving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl OnRotated {
    pub(crate) fn new<F>(callback: impl Fn(TokenPair) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |pair| Box::pin(callback(pair))))
    }

    pub(crate) async fn call(&self, pair: TokenPair, limit: Duration) -> Result<(), UserCodeError> {
        guarded(limit, async { (self.0)(pair).await }).await
    }
}

impl fmt::Debug for OnRotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRotated")
    }
}
