//! A session that rotates again and again.

use evertoken::{TokenManager, TokenStore};

use crate::float;
use crate::issuer::Issuer;

use super::proxy::Proxy;

/// Over so many rotations what they cost is averaged.
pub(super) const STRETCH: u32 = 200;

/// Before it: by then statements are prepared and pages have been touched.
pub(super) const WARM_UP: u32 = 50;

/// When a session counts as young, and when as old.
pub(super) const YOUNG: u32 = 10;
pub(super) const OLD: u32 = 1_000;

pub(super) struct Session {
    tokens: TokenManager,
    pub(super) rotated: u32,
}

impl Session {
    pub(super) async fn new(store: impl TokenStore) -> Self {
        let issuer = Issuer::new();
        let tokens = TokenManager::builder(issuer.clone())
            .store(store)
            .seed(issuer.seed())
            .build()
            .expect("it holds");
        tokens.token().await.expect("it is seeded");
        Self { tokens, rotated: 0 }
    }

    pub(super) async fn rotate(&mut self, times: u32) {
        for _ in 0..times {
            self.tokens.rotate().await.expect("it rotates");
        }
        self.rotated += times;
    }

    pub(super) async fn rotate_until(&mut self, age: u32) {
        self.rotate(age.saturating_sub(self.rotated)).await;
    }

    /// Rotates for a stretch. Returns which rotations they were, and how often each waited for the server, as the proxy
    /// saw it.
    pub(super) async fn trips(&mut self, proxy: &Proxy) -> (String, String) {
        let (from, before) = (self.rotated, proxy.trips());
        self.rotate(STRETCH).await;
        let trips = f64::from(proxy.trips() - before) / f64::from(STRETCH);
        (format!("{from} to {}", self.rotated), format!("{trips:.2}"))
    }
}

/// Of a stretch, for each of its rotations.
pub(super) fn each(bytes: i64) -> String {
    format!("{:.0}", float(bytes) / f64::from(STRETCH))
}
