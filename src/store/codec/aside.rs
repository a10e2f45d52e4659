use zeroize::Zeroizing;

use super::Codec;
use crate::record::Record;
use crate::store::StoreError;
use crate::token::Key;

/// For stores whose calls must not block: a sealer may, and works aside.
impl Codec {
    /// As [`encode`](Self::encode).
    pub(in crate::store) async fn encode_aside(
        &self,
        record: &Record,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if self.sealer.is_none() {
            return self.encode(record);
        }
        let (codec, record) = (self.clone(), record.clone());
        aside(move || codec.encode(&record)).await
    }

    /// As [`decode`](Self::decode); errors are about `thing`.
    pub(in crate::store) async fn decode_aside(
        &self,
        key: &Key,
        bytes: Zeroizing<Vec<u8>>,
        thing: String,
    ) -> Result<Record, StoreError> {
        if self.sealer.is_none() {
            return self.read(key, &bytes).map_err(|flaw| flaw.of(thing));
        }
        let (codec, key) = (self.clone(), key.clone());
        aside(move || codec.read(&key, &bytes).map_err(|flaw| flaw.of(thing))).await
    }
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // What it says in its panic may hold what it was given.
        Err(died) if died.is_panic() => Err(StoreError::new("the sealer panicked")),
        Err(_) => Err(StoreError::new("the runtime is shutting down")),
    }
}
