//! Keeps one OAuth2 login alive for every task, process and machine that shares it.
//!
//! A *single-use* refresh token is good for one exchange: each exchange issues a new pair of tokens and kills the old one.
//! Two tasks that spend the same refresh token, a retry after a lost answer, or a process that dies with the new pair in
//! memory cost the user the login. evertoken stands between the program's [reqwest] calls and the authorization server. It
//! spends each refresh token once, stores the new pair before callers get it, and waits through the outages of whatever
//! stands in between.
//!
//! # A program
//!
//! ```no_run
#![doc = include_str!("../examples/readme.rs")]
//! ```
//!
//! A second shell, a cron job or another pod with the same store shares the login, and logs none of the others out. For
//! several machines, `RedisStore` (feature `redis`) or `PostgresStore` (feature `postgres`) takes the place of the
//! [`FileStore`].
//!
//! # Pages
//!
//! | you want to | read |
//! |---|---|
//! | call an API, choose a strategy, begin and end a session | [usage](_guide::usage) |
//! | go on with the pair of a sign-in by `oauth2` or `openidconnect` | [handover](_guide::handover) |
//! | give browsers a cookie with the pair, or with the id of its session | [browsers](_guide::browsers) |
#![cfg_attr(
    feature = "gateway",
    doc = "| build a backend for a browser | [gateway](_guide::gateway) |"
)]
//! | know which failure means what, and what a caller gets | [failures](_guide::failures) |
//! | share a login between processes and machines | [sharing](_guide::sharing) |
//! | configure a manager for a certain server, such as Keycloak, Okta or Entra ID | [servers](_guide::servers) |
#![cfg_attr(
    feature = "folio",
    doc = "| run an import in FOLIO | [FOLIO](_guide::folio) |"
)]
//! | know what is promised, and how that is tested | [reliability](_guide::reliability) |
//! | change evertoken | [architecture](_guide::architecture) |
//!
//! # Names by need
//!
//! - **Build a manager**: [`TokenManager::builder`] returns a [`Builder`] for an endpoint and a first [`TokenPair`]. The
//!   settings are [`Coordination`], [`Persistence`], [`CoolDown`], [`OnStoreFailure`] and [`OnSeedConflict`]. A [`Key`]
//!   names the session in the store.
//! - **Build many sessions** over one endpoint and store: [`Sessions`] with the same [`Builder`]. A user's sign-in
//!   ([`SignIn`]) begins a session with a [`SessionId`]. Browsers present pairs or ids ([`Presented`], [`BrowserPair`],
//!   [`Presentation`]) under a [`SessionPolicy`].
//! - **Call an API**: [`TokenManager::send`] and [`TokenClient`] with reqwest, [`TokenManager::call`] with any client
//!   ([`Credential`], [`ApiAnswer`], [`CallError`]), [`TokenManager::token`] for a [`Token`], and
//!   [`TokenManager::authorization`] for a header. An [`ApiProfile`] describes the API.
//! - **Strategies** decide when a pair is rotated: [`OnRequest`], [`BackgroundTimer`], [`OptimisticEarly`].
//! - **Endpoints** issue pairs: [`OAuth2`] with [`ClientAuth`], [`Scope`] and [`Codes`], and [`StaticToken`]. A
//!   [`ServerProfile`] describes what the server does at a rotation: [`OldPair`], [`Resend`], [`ResendAfterSilence`], [`TokenReuse`].
//! - **Stores** hold the pairs: [`MemoryStore`], [`FileStore`].
//! - **Events and errors**: [`Event`], [`SessionsEvent`] and [`Status`] with [`PairId`], [`Error`] with [`EndReason`], [`PairRefusal`] and [`ServerWord`],
//!   [`BuildError`], [`ResponseError`], [`Logout`].
//! - **Write your own**: a [`RefreshStrategy`] returns a [`Plan`] for a [`Lifetime`]. A [`TokenEndpoint`] exchanges a
//!   [`Grant`] for [`Issued`] tokens or an [`EndpointError`]. A [`TokenStore`] keeps the records of the module [`protocol`]
//!   with the types of the module [`store`]. A [`seal::Sealer`] seals them. A [`clock::Clock`] reads time.
//! - **With a feature**: `config` (on by default), `folio`, `gateway`, `keyring`, `postgres`, `redis`, `seal` and `testing`.
#![cfg_attr(
    feature = "config",
    doc = "  - A [`Config`] and a [`Registry`] build a manager from a file, or from a part of the program's own configuration by a [`ConfigReader`]: the module [`config`]."
)]
#![cfg_attr(
    feature = "folio",
    doc = "  - [`Folio`] is the endpoint for FOLIO's login service."
)]
#![cfg_attr(
    feature = "gateway",
    doc = "  - A [`Gateway`] is a backend for a browser: the module [`gateway`]."
)]
#![cfg_attr(
    feature = "keyring",
    doc = "  - [`SealingKeys::from_keyring`] has the sealing key in the keyring of the operating system."
)]
#![cfg_attr(
    feature = "postgres",
    doc = "  - [`PostgresStore`] holds pairs for many machines."
)]
#![cfg_attr(
    feature = "redis",
    doc = "  - [`RedisStore`] holds pairs for many machines."
)]
#![cfg_attr(
    feature = "seal",
    doc = "  - [`SealingKeys`] seal the records of a store, which is given them by `sealed(..)`."
)]
#![cfg_attr(
    feature = "testing",
    doc = "  - The module [`testing`] has servers, a clock and a test suite for stores."
)]
//!
//! # Conditions
//!
//! A manager runs its rotations on the tokio runtime that [`Builder::build`] was called in. The runtime has time and I/O
//! enabled, and outlives the use of the manager. [The limits](_guide::usage#limits) has the rest.
//!
//! [reqwest]: https://docs.rs/reqwest

/// The pages of the documentation that are longer than fits beside an item.
#[cfg(doc)]
pub mod _guide {
    /// A page with the links to the other pages. The definitions here win over those at the end of a page, which lead to
    /// files of the repository.
    macro_rules! page {
        ($file:literal) => {
            concat!(
                "[usage]: crate::_guide::usage\n",
                "[handover]: crate::_guide::handover\n",
                "[browsers]: crate::_guide::browsers\n",
                "[gateway]: crate::_guide::gateway\n",
                "[failures]: crate::_guide::failures\n",
                "[sharing]: crate::_guide::sharing\n",
                "[servers]: crate::_guide::servers\n",
                "[reliability]: crate::_guide::reliability\n",
                "[architecture]: crate::_guide::architecture\n\n",
                include_str!($file)
            )
        };
    }

    #[doc = page!("../docs/usage.md")]
    pub mod usage {}

    #[doc = page!("../docs/handover.md")]
    pub mod handover {}

    #[doc = page!("../docs/browsers.md")]
    pub mod browsers {}

    #[doc = page!("../docs/gateway.md")]
    #[cfg(feature = "gateway")]
    pub mod gateway {}

    #[doc = page!("../docs/failures.md")]
    pub mod failures {}

    #[doc = page!("../docs/sharing.md")]
    pub mod sharing {}

    #[doc = page!("../docs/servers.md")]
    pub mod servers {}

    #[doc = page!("../docs/folio.md")]
    #[cfg(feature = "folio")]
    pub mod folio {}

    #[doc = page!("../docs/reliability.md")]
    pub mod reliability {}

    #[doc = page!("../docs/architecture.md")]
    pub mod architecture {}
}

mod api;
mod build_error;
pub mod clock;
#[cfg(feature = "config")]
pub mod config;
mod endpoint;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "gateway")]
pub mod gateway;
mod manager;
mod origin;
#[cfg(feature = "config")]
mod parameters;
mod record;
mod rotation;
mod schedule;
pub mod seal;
#[cfg(any(feature = "config", feature = "seal"))]
mod secret_source;
mod session;
mod sessions;
mod settings;
mod snapshot;
mod state;
pub mod store;
mod strategy;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
mod token;
mod user_code;

/// What the author of a [`TokenStore`] sees of the rotation protocol.
///
/// A store writes and reads a [`Record`](protocol::Record) whole, and finds a session by the [`Digest`](protocol::Digest)
/// of a token. A store that can prove that a process has died answers for the [`Owner`](protocol::Owner) of a
/// [`Lease`](protocol::Lease). A store never changes any of them: the transitions of a record are the manager's, so that
/// every store has the same protocol.
pub mod protocol {
    pub use crate::record::{DoubtfulBy, Lease, Owner, Record};
    pub use crate::token::Digest;
}

// Build a manager.
#[cfg(feature = "config")]
pub use self::config::{Config, ConfigError, ConfigReader, Registry};
#[cfg(feature = "gateway")]
pub use self::gateway::{Gateway, GatewayError};
pub use self::manager::{Builder, TokenManager};
pub use self::session::SessionPolicy;
pub use self::sessions::{
    BrowserPair, EndWhereError, ParseSessionIdError, Presentation, Presented, SessionId, Sessions,
    SignIn, Upstream,
};
pub use self::settings::{CoolDown, Coordination, OnSeedConflict, OnStoreFailure, Persistence};
pub use self::token::{AccessToken, Key, RefreshExpiry, RefreshToken, TokenPair, Validity};

// Call an API.
pub use self::api::{ApiAnswer, ApiProfile, Credential};
pub use self::manager::{Authorization, CallError, TokenClient};
pub use self::snapshot::Token;
pub use self::state::Rejection;

// Strategies, and what a strategy of your own needs.
pub use self::strategy::*;

// Endpoints.
#[cfg(feature = "folio")]
pub use self::endpoint::Folio;
pub use self::endpoint::{
    Bare400, ClientAuth, Codes, OAuth2, OldPair, Resend, ResendAfterSilence, ServerProfile,
    StaticToken, TokenReuse,
};
pub use self::token::Scope;

// Stores.
#[cfg(feature = "seal")]
pub use self::seal::SealingKeys;
pub use self::store::stores::*;

// Events and errors.
pub use self::build_error::BuildError;
pub use self::endpoint::{EndpointError, Quote, ResponseError};
pub use self::error::{EndReason, Error, PairRefusal, ServerWord};
pub use self::event::{Event, Events, Logout, SessionsEvent, SessionsEvents, Status};
pub use self::store::StoreError;
pub use self::token::{PairId, TokenFamily};

// Write your own.
pub use self::endpoint::{Grant, Issued, SendWindow, TokenEndpoint};
pub use self::store::TokenStore;
pub use self::token::Lifetime;
#[doc(no_inline)]
pub use async_trait::async_trait;
