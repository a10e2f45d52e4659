#![doc = include_str!("../README.md")]

#[cfg(doc)]
#[doc = include_str!("../docs/architecture.md")]
pub mod _architecture {}

/// Texts that are longer than fits beside an item.
#[cfg(doc)]
pub mod _guide {
    #[doc = include_str!("guide/folio.md")]
    #[cfg(feature = "folio")]
    pub mod folio {}

    #[doc = include_str!("guide/reliability.md")]
    pub mod reliability {}
}

mod api;
pub mod clock;
#[cfg(feature = "config")]
pub mod config;
mod endpoint;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod manager;
mod origin;
mod record;
mod rotation;
mod schedule;
mod session;
mod settings;
mod snapshot;
mod state;
mod status;
pub mod store;
mod strategy;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
mod token;
mod user_code;

#[doc(no_inline)]
pub use async_trait::async_trait;

pub use self::api::{ApiAnswer, ApiProfile, Credential};
#[cfg(feature = "config")]
pub use self::config::{Config, ConfigError, Registry};
#[cfg(feature = "folio")]
pub use self::endpoint::Folio;
pub use self::endpoint::{
    Bare400, ClientAuth, Codes, EndpointError, Grant, Issued, OAuth2, OldPair, Quote, Resend,
    ResendAfterSilence, SendWindow, ServerProfile, StaticToken, TokenEndpoint,
};
pub use self::error::{BuildError, EndReason, Error, ServerWord};
pub use self::event::{Event, Events};
pub use self::manager::{Authorization, Builder, CallError, TokenClient, TokenManager};
pub use self::record::{DoubtfulBy, Lease, Owner, Record};
pub use self::settings::{CoolDown, Coordination, OnSeedConflict, OnStoreFailure, Persistence};
pub use self::snapshot::Token;
pub use self::state::Rejection;
pub use self::status::{Logout, Status};
#[cfg(feature = "postgres")]
pub use self::store::PostgresStore;
#[cfg(feature = "redis")]
pub use self::store::RedisStore;
pub use self::store::{FileStore, MemoryStore, StoreError, TokenStore};
pub use self::strategy::{
    BackgroundTimer, OnExpiry, OnRequest, OptimisticEarly, Plan, RefreshStrategy, WhileRotating,
};
pub use self::token::{
    AccessToken, Digest, Key, Lifetime, PairId, RefreshExpiry, RefreshToken, Scope, TokenFamily,
    TokenPair, Validity,
};
