//! A sealer that hides, binds the key, and detects every change. Its cipher is homemade.

use std::sync::atomic::{AtomicU64, Ordering};

use evertoken::Key;
use evertoken::protocol::Digest;
use evertoken::store::{AssociatedData, SealError, Sealer, Zeroizing};

pub(crate) struct FakeSealer {
    secret: String,
    nonce: AtomicU64,
}

impl FakeSealer {
    pub(crate) fn new(secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            nonce: AtomicU64::new(1),
        }
    }

    /// At least this number of bytes.
    fn stream(&self, nonce: u64, length: usize) -> Vec<u8> {
        // One block for all bytes: tests that are not about ciphers seal records of megabytes.
        let block = Digest::of(format!("stream {} {nonce}", self.secret));
        block.as_bytes().repeat(length / 16 + 1)
    }

    fn tag(&self, key: &Key, hidden: &[u8]) -> Digest {
        let head = format!("tag {} {} ", self.secret, key.digest());
        Digest::of([head.as_bytes(), hidden].concat())
    }
}

impl Sealer for FakeSealer {
    fn seal(&self, bound: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = self.nonce.fetch_add(1, Ordering::SeqCst);
        let mut hidden = nonce.to_be_bytes().to_vec();
        let stream = self.stream(nonce, plain.len());
        hidden.extend(plain.iter().zip(stream).map(|(byte, mask)| byte ^ mask));
        let mut sealed = self.tag(bound.key(), &hidden).as_bytes().to_vec();
        sealed.extend(hidden);
        Ok(sealed)
    }

    fn open(
        &self,
        bound: &AssociatedData<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (tag, hidden) = sealed.split_at_checked(16).ok_or(SealError::Refused)?;
        if self.tag(bound.key(), hidden).as_bytes() != tag {
            return Err(SealError::Refused);
        }
        let (nonce, hidden) = hidden.split_at_checked(8).ok_or(SealError::Refused)?;
        let nonce = u64::from_be_bytes(nonce.try_into().unwrap());
        let stream = self.stream(nonce, hidden.len());
        let plain = hidden.iter().zip(stream).map(|(byte, mask)| byte ^ mask);
        Ok(Zeroizing::new(plain.collect()))
    }
}
