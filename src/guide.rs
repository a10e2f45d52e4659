//! Texts that are longer than fits beside an item.

#[doc = include_str!("guide/reliability.md")]
pub mod reliability {}
