use crate::store::StoreError;

/// For stores whose calls must not block: a sealer may, and works aside.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // What it says in its panic may hold what it was given.
        Err(died) if died.is_panic() => Err(StoreError::new("the sealer panicked")),
        Err(_) => Err(StoreError::new("the runtime is shutting down")),
    }
}
