//! Programs whose user signs in by another library, and whose manager or gateway goes on with the pair. `tests/` runs them.
//! `docs/handover.md` shows `code`, `device` and `http` word for word.

pub mod code;
pub mod device;
pub mod http;
pub mod own_sessions;
pub mod web;
