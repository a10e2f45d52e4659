//! A model of the rotation protocol: several instances, a store, a server, and everything that may go wrong between
//! them. The crate's own transitions compute what an instance makes of a record. The rest of an instance's behaviour is
//! a small copy of `src/rotation/`.
//!
//! - [`row`]: a record in a few bytes, and back
//! - [`server`]: the authorization server and the truth about every token
//! - [`instance`]: the state of one process
//! - [`reconcile`], [`lease`], [`spend`], [`unclear`], [`commit`], [`user`]: the steps of an instance, as in
//!   `src/rotation/`
//! - [`world`]: the state of the model
//! - [`turn`], [`transitions`]: one call of one instance; what can happen next, and which world results
//! - [`notes`], [`property`], [`goal`]: what is noted as it happens; what must hold; what must be possible
//! - [`symmetry`]: which worlds are one state
//! - [`config`]: the worlds to explore

mod commit;
pub mod config;
pub mod goal;
pub mod instance;
mod lease;
pub mod notes;
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

/// The crate's pure modules, compiled from its own sources because they are not public.
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
        pub(crate) use self::store_time::{StoreTime, whole_millis};
    }
}

/// The names under which these modules refer to each other.
pub(crate) use self::real::{clock, endpoint, record, token};
