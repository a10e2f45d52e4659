//! Pairs that are sealed at rest.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::protocol::Record;
use evertoken::store::{AssociatedData, Codec, SealError, Sealer, Zeroizing};
use evertoken::{FileStore, Key, OnRequest, TokenStore};
use serde_json::{Value, json};

use crate::scene::{
    directory, edited, entry, json_in, key, open, path, put, record, refused, told,
};
use crate::seal::FakeSealer;
use crate::support::{TTL, World, loaded};

fn sealed(directory: &tempfile::TempDir) -> FileStore {
    open(directory).sealed(FakeSealer::new("secret"))
}

/// Rewrites the record in the file.
fn edit(directory: &tempfile::TempDir, key: &Key, change: impl FnOnce(&mut Value)) {
    let path = path(directory, key);
    let mut form: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut form["record"]);
    std::fs::write(path, form.to_string()).unwrap();
}

#[tokio::test]
async fn w13_tokens_are_sealed_and_everything_else_is_readable() {
    let directory = directory();
    let first = record(&key(), 1);
    put(&sealed(&directory), None, &first).await;
    let text = std::fs::read_to_string(path(&directory, &key())).unwrap();
    assert!(!text.contains("sesame"), "{text}");
    let form = json_in(&directory, &key());
    let mut expected = serde_json::to_value(&first).unwrap();
    let sealed_pair = form["pair"]["sealed"].clone();
    expected["format"] = 4.into();
    expected["pair"] = json!({
        "digest": first.digest(), "access_digest": first.access_digest(), "sealed": sealed_pair,
    });
    assert_eq!(form, expected);
    let (found, _) = entry(&sealed(&directory), &key()).await.unwrap();
    assert_eq!(found, first);
}

#[tokio::test]
async fn w13_a_record_that_cannot_be_opened_is_refused_and_left() {
    let directory = directory();
    let store = sealed(&directory);
    let revision = put(&store, None, &record(&key(), 1)).await;
    let old_pair = json_in(&directory, &key())["pair"].clone();
    put(&store, Some(revision), &record(&key(), 2)).await;
    let whole = std::fs::read(path(&directory, &key())).unwrap();

    let error = refused(&open(&directory), directory.path(), &key()).await;
    assert!(error.contains("give the store the sealer"), "{error}");
    let wrong = open(&directory).sealed(FakeSealer::new("another"));
    let error = refused(&wrong, directory.path(), &key()).await;
    let cause = SealError::Refused.to_string();
    assert!(error.contains(&cause), "{error}");

    edit(&directory, &key(), |form| {
        let text = form["pair"]["sealed"].as_str().unwrap().to_owned();
        let (head, last) = text.split_at(text.len() - 6);
        let flipped = if last.starts_with('A') { 'B' } else { 'A' };
        form["pair"]["sealed"] = format!("{head}{flipped}{}", &last[1..]).into();
    });
    let error = refused(&store, directory.path(), &key()).await;
    assert!(error.contains(&cause), "altered: {error}");

    for nonsense in ["", "not base64!", "AAAA"] {
        edit(&directory, &key(), |form| {
            form["pair"]["sealed"] = nonsense.into();
        });
        let error = refused(&store, directory.path(), &key()).await;
        assert!(error.contains(&cause), "{nonsense}: {error}");
    }

    let other = record(&key(), 3).digest();
    let names = BASE64_URL_SAFE_NO_PAD.encode(other.as_bytes());
    let changes: [&dyn Fn(&mut Value); 9] = [
        &|form| form["pair"]["sealed"] = old_pair["sealed"].clone(),
        // An older pair with its digest, under the newer version.
        &|form| form["pair"] = old_pair.clone(),
        &|form| form["version"] = 9.into(),
        &|form| form["state"] = json!({ "is": "logged_out" }),
        &|form| form["pair"]["access_digest"] = json!(other),
        &|form| form["pair"]["access_digest"] = Value::Null,
        &|form| form["past"]["seeds"] = names.clone().into(),
        &|form| form["key"]["of_a_later_version"] = true.into(),
        &|form| form["beside"] = "the record".into(),
    ];
    let others: [&dyn Fn(&mut Value); 2] = [
        &|form| form["pair"]["beside"] = "the seal".into(),
        &|form| form["pair"] = Value::Null,
    ];
    for (number, change) in changes.into_iter().chain(others).enumerate() {
        std::fs::write(path(&directory, &key()), &whole).unwrap();
        edit(&directory, &key(), change);
        let error = refused(&store, directory.path(), &key()).await;
        let is_altered = error.contains("it was altered since");
        assert!(is_altered || number >= changes.len(), "{number}: {error}");
    }

    std::fs::write(path(&directory, &key()), &whole).unwrap();
    assert_eq!(entry(&store, &key()).await.unwrap().0, record(&key(), 2));
}

#[tokio::test]
async fn w13_a_seal_is_valid_for_its_session_only() {
    let directory = directory();
    let store = sealed(&directory);
    put(&store, None, &record(&key(), 1)).await;
    let other = key().subject("another");
    std::fs::copy(path(&directory, &key()), path(&directory, &other)).unwrap();
    let error = refused(&store, directory.path(), &other).await;
    assert!(error.contains("another session"), "{error}");
    edit(&directory, &other, |form| form["key"] = json!(other));
    let error = refused(&store, directory.path(), &other).await;
    assert!(error.contains(&SealError::Refused.to_string()), "{error}");
}

/// A plain record in place of a sealed one: with tokens of the writer's choice, or as the end of the session.
#[tokio::test]
async fn w13_a_seal_cannot_be_taken_off() {
    let directory = directory();
    put(&sealed(&directory), None, &record(&key(), 1)).await;
    let plain = serde_json::to_value(record(&key(), 2)).unwrap();
    let mut without_pair = plain.clone();
    without_pair["pair"] = Value::Null;
    let mut ended = without_pair.clone();
    ended["state"] = json!({ "is": "logged_out" });
    for form in [plain, without_pair, ended] {
        edit(&directory, &key(), |record| *record = form.clone());
        let error = refused(&sealed(&directory), directory.path(), &key()).await;
        assert!(error.contains("`accept_plain(true)`"), "{error}");
        let accepting = sealed(&directory).accept_plain(true);
        let (found, _) = entry(&accepting, &key()).await.unwrap();
        assert_eq!(serde_json::to_value(found).unwrap(), form);
    }
}

#[tokio::test]
async fn w13_a_plain_record_that_is_permitted_is_sealed_when_it_is_written_next() {
    let directory = directory();
    let revision = put(&open(&directory), None, &record(&key(), 1)).await;
    // The order of the settings does not matter.
    let store = open(&directory)
        .accept_plain(true)
        .sealed(FakeSealer::new("secret"));
    let (found, seen) = entry(&store, &key()).await.unwrap();
    assert_eq!((&found, seen), (&record(&key(), 1), revision));
    assert_eq!(json_in(&directory, &key())["format"], 3);
    put(&store, Some(seen), &record(&key(), 2)).await;
    assert_eq!(json_in(&directory, &key())["format"], 4);
    let text = std::fs::read_to_string(path(&directory, &key())).unwrap();
    assert!(!text.contains("sesame"), "{text}");
    let (found, _) = entry(&sealed(&directory), &key()).await.unwrap();
    assert_eq!(found, record(&key(), 2));
}

/// A sealer that ignores the key.
struct Unbound(FakeSealer);

impl Sealer for Unbound {
    fn seal(&self, _: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.seal(&AssociatedData::new("", &key()), plain)
    }

    fn open(&self, _: &AssociatedData<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.0.open(&AssociatedData::new("", &key()), sealed)
    }
}

#[test]
fn a_seal_is_valid_for_its_session_only_even_if_the_sealer_does_not_bind_it() {
    let codec = Codec::sealed(Unbound(FakeSealer::new("secret")));
    let bytes = codec.encode(&record(&key(), 1)).unwrap();
    let other = key().subject("another");
    let mut form: Value = serde_json::from_slice(&bytes).unwrap();
    form["key"] = json!(other);
    let error = codec.decode(&other, form.to_string().as_bytes());
    assert!(told(&error.unwrap_err()).contains("it was altered since"));
}

#[tokio::test]
async fn w13_a_search_works_without_the_secret() {
    let directory = directory();
    let first = record(&key(), 1);
    put(&sealed(&directory), None, &first).await;
    let store = open(&directory);
    assert_eq!(store.find(&first.digest()).await.unwrap(), Some(key()));
    assert_eq!(store.find(&key().digest()).await.unwrap(), None);
}

#[test]
fn a_reader_that_does_not_know_seals_refuses_a_sealed_record() {
    let codec = Codec::sealed(FakeSealer::new("secret"));
    let bytes = codec.encode(&record(&key(), 1)).unwrap();
    let error = serde_json::from_slice::<Record>(&bytes).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("the record is sealed"), "{told}");
    let without_pair = edited(&record(&key(), 1), |form| form["pair"] = Value::Null);
    // Nothing of it is secret, and a writer without the secret must not be able to change any of it.
    let bytes = codec.encode(&without_pair).unwrap();
    serde_json::from_slice::<Record>(&bytes).unwrap_err();
    assert_eq!(codec.decode(&key(), &bytes).unwrap(), without_pair);
}

#[test]
fn a_codec_restores_records_and_its_buffers_never_grow() {
    let record = record(&key(), 1);
    for codec in [Codec::plain(), Codec::sealed(FakeSealer::new("secret"))] {
        let bytes = codec.encode(&record).unwrap();
        assert_eq!(bytes.capacity(), bytes.len());
        assert_eq!(codec.decode(&key(), &bytes).unwrap(), record);
        assert!(codec.decode(&key().label("another"), &bytes).is_err());
        assert!(!format!("{codec:?}").contains("secret"));
    }
    let garbled = br#"{"format": 3, "pair": "refresh-sesame-1"}"#;
    told(&Codec::plain().decode(&key(), garbled).unwrap_err());
}

/// A sealer whose key and whose form are not those of the sealed bytes.
struct OfAnother(SealError);

impl Sealer for OfAnother {
    fn seal(&self, _: &AssociatedData<'_>, _: &[u8]) -> Result<Vec<u8>, SealError> {
        Err(SealError::failed("the key service is away"))
    }

    fn open(&self, _: &AssociatedData<'_>, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn a_sealer_of_the_programs_own_names_what_it_lacks_and_the_store_names_the_remedy() {
    let directory = directory();
    let first = record(&key(), 1);
    put(&sealed(&directory), None, &first).await;
    for (error, cause, remedy) in [
        (
            SealError::unknown_key("vault/7"),
            "sealed with the key vault/7, which this sealer does not have; add that key to those that open",
            "it was sealed with the key vault/7, which this store does not have; add that key behind the one that \
             seals, or move it away and sign in anew if the key is lost",
        ),
        (
            SealError::unknown_form(9),
            "sealed in the form 9, which this sealer does not know; use the sealer and the version that sealed",
            "it was sealed in the form 9, which this store's sealer does not know; use the sealer and the version that \
             it was written with",
        ),
    ] {
        assert_eq!(error.to_string(), cause);
        let store = open(&directory).sealed(OfAnother(error));
        let told = told(&store.load(&key()).await.unwrap_err());
        assert!(told.contains(remedy) && told.ends_with(cause), "{told}");
    }
    let failing = open(&directory).sealed(OfAnother(SealError::Refused));
    let other = key().label("another");
    let swap = failing.swap(&other, None, &record(&other, 1)).await;
    let told = told(&swap.unwrap_err());
    let cause = "the sealer failed: the key service is away";
    assert!(told.ends_with(cause), "{told}");
}

/// The pair with its expiry is sealed. The readable copy has the expiry of the past tokens alone.
#[tokio::test]
async fn w13_a_purge_opens_the_seal_and_does_not_believe_the_readable_copy() {
    let directory = directory();
    let store = sealed(&directory);
    put(&store, None, &record(&key(), 1)).await;
    edit(&directory, &key(), |form| form["past"]["until"] = 1.into());
    let error = told(&store.purge().await.unwrap_err());
    assert!(error.contains("it was altered since"), "{error}");
    assert!(path(&directory, &key()).exists());
}

struct Panics;

impl Sealer for Panics {
    fn seal(&self, _: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        panic!("{} bytes", plain.len());
    }

    fn open(&self, _: &AssociatedData<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        panic!("{} bytes", sealed.len());
    }
}

#[tokio::test]
async fn a_sealer_that_panics_is_an_error_and_changes_nothing() {
    let directory = directory();
    let first = record(&key(), 1);
    let revision = put(&sealed(&directory), None, &first).await;
    let broken = open(&directory).sealed(Panics);
    let swap = broken
        .swap(&key(), Some(revision), &record(&key(), 2))
        .await;
    for error in [broken.load(&key()).await.unwrap_err(), swap.unwrap_err()] {
        let panicked = "the store or its sealer panicked; read the panic's message";
        assert_eq!(told(&error), panicked);
    }
    put(&sealed(&directory), Some(revision), &first).await;
}

#[tokio::test(start_paused = true)]
async fn w13_the_file_contains_no_token_before_and_after_rotations() {
    let (world, directory) = (World::new(TTL), directory());
    let sealed = |secret| {
        let store = open(&directory).with_clock(world.clock.clone());
        store.sealed(FakeSealer::new(secret))
    };
    let manager = |store| world.builder(OnRequest::default()).store(store);
    let tokens = loaded(manager(sealed("secret"))).await;
    let first = (&world.first.access, &world.first.refresh);
    let (access, refresh) = (first.0.as_ref().unwrap(), first.1.as_ref().unwrap());
    let mut secrets = vec![access.expose().to_owned(), refresh.expose().to_owned()];
    for _ in 0..4 {
        let bytes = std::fs::read_to_string(path(&directory, tokens.key())).unwrap();
        assert!(bytes.contains("sealed"), "{bytes}");
        for secret in &secrets {
            assert!(!bytes.contains(secret.as_str()), "{bytes}");
        }
        world.expire().await;
        secrets.push(tokens.token().await.unwrap().expose().to_owned());
        let (record, _) = entry(&sealed("secret"), tokens.key()).await.unwrap();
        let form = serde_json::to_value(record).unwrap();
        secrets.push(form["pair"]["refresh_token"].as_str().unwrap().to_owned());
    }
    let restarted = loaded(manager(sealed("secret"))).await;
    let restarted = restarted.token().await.unwrap();
    assert_eq!(restarted.expose(), secrets[secrets.len() - 2]);
    world.assert_exchanges(4);
    let wrong = manager(sealed("another"));
    wrong.build().unwrap().token().await.unwrap_err();
    world.assert_exchanges(4);
}
