//! A token endpoint that remembers nothing, so that what is measured is the manager's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::{EndpointError, Grant, Issued, Key, TokenEndpoint, TokenPair, async_trait};

pub(crate) const ACCESS: usize = 1_000;
pub(crate) const REFRESH: usize = 200;

const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = HOUR.saturating_mul(24 * 30);

/// Issues tokens of these lengths, each another one, at once.
#[derive(Debug, Default)]
pub(crate) struct Issuer {
    issued: AtomicU64,
}

impl Issuer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn seed(&self) -> TokenPair {
        let (access, refresh) = self.next();
        TokenPair::new(access)
            .refresh_token(refresh)
            .expires_in(HOUR)
            .refresh_expires_in(MONTH)
    }

    fn next(&self) -> (String, String) {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        (token(number, ACCESS), token(number, REFRESH))
    }
}

/// A text of exactly so many bytes, in a buffer of no more.
pub(crate) fn token(number: u64, length: usize) -> String {
    let number = number.to_string();
    let mut text = String::with_capacity(length);
    text.extend(std::iter::repeat_n('x', length - number.len()));
    text.push_str(&number);
    text
}

#[async_trait]
impl TokenEndpoint for Issuer {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let (access, refresh) = self.next();
        Ok(Issued::new(access)
            .refresh_token(refresh)
            .expires_in(HOUR)
            .refresh_expires_in(MONTH))
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "bench")
    }
}
