//! Tokens and what is known of them: data, without I/O and without a clock.
//!
//! Nothing in this module prints a secret, and every buffer it owns is zeroized when dropped.

mod digest;
mod identity;
pub(crate) mod jwt;
mod key;
mod lifetime;
mod pair;
mod secret;

pub use self::digest::Digest;
pub(crate) use self::identity::random;
pub use self::identity::{Identity, Lineage};
pub use self::key::{Key, Scope};
pub(crate) use self::lifetime::{LONGEST_LIFETIME, millis};
pub use self::lifetime::{Lifetime, Session, Validity};
pub use self::pair::TokenPair;
pub use self::secret::{AccessToken, RefreshToken};
