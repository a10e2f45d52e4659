//! A custom strategy and a custom endpoint: `cargo run --example custom`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evertoken::{
    EndpointError, Event, Grant, Issued, Key, Lifetime, OnExpiry, Plan, RefreshStrategy,
    TokenEndpoint, TokenManager, WhileRotating, async_trait,
};

/// Rotates by a timer at a third of the lifetime, and beside a request after two thirds: for a server that is often
/// unavailable for minutes.
#[derive(Debug)]
struct Thirds;

impl RefreshStrategy for Thirds {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life)
            .wake_at(life.at_fraction(1.0 / 3.0))
            .advisory_from(life.at_fraction(2.0 / 3.0))
            .while_rotating(WhileRotating::Serve)
            .on_expiry(OnExpiry::Rotate)
    }
}

/// An endpoint with a protocol other than OAuth2. This server is a number that counts up. A real endpoint must classify each
/// answer by what it means for the token that was sent.
#[derive(Debug, Default)]
struct Ticketing {
    current: AtomicU32,
}

#[async_trait]
impl TokenEndpoint for Ticketing {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let current = self.current.load(Ordering::SeqCst);
        match grant {
            // The server itself reports that the token was consumed before or is unknown. The manager never sends such a
            // token again.
            Grant::Refresh { token, .. } if token.expose() != current.to_string() => {
                return Err(EndpointError::rejected("used or unknown"));
            }
            Grant::Refresh { .. } | Grant::SignIn { .. } => {}
            // A refused connection would be `EndpointError::not_sent(..)`, and an answer that could not be read
            // `EndpointError::unknown(..)`; `EndpointError::from_reqwest` distinguishes the two. The page of a proxy is
            // `EndpointError::page(..)`, and the 503 of a gateway `EndpointError::unavailable(..)`.
            _ => return Err(EndpointError::refused("unsupported_grant")),
        }
        let next = current + 1;
        self.current.store(next, Ordering::SeqCst);
        Ok(Issued::new(format!("ticket {next}"))
            .refresh_token(next.to_string())
            .expires_in(Duration::from_secs(3)))
    }

    fn can_sign_in(&self) -> bool {
        true
    }

    fn key(&self) -> Key {
        Key::new("ticketing", "custom example")
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tokens = TokenManager::builder(Ticketing::default())
        .strategy(Thirds)
        .build()?;
    println!("first: {}", tokens.token().await?.expose());
    let mut events = tokens.subscribe();
    for _ in 0..3 {
        while let Some(event) = events.recv().await {
            if let Event::Rotated { .. } = event {
                break;
            }
        }
        println!("then:  {}", tokens.token().await?.expose());
    }
    tokens.shutdown().await?;
    Ok(())
}
