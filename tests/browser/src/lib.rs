//! A browser against three instances of the gateway behind one origin: what the tests of `tests/` have in common.
//!
//! Nothing here waits for a span: time passes by [`Site::pass`](site::Site::pass), which a test calls, and every wait is for
//! something that a page shows or a server has seen.

pub mod api;
pub mod browser;
pub mod driver;
mod endpoint;
pub mod front;
mod login;
pub mod neighbour;
pub mod pages;
pub mod run;
pub mod site;
