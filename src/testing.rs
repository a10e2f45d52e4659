//! An authorization server, an API and a clock to test against.

mod clock;

pub use self::clock::TestClock;
