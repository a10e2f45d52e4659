//! Seals: bytes that are hidden, and bound to what they are for. A holder of the key verifies that they were sealed with it,
//! for this purpose and this session, and were not altered since.
//!
//! A sealer never knows what it seals, where that is kept, nor whether it is the latest of its kind.
//!
//! - [`Sealer`]: the trait, for a cipher of the program's own
#![cfg_attr(
    feature = "seal",
    doc = "- [`SealingKeys`]: the sealer of the crate, XChaCha20-Poly1305 with keys that can be rotated"
)]
#![cfg_attr(
    feature = "keyring",
    doc = "- [`KeyringError`]: why the keys in the keyring of the operating system cannot be had"
)]

mod bound;
#[cfg(feature = "config")]
mod configured;
#[cfg(feature = "keyring")]
mod keyring;
#[cfg(feature = "seal")]
mod keys;
#[cfg(feature = "seal")]
mod text;

use std::sync::Arc;

#[doc(no_inline)]
pub use zeroize::Zeroizing;

pub use self::bound::AssociatedData;
#[cfg(feature = "config")]
pub(crate) use self::configured::Keys;
#[cfg(all(feature = "config", feature = "seal"))]
pub(crate) use self::configured::sealing_keys;
#[cfg(feature = "keyring")]
pub use self::keyring::KeyringError;
#[cfg(feature = "seal")]
pub use self::keys::{SealingKeys, SealingKeysError};

/// Encrypts and authenticates bytes, such as the records of a store, so that a storage contains no token.
///
/// A seal is bound to its [`AssociatedData`]: an implementation authenticates [those bytes](AssociatedData::to_bytes)
/// besides the sealed ones. So a record that was copied to another session, or the pair of last week under the version of
/// today, does not open there. Sealing the same bytes twice must give two different results.
///
/// A store calls its sealer on every load and every swap, on a thread that may block. If the cipher's key has to be fetched
/// from elsewhere, fetch it once, beforehand.
pub trait Sealer: Send + Sync + 'static {
    /// Encrypts and authenticates `plain`, and binds it to `bound`.
    ///
    /// # Errors
    ///
    /// [`SealError::Failed`].
    fn seal(&self, bound: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError>;

    /// Decrypts `sealed`: returns the bytes that [`seal`](Self::seal) was given with equal associated data.
    ///
    /// # Errors
    ///
    /// [`SealError::Refused`] or a more precise error for all other bytes, an empty slice too.
    fn open(
        &self,
        bound: &AssociatedData<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError>;
}

impl<S: Sealer + ?Sized> Sealer for Arc<S> {
    fn seal(&self, bound: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        (**self).seal(bound, plain)
    }

    fn open(
        &self,
        bound: &AssociatedData<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        (**self).open(bound, sealed)
    }
}

/// The reason why a sealer did not seal or did not open.
///
/// A sealer of a program's own makes these errors by [`unknown_key`](Self::unknown_key),
/// [`unknown_form`](Self::unknown_form), [`failed`](Self::failed) and [`Refused`](Self::Refused).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The bytes were sealed with another secret, for another session or for another pair, or they were altered since.
    #[error("sealed with another secret or for another session, or altered since")]
    Refused,
    /// The bytes name a key that the sealer does not have.
    #[error(
        "sealed with the key {id}, which this sealer does not have; add that key to those that open"
    )]
    #[non_exhaustive]
    UnknownKey {
        /// The name of the key, which discloses nothing of the key. Those of `SealingKeys` are 16 hexadecimal digits.
        id: String,
    },
    /// The bytes have a form that the sealer does not know: another sealer sealed them, or a later version.
    #[error(
        "sealed in the form {form}, which this sealer does not know; use the sealer and the version that sealed"
    )]
    #[non_exhaustive]
    UnknownForm {
        /// The first of the sealed bytes.
        form: u8,
    },
    /// The sealer could not do its work.
    #[error("the sealer failed: {what}")]
    Failed {
        /// What failed, without secrets.
        what: String,
    },
}

impl SealError {
    /// The bytes name the key `id`, which the sealer does not have. The name discloses nothing of the key, because errors
    /// and logs show it.
    #[must_use]
    pub fn unknown_key(id: impl Into<String>) -> Self {
        let id = id.into();
        Self::UnknownKey { id }
    }

    /// The bytes begin with `form`, which the sealer does not know.
    #[must_use]
    pub const fn unknown_form(form: u8) -> Self {
        Self::UnknownForm { form }
    }

    /// The sealer could not do its work. `what` names what failed, without secrets.
    #[must_use]
    pub fn failed(what: impl Into<String>) -> Self {
        let what = what.into();
        Self::Failed { what }
    }
}
