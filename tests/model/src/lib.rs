//! A model of the rotation protocol: several instances, a store, a server and everything that may go wrong
//! between them. What an instance makes of a record is computed by the crate's own transitions; what it
//! does with that is a small copy of `src/rotation/`.
//!
//! - [`row`]: a record in a few bytes, and back
//! - [`server`]: the authorization server and the truth about every token
//! - [`instance`]: one process
//! - [`reconcile`], [`pause`], [`lease`], [`spend`], [`unclear`], [`commit`], [`user`]: its steps, as in `src/rotation/`
//! - [`world`]: everything at once
//! - [`turn`], [`transitions`]: one call of one instance; what can happen next, and what comes of it
//! - [`notes`], [`property`], [`goal`]: what is noted as it happens; what must hold; what must be possible
//! - [`symmetry`]: which worlds are one
//! - [`worlds`]: what is explored

mod commit;
pub mod config;
pub mod goal;
pub mod instance;
mod lease;
pub mod notes;
mod pause;
pub mod property;
mod reconcile;
pub mod row;
pub mod server;
mod spend;
pub mod symmetry;
pub mod transitions;
pub mod turn;
mod unclear;
mod user;
pub mod world;
pub mod worlds;

/// The crate's pure modules, from its own sources: they are not public, and need not be for this.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../src"]
mod real {
    pub(crate) mod record;
    pub(crate) mod token;

    pub(crate) mod endpoint {
        mod profile;
        pub use self::profile::Resend;
    }

    pub(crate) mod clock {
        mod store_time;
        pub(crate) use self::store_time::StoreTime;
    }
}

/// Under the names by which they know each other.
pub(crate) use self::real::{clock, endpoint, record, token};
