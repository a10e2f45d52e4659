//! A real browser as the caller of the gateway: each test has a browser and a site of its own.

mod sign_in;
mod tabs;
