//! A real browser as the caller of the gateway: each test has a browser and a site of its own.

mod ahead;
mod answers_lost;
mod caches;
mod keys;
mod late;
mod logout;
mod others;
mod outage;
mod sign_in;
mod streams;
mod tabs;
