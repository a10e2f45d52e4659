//! Two programs whose user signs in by another library, and whose manager goes on with the pair. `docs/handover.md` shows
//! them word for word, and `tests/` runs them.

pub mod code;
pub mod device;
pub mod http;
