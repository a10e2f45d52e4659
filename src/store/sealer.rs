use std::sync::Arc;

use zeroize::Zeroizing;

use crate::token::Key;

/// Encrypts what is secret of a record, so that a store's storage holds no token.
///
/// What is sealed is bound to the key of the session: an implementation authenticates the
/// [digest of the key](Key::digest) as associated data, so that a record that was copied to another
/// session does not open there. Sealing the same bytes twice must give two different results.
///
/// It is called on every load and every swap, on a thread that may block. Where the cipher's key has to
/// be fetched from elsewhere, fetch it once, beforehand.
pub trait Sealer: Send + Sync + 'static {
    /// Encrypts and authenticates `plain` for this session.
    ///
    /// # Errors
    ///
    /// [`SealError::Failed`].
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, SealError>;

    /// What [`seal`](Self::seal) was given for this session.
    ///
    /// # Errors
    ///
    /// [`SealError::Refused`] for whatever else it is given, an empty slice too.
    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;
}

impl<S: Sealer + ?Sized> Sealer for Arc<S> {
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        (**self).seal(key, plain)
    }

    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        (**self).open(key, sealed)
    }
}

/// Why something was not sealed, or not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It was sealed with another secret or for another session, or it was altered since.
    #[error("it was sealed with another secret or for another session, or altered since")]
    Refused,
    /// The sealer could not do its work.
    #[error("the sealer failed: {what}")]
    Failed {
        /// What failed, without secrets.
        what: String,
    },
}
