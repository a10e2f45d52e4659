//! A server that reports the expiry of a token only in the token itself, or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::TestClock;
use evertoken::{EndpointError, Grant, Issued, TokenEndpoint, TokenPair, async_trait};
use parking_lot::Mutex;

pub(crate) const TTL: Duration = Duration::from_secs(600);

/// The evidence of the server's time besides `exp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Date,
    IssuedAt,
    Nothing,
}

/// An endpoint that issues JWTs by a clock of its own.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    clock: TestClock,
    told: Told,
    calls: Arc<AtomicU64>,
    /// The expiry of every token, in seconds since the Unix epoch.
    expiries: Arc<Mutex<HashMap<String, u64>>>,
}

impl Issuer {
    pub(crate) fn new(clock: TestClock, told: Told) -> Self {
        Self {
            clock,
            told,
            calls: Arc::default(),
            expiries: Arc::default(),
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn first(&self) -> TokenPair {
        TokenPair::new(self.token()).refresh_token("r0")
    }

    /// Whether an API of this server accepts the token.
    pub(crate) fn is_live(&self, token: &str) -> bool {
        self.expiries.lock()[token] > self.clock.wall().as_secs()
    }

    fn token(&self) -> String {
        let iat = self.clock.wall().as_secs();
        let exp = iat + TTL.as_secs();
        let leases = match self.told {
            Told::IssuedAt => format!(r#"{{"exp":{exp},"iat":{iat}}}"#),
            Told::Date | Told::Nothing => format!(r#"{{"exp":{exp}}}"#),
        };
        let token = format!("e30.{}.x", base64(leases.as_bytes()));
        self.expiries.lock().insert(token.clone(), exp);
        token
    }
}

#[async_trait]
impl TokenEndpoint for Issuer {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let issued = Issued::new(self.token()).refresh_token(format!("r{call}"));
        Ok(match self.told {
            Told::Date => issued.server_time(self.clock.wall()),
            Told::IssuedAt | Told::Nothing => issued,
        })
    }
}

/// Base64 without padding, in the alphabet for URLs (RFC 4648 section 5).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for digit in 0..=chunk.len() {
            let six = group >> (18 - 6 * digit) & 0x3f;
            text.push(char::from(ALPHABET[six]));
        }
    }
    text
}
