//! Servers, wrappers, a browser and a clock to test against.
//!
//! The servers are never scripted to succeed: they behave. [`AuthorizationServer`] consumes refresh tokens and revokes the
//! family of a token that is presented twice, and [`ImportApi`] asks that server about every token that a call carries. A
//! test runs its own code, and then reads the server's counters: [`exchanges`](AuthorizationServer::exchanges),
//! [`replays`](AuthorizationServer::replays), [`families_revoked`](AuthorizationServer::families_revoked).
//!
//! - A user signs in at the [`AuthorizationServer`] by a browser: the authorization code grant with PKCE, behind a page with one
//!   button, or by [`authorize`](AuthorizationServer::authorize) without a page.
//! - `FolioServer` (feature `folio`) is FOLIO of either kind: sign-in with cookies, and an API behind its gateway.
//! - [`Front`] stands before any server, and answers in the server's place during an [`Outage`].
//! - [`FaultyStore`] and [`FaultyEndpoint`] wrap any store and any token endpoint: calls fail, wait or hang on request, and
//!   are counted.
//! - [`Browser`] is the caller of a gateway: its cookie jar and its tabs lose and keep cookies as Chromium does.
//! - [`conformance`] checks a store of your own.
//!
//! Each server has two faces on one state. In this process, under tokio's paused time and a [`TestClock`], an hour takes
//! milliseconds:
//!
//! ```
//! use std::time::Duration;
//! use evertoken::testing::{AccessCheck, AuthorizationServer, TestClock};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let clock = TestClock::new();
//! let server = AuthorizationServer::builder()
//!     .clock(clock.clone())
//!     .access_ttl(Duration::from_secs(60))
//!     .build();
//!
//! let pair = server.issue();
//! let access = pair.access.unwrap_or_else(|| "none".into());
//! assert_eq!(server.check(access.expose()), AccessCheck::Live);
//!
//! clock.advance(Duration::from_secs(60)).await;
//! assert_eq!(server.check(access.expose()), AccessCheck::Expired);
//! # }
//! ```
//!
//! Over real HTTP on the loopback, `listen()` serves the same state. Paused time works over sockets only if server and
//! client run on the same current-thread runtime, because a runtime advances time as soon as none of *its own* tasks can
//! run. In all other cases, use short lifetimes in real time.

/// The setters of a builder that do no more than set a field.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+,)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$($field).+ = $name;
                self
            }
        )*
    };
}

/// The getters of a server's counters.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> u64 {
                self.counters().$name
            }
        )*
    };
}

mod authorization_server;
pub mod browser;
mod clock;
pub mod conformance;
mod fault;
mod faulty;
#[cfg(feature = "folio")]
mod folio_server;
mod front;
mod http;
mod import_api;

pub use self::authorization_server::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, AuthorizeError, GraceAnswer,
    Hold, InProcessEndpoint, RefreshTokens, Reuse,
};
pub use self::browser::Browser;
pub use self::clock::TestClock;
pub use self::fault::{Answer, CallFault, Fault};
pub use self::faulty::{EndpointCall, FaultyEndpoint, FaultyStore, StoreCall};
#[cfg(feature = "folio")]
pub use self::folio_server::{
    FolioCounters, FolioRequest, FolioServer, FolioServerBuilder, TokenExpirationError,
};
pub use self::front::{Front, Outage};
pub use self::http::HttpServer;
pub use self::import_api::{Gateway, ImportApi, ImportApiBuilder, Seen};
