//! Tokens and what is known of them: data, without I/O and without a clock.
//!
//! Nothing in this module prints a secret, and every buffer it owns is zeroized when dropped.

mod digest;
pub(crate) mod jwt;
mod key;
mod lifetime;
mod pair;
mod pair_id;
mod secret;

pub use self::digest::Digest;
pub use self::key::{Key, Scope};
pub(crate) use self::lifetime::{LONGEST_LIFETIME, millis};
pub use self::lifetime::{Lifetime, RefreshExpiry, Validity};
pub use self::pair::TokenPair;
pub(crate) use self::pair_id::random;
pub use self::pair_id::{PairId, TokenFamily};
pub use self::secret::{AccessToken, RefreshToken};
