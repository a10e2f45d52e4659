//! Records that are sealed at rest, with the keys of the crate.

use std::error::Error as StdError;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, SealError};
use evertoken::testing::conformance;
use evertoken::{Error, Event, SealingKeys, TokenManager, TokenPair};

use crate::backend::sealed::{Seal, Sealed, digits};
use crate::logs_hold;
use crate::scene::{Scene, answer, millis, until};

super::cases![
    w13_a_sealed_store_conforms,
    w13_a_record_opens_with_the_second_key_and_is_sealed_with_the_first_when_it_is_written_next,
    w13_a_plain_record_is_refused_until_it_is_permitted_and_sealed_when_it_is_written_next,
    w13_the_sealed_record_of_another_session_is_refused,
    w13_the_pair_of_last_week_is_refused_under_the_name_of_today,
    w13_a_sealed_record_with_a_changed_byte_is_refused,
    w13_instances_with_one_file_of_keys_share_a_session,
    w13_with_a_wrong_key_every_call_names_the_missing_key_and_nothing_is_written_over,
    w13_no_token_is_in_the_storage_the_log_or_an_error,
];

/// A key of 32 bytes that are a hash, as a line of text.
fn key(name: &str) -> String {
    let halves = [0, 1].map(|half| *Digest::of(format!("{half} {name}")).as_bytes());
    BASE64_STANDARD.encode(halves.concat())
}

/// The sealer with these keys, the first of which seals.
fn keys(names: &[&str]) -> SealingKeys {
    let lines: Vec<_> = names.iter().map(|name| key(name)).collect();
    SealingKeys::from_text(&lines.join("\n")).unwrap()
}

fn id(name: &str) -> String {
    keys(&[name]).ids().next().unwrap()
}

impl Scene {
    /// The same session for instances with these keys.
    fn sealed(self, keys: SealingKeys) -> Self {
        self.sealed_by(keys, false)
    }

    fn sealed_by(mut self, keys: SealingKeys, accepts_plain: bool) -> Self {
        let seal = Seal {
            keys,
            accepts_plain,
        };
        let storage = Arc::clone(&self.storage);
        self.storage = Arc::new(Sealed { storage, seal });
        self
    }

    /// The error of loading the record.
    async fn refusal(&self) -> Refusal {
        self.refusal_of(&*self.storage.open().await).await
    }

    /// The error of loading the record from this store.
    async fn refusal_of(&self, store: &dyn evertoken::TokenStore) -> Refusal {
        Refusal::of(&store.load(&self.key).await.expect_err("a refusal"))
    }

    async fn loaded(&self) -> Loaded {
        let loaded = self.storage.open().await.load(&self.key).await;
        loaded.expect("the record can be read")
    }

    /// An instance whose callers do not wait long for the store.
    async fn hasty(&self) -> TokenManager {
        let line = self.line().await;
        let endpoint = self.endpoint().with_timeout(millis(50));
        let builder = self.bare(endpoint, &line).seed(self.first.clone());
        builder.wait(millis(1_500)).build().unwrap()
    }

    async fn sealed_part(&self) -> Vec<u8> {
        self.storage.vault().sealed_part(&self.key).await
    }

    /// The id of the key that the record is sealed with.
    async fn sealed_with(&self) -> String {
        digits(&self.sealed_part().await[1..9])
    }
}

/// An error as an operator sees it.
struct Refusal {
    /// The error alone.
    shown: String,
    /// The error, its causes, and what a debugger shows of them.
    all: String,
    cause: Option<SealError>,
}

impl Refusal {
    fn of(error: &(dyn StdError + 'static)) -> Self {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        Self {
            shown: error.to_string(),
            all: chain
                .clone()
                .map(|error| format!("{error}\n{error:?}\n"))
                .collect(),
            cause: chain
                .filter_map(|error| error.downcast_ref().cloned())
                .last(),
        }
    }
}

async fn w13_a_sealed_store_conforms(scene: Scene) {
    let vault = scene.storage.vault();
    let open = async |accepts_plain| {
        let keys = keys(&["one"]);
        vault
            .open_sealed(Seal {
                keys,
                accepts_plain,
            })
            .await
    };
    let plain = async || scene.storage.open().await;
    conformance::sealed_store(plain, async || open(false).await, async || open(true).await).await;
}

async fn w13_a_record_opens_with_the_second_key_and_is_sealed_with_the_first_when_it_is_written_next(
    scene: Scene,
) {
    let scene = scene.sealed(keys(&["old"]));
    let before = scene.node().await.token().await.unwrap();
    assert_eq!(scene.sealed_with().await, id("old"));

    let scene = scene.sealed(keys(&["new", "old"]));
    let node = scene.node().await;
    assert_eq!(node.token().await.unwrap().expose(), before.expose());
    assert_eq!(scene.sealed_with().await, id("old"));
    scene.expire().await;
    let after = node.token().await.unwrap();
    assert_eq!(scene.sealed_with().await, id("new"));

    let scene = scene.sealed(keys(&["new"]));
    assert_eq!(
        scene.node().await.token().await.unwrap().expose(),
        after.expose()
    );
    let scene = scene.sealed(keys(&["old"]));
    let cause = scene.refusal().await.cause;
    assert!(
        matches!(&cause, Some(SealError::UnknownKey { id: missing, .. }) if *missing == id("new"))
    );
    assert_eq!(scene.counts(), (1, 0, 0));
}

async fn w13_a_plain_record_is_refused_until_it_is_permitted_and_sealed_when_it_is_written_next(
    scene: Scene,
) {
    let before = scene.node().await.token().await.unwrap();
    let raw = scene.storage.vault().at_rest().await;
    let scene = scene.sealed(keys(&["one"]));
    let refusal = scene.refusal().await.shown;
    assert!(
        refusal.contains("`accept_plain(true)` (`seal_accepts_plain`"),
        "{refusal}"
    );
    assert_eq!(scene.storage.vault().at_rest().await, raw);

    let scene = scene.sealed_by(keys(&["one"]), true);
    let node = scene.node().await;
    assert_eq!(node.token().await.unwrap().expose(), before.expose());
    scene.expire().await;
    let after = node.token().await.unwrap();

    let scene = scene.sealed(keys(&["one"]));
    assert_eq!(
        scene.node().await.token().await.unwrap().expose(),
        after.expose()
    );
    assert_eq!(scene.sealed_with().await, id("one"));
}

async fn w13_the_sealed_record_of_another_session_is_refused(scene: Scene) {
    let scene = scene.sealed(keys(&["one"]));
    let other = scene.strict();
    for session in [&scene, &other] {
        session.node().await;
    }
    let vault = scene.storage.vault();
    let own = scene.sealed_part().await;
    vault
        .put_sealed_part(&scene.key, &other.sealed_part().await)
        .await;
    assert_eq!(scene.refusal().await.cause, Some(SealError::Refused));
    vault.put_sealed_part(&scene.key, &own).await;
    assert!(scene.loaded().await.entry.is_some());

    vault.copy_record(&scene.key, &other.key).await;
    let refusal = other.refusal().await.shown;
    assert!(
        refusal.contains("it is the record of another session"),
        "{refusal}"
    );
    assert!(scene.loaded().await.entry.is_some());
}

async fn w13_the_pair_of_last_week_is_refused_under_the_name_of_today(scene: Scene) {
    let scene = scene.sealed(keys(&["one"]));
    let node = scene.node().await;
    let mut past = vec![scene.sealed_part().await];
    for _ in 0..2 {
        scene.expire().await;
        node.token().await.unwrap();
        past.push(scene.sealed_part().await);
    }
    let present = past.pop().unwrap();
    for past in past {
        scene
            .storage
            .vault()
            .put_sealed_part(&scene.key, &past)
            .await;
        assert_eq!(scene.refusal().await.cause, Some(SealError::Refused));
    }
    scene
        .storage
        .vault()
        .put_sealed_part(&scene.key, &present)
        .await;
    assert!(scene.loaded().await.entry.is_some());
}

/// Every byte of the head, and some of each other part: the tests of the sealer change each byte.
async fn w13_a_sealed_record_with_a_changed_byte_is_refused(scene: Scene) {
    let scene = scene.sealed(keys(&["one"]));
    scene.node().await;
    let whole = scene.sealed_part().await;
    let ends = whole.len() - 17..whole.len();
    // One store for all bytes: each store of PostgreSQL has connections of its own.
    let store = scene.storage.open().await;
    for at in (0..10)
        .chain([32, 33, whole.len() / 2])
        .chain(ends.step_by(8))
    {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        scene
            .storage
            .vault()
            .put_sealed_part(&scene.key, &altered)
            .await;
        let cause = scene.refusal_of(&*store).await.cause;
        let cause = cause.expect("the sealer refuses");
        let is_named = match at {
            0 => matches!(cause, SealError::UnknownForm { .. }),
            1..9 => matches!(cause, SealError::UnknownKey { .. }),
            _ => cause == SealError::Refused,
        };
        assert!(is_named, "byte {at}: {cause:?}");
        assert_eq!(scene.sealed_part().await, altered, "it was left as it is");
    }
    scene
        .storage
        .vault()
        .put_sealed_part(&scene.key, &whole)
        .await;
    assert!(scene.loaded().await.entry.is_some());
}

async fn w13_instances_with_one_file_of_keys_share_a_session(scene: Scene) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealing-key");
    let text = SealingKeys::random_key().unwrap();
    std::fs::write(&path, format!("# the store of the importers\n{}\n", *text)).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let scene = scene.sealed(SealingKeys::from_file(&path).unwrap());
    let one = scene.node().await;
    let scene = scene.sealed(SealingKeys::from_file(&path).unwrap());
    let other = scene.node().await;
    for rotation in 1..=3 {
        scene.expire().await;
        let (first, second) = match rotation % 2 {
            0 => (&one, &other),
            _ => (&other, &one),
        };
        let (hold, caller) = scene.call_in_flight(first).await;
        let waiter = second.call();
        second.line.waited(1).await;
        drop(hold);
        let (rotated, adopted) = (answer(caller).await.unwrap(), answer(waiter).await.unwrap());
        assert_eq!(rotated.expose(), adopted.expose());
        assert_eq!(scene.counts(), (rotation, 0, 0));
    }
}

async fn w13_with_a_wrong_key_every_call_names_the_missing_key_and_nothing_is_written_over(
    scene: Scene,
) {
    let scene = scene.sealed(keys(&["right"]));
    scene.node().await;
    let (record, part) = (scene.loaded().await.entry, scene.sealed_part().await);
    let remedy = format!(
        "it was sealed with the key {}, which this store does not have; add that key behind the one that seals, or move \
         it away and sign in anew if the key is lost",
        id("right")
    );

    let scene = scene.sealed(keys(&["wrong"]));
    let refusal = scene.refusal().await.shown;
    assert!(refusal.ends_with(&remedy), "{refusal}");
    let (next, _) = record.clone().unwrap();
    let swap = scene
        .storage
        .open()
        .await
        .swap(&scene.key, None, &next)
        .await;
    let refusal = Refusal::of(&swap.unwrap_err()).shown;
    assert!(refusal.ends_with(&remedy), "{refusal}");

    let tokens = scene.hasty().await;
    let mut events = tokens.subscribe();
    let new = TokenPair::new("new access").refresh_token("new refresh");
    let errors: [Error; 3] = [
        tokens.token().await.unwrap_err(),
        tokens.rotate().await.unwrap_err(),
        tokens.replace(new).await.unwrap_err(),
    ];
    for error in errors {
        let refusal = Refusal::of(&error).all;
        assert!(refusal.contains(&remedy), "{refusal}");
    }
    assert!(!tokens.logout().await.is_complete());
    let failed = std::iter::from_fn(|| events.try_recv());
    let failed = failed
        .filter(|event| matches!(event, Event::Failed { .. }))
        .count();
    assert!(failed > 0, "a subscriber gets the failure");

    let scene = scene.sealed(keys(&["right"]));
    assert_eq!(scene.sealed_part().await, part);
    assert_eq!(scene.loaded().await.entry, record);
    assert_eq!(scene.counts(), (0, 0, 0));
}

async fn w13_no_token_is_in_the_storage_the_log_or_an_error(scene: Scene) {
    let raw = Arc::clone(&scene.storage);
    let scene = scene.sealed(keys(&["one"]));
    let node = scene.node().await;
    let (mut secrets, mut seen) = (tokens(&scene.record().await), raw.vault().at_rest().await);
    for _ in 0..3 {
        scene.expire().await;
        let (hold, caller) = scene.call_in_flight(&node).await;
        // The lease is there, and the old pair.
        seen += &raw.vault().at_rest().await;
        drop(hold);
        answer(caller).await.unwrap();
        seen += &raw.vault().at_rest().await;
        secrets.extend(tokens(&scene.record().await));
    }
    let key = scene.key.clone();
    seen += &scene.storage.in_the_open().await;
    let wrong = scene.sealed(keys(&["wrong"]));
    seen += &wrong.refusal().await.all;
    let stranger = wrong.hasty().await;
    seen += &Refusal::of(&stranger.token().await.unwrap_err()).all;
    seen += &format!("{stranger:?} {:?}", wrong.storage.open().await);
    secrets.push(self::key("one"));
    secrets.push(self::key("wrong"));
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        assert!(
            !seen.contains(&form),
            "a token or a key can be seen: {seen}"
        );
        assert!(!logs_hold(&form), "a token or a key was logged");
    }
    assert!(logs_hold(&key.label), "the log is not collected");

    // The same scan finds the tokens of a plain record.
    let plain = Scene::new(Arc::clone(&raw));
    plain.node().await;
    until("the plain record is there", async || {
        let at_rest = raw.vault().at_rest().await;
        tokens(&plain.record().await)
            .iter()
            .all(|token| at_rest.contains(token))
    })
    .await;
}

/// The tokens of a record.
fn tokens(record: &Record) -> Vec<String> {
    let form = serde_json::to_value(record).unwrap();
    let token = |name: &str| form["pair"][name].as_str().expect(name).to_owned();
    ["access_token", "refresh_token"].map(token).to_vec()
}

/// The secret as it is, in hexadecimal digits, and in base64 at each of three places behind other bytes.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), digits(secret.as_bytes())];
    for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
        for (before, depend) in [(0, 0), (1, 2), (2, 3)] {
            let padded = [&vec![0; before], secret.as_bytes()].concat();
            // The first characters depend on the bytes before, and the last ones on those behind.
            forms.push(engine.encode(padded)[depend..depend + 24].to_owned());
        }
    }
    forms
}
