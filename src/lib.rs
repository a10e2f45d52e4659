//! Keeps an OAuth2 token pair alive for work that outlives it.

pub mod clock;
mod endpoint;
mod error;
mod event;
mod record;
pub mod store;
mod strategy;
#[cfg(feature = "testing")]
pub mod testing;
mod token;

#[doc(no_inline)]
pub use async_trait::async_trait;

pub use self::endpoint::{
    ClientAuth, EndpointError, Grant, Issued, OAuth2, OldPair, SendWindow, ServerProfile,
    TokenEndpoint,
};
pub use self::error::{BuildError, EndReason, Error};
pub use self::event::{Event, Events};
pub use self::record::{Claim, Record};
pub use self::store::{MemoryStore, StoreError, TokenStore};
pub use self::strategy::{
    BackgroundTimer, OnExpiry, OnRequest, OptimisticEarly, Plan, RefreshStrategy, WhileRotating,
};
pub use self::token::{
    AccessToken, Digest, Identity, Key, Lifetime, Lineage, RefreshToken, Scope, Session, TokenPair,
    Validity,
};
