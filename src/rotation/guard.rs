//! Tells user code that asks the manager that is rotating, which would wait for itself, from such that asks another.

use std::sync::Arc;

use crate::session::Session;

tokio::task_local! {
    /// The session whose rotation this task is.
    pub(super) static INSIDE: usize;
}

pub(super) fn id(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

/// Whether the caller is the session's own rotation, which would wait for itself.
pub(crate) fn is_inside(session: &Arc<Session>) -> bool {
    INSIDE
        .try_with(|inside| *inside == id(session))
        .unwrap_or(false)
}
