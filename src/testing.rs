//! An authorization server, an API and a clock to test against.
