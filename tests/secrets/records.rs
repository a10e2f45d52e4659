//! Records as bytes, intact and damaged.

use evertoken::Key;
use evertoken::store::Codec;
use serde_json::{Value, json};

use crate::known::*;
use crate::net;
use crate::user_code::Sealing;

/// The records are valid except for one word, so the codec reads them up to that word.
pub(crate) fn are_damaged() {
    let key = Key::default();
    let record = |lifetime: &Value| {
        json!({
            "format": 3, "key": key, "family": "0123456789abcdef0123456789abcdef", "version": 1,
            "pair": {
                "issued_at": 0, "access_token": SEED_ACCESS, "refresh_token": SEED_REFRESH,
                "lifetime": { "access": lifetime, "refresh": "unknown" },
            },
            "state": { "is": "active" }, "lease": null,
            "next_number": 1, "committed_number": 0, "past": {},
        })
        .to_string()
    };
    let sealed = Codec::sealed(Sealing(SEAL_KEY.to_owned())).accept_plain(true);
    for codec in [Codec::plain(), sealed] {
        net::debug(&codec);
        let read = |text: String| net::outcome(codec.decode(&key, text.as_bytes()));
        assert!(read(record(&json!("unknown"))).is_some());
        for damage in [
            json!(SEED_REFRESH),
            json!({ "known": { "total": SEED_REFRESH } }),
        ] {
            assert!(read(record(&damage)).is_none());
        }
    }
}
