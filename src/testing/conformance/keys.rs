//! Two keys that differ in anything are two sessions.

use super::calls::{Store, entry, expect_entry, write};
use super::records::{key, record};
use crate::token::Key;

/// What names have come to grief on: paths, patterns, quotes, key spaces, case, normal forms, ends of text.
const ENDINGS: [&str; 27] = [
    "",
    " ",
    "x",
    "X",
    "/x",
    "_x",
    "\\x",
    "\n",
    "é",
    "e\u{301}",
    "%",
    "/../x",
    "\0",
    "\0x",
    ":x",
    "{x}",
    "*",
    "[x]",
    "?",
    "'",
    "\"",
    "''; --",
    "$1",
    "\u{1F511}",
    "\u{202E}x",
    "\u{FEFF}",
    "\r\n",
];

pub(super) async fn are_independent(handles: &[Store]) {
    let keys = keys();
    let mut revisions = Vec::new();
    for (key, store) in keys.iter().zip(handles.iter().cycle()) {
        let absent = entry(store, key).await.is_none();
        assert!(absent, "the entry of another key is not that of {key}");
        revisions.push(write(store, key, None, &record(key, 1)).await);
    }
    for (key, revision) in keys.iter().zip(revisions) {
        for store in handles {
            expect_entry(store, key, &record(key, 1), revision).await;
        }
    }
}

fn keys() -> Vec<Key> {
    let base = key("keys");
    let label = &base.label;
    let mut keys = vec![
        base.clone().tenant("x"),
        base.clone().subject("x"),
        base.clone().audience("x"),
        base.clone().scope("x"),
        base.clone().scope("x y"),
        // The same text, divided elsewhere.
        base.clone().tenant("x").subject("yz"),
        base.clone().tenant("xy").subject("z"),
        base.clone().tenant("x:y").subject("z"),
        base.clone().tenant("x").subject("y:z"),
        Key::new("https://id.example.org/other", "conformance").label(label),
        Key::new("https://id.example.org/token", "other").label(label),
        base.clone()
            .label(format!("{label}{}", "long".repeat(1_000))),
    ];
    keys.extend(ENDINGS.map(|ending| base.clone().label(format!("{label}{ending}"))));
    keys
}
