//! What sealed bytes prove, and which texts are keys.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

use super::*;
use crate::token::{Key, PairId, TokenFamily};

const PLAIN: &[u8] = b"access sesame, refresh sesame";

/// A key whose bytes are a hash, as random as any.
fn bytes(name: &str) -> [u8; KEY] {
    Sha256::digest(name).into()
}

fn keys(name: &str) -> SealingKeys {
    SealingKeys::new(bytes(name)).unwrap()
}

fn text(name: &str) -> String {
    BASE64_STANDARD.encode(bytes(name))
}

fn session() -> Key {
    Key::new("issuer", "client").tenant("diku")
}

fn pair(version: u64) -> PairId {
    PairId {
        family: TokenFamily::from_bits(7),
        version,
    }
}

#[test]
fn what_was_sealed_opens_with_what_it_was_bound_to_and_with_nothing_else() {
    let (key, other) = (session(), session().subject("another"));
    let bound = AssociatedData::new(AssociatedData::RECORD, &key).pair(pair(2));
    let sealed = keys("one").seal(&bound, PLAIN).unwrap();
    assert_eq!(keys("one").open(&bound, &sealed).unwrap().as_slice(), PLAIN);
    for elsewhere in [
        AssociatedData::new("cookie", &key).pair(pair(2)),
        AssociatedData::new(AssociatedData::RECORD, &other).pair(pair(2)),
        AssociatedData::new(AssociatedData::RECORD, &key).pair(pair(1)),
        AssociatedData::new(AssociatedData::RECORD, &key),
    ] {
        let opened = keys("one").open(&elsewhere, &sealed);
        assert_eq!(opened, Err(SealError::Refused), "{elsewhere:?}");
    }
}

#[test]
fn a_sealed_cookie_holds_no_token_and_opens_as_the_cookie_of_its_sign_in_alone() {
    let (key, other) = (session().label("sign-in 1"), session().label("sign-in 2"));
    let cookie = AssociatedData::new("cookie", &key);
    let sealed = keys("one").seal(&cookie, PLAIN).unwrap();
    let value = BASE64_URL_SAFE_NO_PAD.encode(&sealed);
    for token in ["access sesame", "refresh sesame"] {
        let is_seen = |bytes: &[u8]| {
            bytes
                .windows(token.len())
                .any(|part| part == token.as_bytes())
        };
        assert!(is_seen(PLAIN) && !is_seen(&sealed) && !is_seen(value.as_bytes()));
        // At each place behind other bytes, without the characters that depend on those.
        for before in 0..3 {
            let shifted = [&vec![0; before], token.as_bytes()].concat();
            let encoded = BASE64_URL_SAFE_NO_PAD.encode(shifted);
            assert!(!value.contains(&encoded[4..16]), "{token}");
        }
    }
    assert_eq!(
        keys("one").open(&cookie, &sealed).unwrap().as_slice(),
        PLAIN
    );
    for elsewhere in [
        AssociatedData::new("cookie", &other),
        AssociatedData::new(AssociatedData::RECORD, &key),
    ] {
        let opened = keys("one").open(&elsewhere, &sealed);
        assert_eq!(opened, Err(SealError::Refused), "{elsewhere:?}");
    }
}

#[test]
fn a_change_of_any_byte_is_refused_and_so_is_a_lost_or_an_added_one() {
    let key = session();
    let bound = AssociatedData::new(AssociatedData::RECORD, &key);
    // The second key would open, so that an id which becomes that of a known key is no way out.
    let keys = keys("one").older(self::keys("two")).unwrap();
    let sealed = keys.seal(&bound, PLAIN).unwrap();
    assert_eq!(sealed.len(), PLAIN.len() + 49);
    for at in 0..sealed.len() {
        for mask in [1, 0x80, 0xff] {
            let mut altered = sealed.clone();
            altered[at] ^= mask;
            let error = keys.open(&bound, &altered).unwrap_err();
            let expected = match at {
                0 => SealError::UnknownForm { form: altered[0] },
                1..9 => SealError::UnknownKey {
                    id: altered[1..9]
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect(),
                },
                _ => SealError::Refused,
            };
            assert_eq!(error, expected, "byte {at}");
        }
        let error = keys.open(&bound, &sealed[..at]).unwrap_err();
        assert_eq!(error, SealError::Refused, "{at} bytes");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert_eq!(keys.open(&bound, &longer), Err(SealError::Refused));
}

/// Both keys are known, and the id is authenticated: the id of the other key does not make it try that key's tag.
#[test]
fn sealed_bytes_under_the_id_of_another_known_key_are_refused() {
    let key = session();
    let bound = AssociatedData::new(AssociatedData::RECORD, &key);
    let both = keys("one").older(keys("two")).unwrap();
    let mut sealed = both.seal(&bound, PLAIN).unwrap();
    sealed[1..9].copy_from_slice(&both.keys[1].id.0);
    assert_eq!(both.open(&bound, &sealed), Err(SealError::Refused));
}

/// By the cipher alone, without the head: such bytes open only where the head is not authenticated.
#[test]
fn the_form_and_the_id_are_authenticated() {
    let key = session();
    let bound = AssociatedData::new(AssociatedData::RECORD, &key);
    let keys = keys("one");
    let nonce = [9; NONCE];
    let mut hidden = PLAIN.to_vec();
    let tag = keys.keys[0]
        .cipher()
        .encrypt_inout_detached(
            &XNonce::from(nonce),
            &bound.to_bytes(),
            hidden.as_mut_slice().into(),
        )
        .unwrap();
    let sealed = [&[FORM], &keys.keys[0].id.0[..], &nonce, &hidden, &tag].concat();
    assert_eq!(keys.open(&bound, &sealed), Err(SealError::Refused));
}

#[test]
fn sealing_the_same_bytes_gives_different_bytes_each_time() {
    let key = session();
    let bound = AssociatedData::new(AssociatedData::RECORD, &key);
    let keys = keys("one");
    let sealed: Vec<_> = (0..64).map(|_| keys.seal(&bound, PLAIN).unwrap()).collect();
    let nonces: BTreeSet<_> = sealed
        .iter()
        .map(|sealed| &sealed[HEAD..HEAD + NONCE])
        .collect();
    assert_eq!(nonces.len(), 64);
    let hidden: BTreeSet<_> = sealed
        .iter()
        .map(|sealed| &sealed[HEAD + NONCE..])
        .collect();
    assert_eq!(hidden.len(), 64);
    for sealed in &sealed {
        assert_eq!(sealed.capacity(), sealed.len());
        assert!(!sealed.windows(6).any(|part| part == b"sesame"));
    }
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let key = session();
    let bound = AssociatedData::new(AssociatedData::RECORD, &key);
    let sealed_by = |name| keys(name).seal(&bound, PLAIN).unwrap();
    let three = SealingKeys::from_text(&[text("new"), text("old"), text("oldest")].join("\n"));
    let three = three.unwrap();
    for name in ["new", "old", "oldest"] {
        assert_eq!(
            three.open(&bound, &sealed_by(name)).unwrap().as_slice(),
            PLAIN
        );
    }
    let sealed = three.seal(&bound, PLAIN).unwrap();
    assert_eq!(keys("new").open(&bound, &sealed).unwrap().as_slice(), PLAIN);
    let id = three.ids().next().unwrap();
    let missing = keys("old").open(&bound, &sealed).unwrap_err();
    assert_eq!(missing, SealError::UnknownKey { id: id.clone() });
    let told = missing.to_string();
    assert!(
        told.contains(&id) && told.contains("add that key"),
        "{told}"
    );
    let ids: Vec<_> = three.ids().collect();
    let alone = ["new", "old", "oldest"].map(|name| keys(name).ids().collect::<String>());
    assert_eq!(ids, alone);
}

/// Sealed by another implementation (Python's `cryptography` with an HChaCha20 beside it), which follows the documentation.
#[test]
fn bytes_that_an_earlier_version_sealed_open() {
    let key = Key::new("i", "c");
    let bound = AssociatedData::new("p", &key).pair(pair(1));
    let mut sealed = vec![FORM];
    sealed.extend(
        Sha256::digest([b"evertoken sealing key id 1\n", &bytes("one")[..]].concat())
            .iter()
            .take(8),
    );
    let id = sealed[1..].to_vec();
    assert_eq!(keys("one").ids().next().unwrap(), hex(&id));
    sealed.extend((0..24).collect::<Vec<u8>>());
    sealed.extend(KNOWN);
    assert_eq!(
        keys("one").open(&bound, &sealed).unwrap().as_slice(),
        b"sesame"
    );
}

/// The ciphertext and the tag of `sesame` under the key, the nonce and the associated data of the test above.
const KNOWN: [u8; 22] = [
    0xcc, 0x35, 0x5b, 0xa6, 0xd7, 0xc4, 0x7b, 0xdc, 0x8a, 0x2b, 0xa2, 0x0a, 0xbe, 0x32, 0xc2, 0xb5,
    0xa2, 0x22, 0x9f, 0x8d, 0xda, 0x76,
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_is_written_in_base64_or_base64url_or_in_hexadecimal_digits() {
    let key = bytes("one");
    let digits = hex(&key);
    let id = keys("one").ids().next().unwrap();
    for text in [
        BASE64_STANDARD.encode(key),
        BASE64_STANDARD_NO_PAD.encode(key),
        BASE64_URL_SAFE.encode(key),
        BASE64_URL_SAFE_NO_PAD.encode(key),
        digits.to_uppercase(),
        format!("# the key of the store\r\n\r\n  {digits}\t\r\n# the end"),
    ] {
        let read: Vec<_> = SealingKeys::from_text(&text).unwrap().ids().collect();
        assert_eq!(read, [&*id], "{text}");
    }
    let [one, two] = [(); 2].map(|()| SealingKeys::random_key().unwrap());
    assert_ne!(one, two);
    assert_eq!((one.len(), one.lines().count()), (44, 1));
    SealingKeys::from_text(&one).unwrap();
}

#[test]
fn a_text_that_is_not_a_key_is_refused_by_its_line_and_is_not_repeated() {
    let (key, digits) = (text("one"), hex(&bytes("one")));
    let of = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let counting: Vec<u8> = (0..32).collect();
    let words = of(&b"changeme".repeat(4));
    for wrong in [
        "sesame",
        &key[..42],
        &digits[..63],
        &format!("{digits}0"),
        &format!("{}g", &digits[..63]),
        &format!("{key}="),
        &format!("{key} # one"),
        &format!("key = {key}"),
        // Of both alphabets.
        &format!("+_{}", &key[2..]),
        // The bits behind the last byte are not zero.
        &format!("{}B=", &key[..42]),
        &of(&bytes("one")[..31]),
        &of(&[&bytes("one")[..], &[0]].concat()),
        &of(&[0; 32]),
        &"ab".repeat(32),
        &of(&counting),
        &of(&counting.into_iter().rev().collect::<Vec<_>>()),
        &words,
        &"changeme".repeat(5),
    ] {
        let error = SealingKeys::from_text(&format!("# keys\n{}\n{wrong}\n", text("first")));
        let error = error.expect_err(wrong);
        let told = format!("{error} {error:?}");
        assert!(error.to_string().starts_with("line 3 is not a "), "{error}");
        assert!(told.contains("openssl rand -base64 32"), "{told}");
        assert!(!told.contains(wrong), "{told}");
    }
    for empty in ["", "\n", "# no key\n"] {
        let error = SealingKeys::from_text(empty).unwrap_err().to_string();
        assert!(error.starts_with("there is no key; "), "{error}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let twice = format!("{}\n\n{}\n", text("one"), hex(&bytes("one")));
    let error = SealingKeys::from_text(&twice).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 3 has the same key as line 1; remove one of the two"
    );
    let error = keys("one").older(keys("one")).unwrap_err().to_string();
    let id = keys("one").ids().next().unwrap();
    assert_eq!(
        error,
        format!("the key {id} is there twice; remove one of the two")
    );
}

#[test]
fn a_key_of_equal_bytes_is_refused_and_random_keys_are_not() {
    let error = SealingKeys::new([7; KEY]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the key is not random; make one by `openssl rand -base64 32`"
    );
    for number in 0..10_000 {
        assert!(!is_placeholder(&bytes(&number.to_string())), "{number}");
    }
}

#[test]
fn debug_shows_the_ids_and_nothing_of_a_key() {
    let both = keys("one").older(keys("two")).unwrap();
    let [one, two] = ["one", "two"].map(|name| keys(name).ids().collect::<String>());
    assert_eq!(
        format!("{both:?}"),
        format!("SealingKeys {{ ids: [{one}, {two}] }}")
    );
    assert!(!hex(&bytes("one")).contains(&one));
}

/// One copy of a key in memory, which goes with the last sealer that has it.
#[test]
fn clones_share_the_keys_and_the_last_clone_takes_them_along() {
    let old = keys("old");
    let key = Arc::downgrade(&old.keys[0]);
    let both = keys("new").older(old.clone()).unwrap();
    let clone = both.clone();
    assert_eq!(key.strong_count(), 3);
    drop((old, both));
    assert_eq!(key.strong_count(), 1);
    drop(clone);
    assert_eq!(key.strong_count(), 0);
}

#[test]
fn a_variable_that_is_not_there_or_has_no_key_is_named() {
    let error = SealingKeys::from_env("EVERTOKEN_NONE").unwrap_err();
    let told = "the environment variable `EVERTOKEN_NONE` is not set";
    assert_eq!(error.to_string(), told);
    let error = SealingKeys::from_env("CARGO_PKG_NAME")
        .unwrap_err()
        .to_string();
    let named = "the environment variable `CARGO_PKG_NAME` cannot be used: line 1 is not a key; ";
    assert!(error.starts_with(named), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_of_keys_is_read_by_its_owner_alone() {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealing-key");
    let shown = path.display();
    let error = SealingKeys::from_file(&path).unwrap_err().to_string();
    let missing =
        format!("the file `{shown}` cannot be read: No such file or directory (os error 2)");
    assert_eq!(error, missing);
    write(&path, format!("{}\n{}\n", text("new"), text("old"))).unwrap();
    for mode in [0o600, 0o400] {
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(SealingKeys::from_file(&path).unwrap().ids().count(), 2);
    }
    for (mode, problem) in [
        (0o640, "readable by its group (mode 0640)"),
        (0o644, "readable by every user of this machine (mode 0644)"),
        (0o620, "writable by users other than its owner (mode 0620)"),
    ] {
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = SealingKeys::from_file(&path).unwrap_err().to_string();
        let expected = format!("the file `{shown}` is {problem}; run `chmod 600 {shown}`");
        assert_eq!(error, expected);
    }
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    write(&path, "sesame").unwrap();
    let error = SealingKeys::from_file(&path).unwrap_err().to_string();
    let named = format!("the file `{shown}` cannot be used: line 1 is not a key; ");
    assert!(
        error.starts_with(&named) && !error.contains("sesame"),
        "{error}"
    );
}
