//! The content of a file, and the files that are refused.

use std::time::Duration;

use evertoken::TokenStore;
use evertoken::store::Revision;
use evertoken::testing::TestClock;
use serde_json::json;

use crate::scene::{
    directory, entry, files, json_in, key, long_record, open, path, put, record, refused, stored,
    told,
};
use crate::seal::FakeSealer;

#[tokio::test]
async fn fm11_a_file_cut_off_anywhere_is_left_and_named_by_the_error() {
    let (directory, store, _) = stored().await;
    let path = path(&directory, &key());
    let whole = std::fs::read(&path).unwrap();
    // The last byte only ends the line.
    for end in 0..whole.len() - 1 {
        std::fs::write(&path, &whole[..end]).unwrap();
        let error = refused(&store, directory.path(), &key()).await;
        assert!(error.contains("not a whole record"), "{error}");
        assert!(error.contains("restore it from a backup"), "{error}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(entry(&store, &key()).await.unwrap().0, record(&key(), 1));
}

#[tokio::test]
async fn a_foreign_file_is_an_error_that_names_the_file_and_quotes_nothing() {
    let (directory, store, _) = stored().await;
    let path = path(&directory, &key());
    let whole = std::fs::read_to_string(&path).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut form = serde_json::from_str(&whole).unwrap();
        change(&mut form);
        form.to_string()
    };
    let broken = [
        "refresh-sesame-1".to_owned(),
        "\"refresh-sesame-1\"".to_owned(),
        "[1, [2]]".to_owned(),
        "{\"revision\":1,\"record\":[2]}".to_owned(),
        format!("{whole}{whole}"),
        format!("{whole}\0\0\0"),
        "\0".repeat(whole.len()),
        "[".repeat(100_000),
        with(&|form| form["later"] = 1.into()),
        with(&|form| form["revision"] = (-1).into()),
        with(&|form| form["record"]["pair"] = "refresh-sesame-1".into()),
        with(&|form| form["record"]["version"] = "refresh-sesame-1".into()),
        with(&|form| form["record"]["state"] = "refresh-sesame-1".into()),
        with(&|form| form["record"]["format"] = 4.into()),
        with(&|form| form["record"]["format"] = 0.into()),
    ];
    let later = with(&|form| form["record"]["format"] = 5.into());
    let other = with(&|form| form["record"]["key"] = json!(key().label("another")));
    let long = " ".repeat((1 << 20) + 1);
    let others = [
        (
            later,
            "format 5 and this version of evertoken reads up to 4",
        ),
        (other, "another session"),
        (long, "longer than 1048576 bytes"),
    ];
    for (content, reason) in broken
        .map(|it| (it, "not a whole record"))
        .into_iter()
        .chain(others)
    {
        std::fs::write(&path, &content).unwrap();
        let error = refused(&store, directory.path(), &key()).await;
        assert!(error.contains(reason), "{error}");
    }
}

/// The file is refused by every call that reads it, and at the path that the unreleased version gave it.
#[tokio::test]
async fn a_file_of_an_unreleased_version_is_an_error_that_names_the_file_and_its_layout() {
    let plain = json!({ "issued_at": 1, "refresh_token": "refresh-sesame-1" });
    let sealed = json!({ "digest": "00".repeat(32), "sealed": "AAAA" });
    for (format, pair) in [(1, plain), (2, sealed)] {
        let directory = directory();
        let plain = open(&directory);
        let sealed = open(&directory).sealed(FakeSealer::new("secret"));
        let accepting = sealed.clone().accept_plain(true);
        put(&plain, None, &record(&key(), 1)).await;
        let now = path(&directory, &key());
        let mut form: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&now).unwrap()).unwrap();
        form["record"]["format"] = format.into();
        form["record"]["pair"] = pair;
        form["record"]["retired"] = json!([{ "digest": "00".repeat(32), "until": null }]);
        form["record"].as_object_mut().unwrap().remove("past");
        std::fs::write(&now, form.to_string()).unwrap();
        let reason = format!(
            "format {format}, the layout of an unreleased version; move it away and sign in anew"
        );
        for store in [&plain, &sealed, &accepting] {
            let error = refused(store, directory.path(), &key()).await;
            assert!(error.contains(&reason), "{error}");
            let error = told(&store.find(&record(&key(), 1).digest()).await.unwrap_err());
            assert!(error.contains(&reason), "{error}");
            let error = told(&store.purge().await.unwrap_err());
            assert!(error.contains(&reason), "{error}");
        }
        // The whole SHA-256 of `evertoken key 1` and the parts of the key.
        let whole = "5f5ef1b6f3febaa65068ba182548cd54f424b5f70fcfb2a39f3e0909fd9c6eff";
        let before = now.with_file_name(format!("{whole}.json"));
        std::fs::rename(&now, &before).unwrap();
        for store in [&plain, &sealed, &accepting] {
            let swap = store.swap(&key(), None, &record(&key(), 1)).await;
            for error in [store.load(&key()).await.unwrap_err(), swap.unwrap_err()] {
                let (error, reason) = (told(&error), "unreleased version; move it away");
                assert!(error.contains(&before.display().to_string()), "{error}");
                assert!(error.contains(reason), "{error}");
            }
        }
        std::fs::remove_file(&before).unwrap();
        put(&plain, None, &record(&key(), 1)).await;
    }
}

#[tokio::test]
async fn a_missing_directory_is_an_error_and_not_a_missing_session() {
    let directory = directory();
    let inner = directory.path().join("inner");
    let store = open(&inner);
    put(&store, None, &record(&key(), 1)).await;
    std::fs::rename(&inner, directory.path().join("elsewhere")).unwrap();
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(error.contains(&inner.display().to_string()), "{error}");
    let swap = store.swap(&key(), None, &record(&key(), 2)).await;
    assert!(swap.is_err());
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(evertoken::FileStore::new(file).is_err());
}

#[tokio::test]
async fn fields_of_a_later_version_survive() {
    let directory = directory();
    let store = open(&directory);
    put(&store, None, &record(&key(), 7)).await;
    let (found, revision) = entry(&store, &key()).await.unwrap();
    put(&open(&directory), Some(revision), &found).await;
    let form = json_in(&directory, &key());
    assert_eq!(form["of_a_later_version"]["number"], 7);
}

#[tokio::test]
async fn each_odd_key_has_its_own_file() {
    let directory = directory();
    let store = open(&directory);
    // The first label is empty.
    let labels = " / \0 .. a/../../b NUL con é e\u{301} É \u{1f511} x X".split(' ');
    let mut keys: Vec<_> = labels.map(|label| key().label(label)).collect();
    keys.push(key().label("long".repeat(100_000)));
    for key in &keys {
        put(&store, None, &record(key, 1)).await;
    }
    for key in &keys {
        assert_eq!(entry(&store, key).await.unwrap().0, record(key, 1));
    }
    let names = files(&directory, "json");
    assert_eq!(names.len(), keys.len());
    for name in names {
        let name = name.file_name().unwrap().to_str().unwrap().to_owned();
        let stem = name.strip_suffix(".json").unwrap();
        assert_eq!(stem.len(), 32);
        assert_eq!(stem, stem.to_lowercase());
    }
}

#[tokio::test]
async fn a_record_that_is_too_long_to_be_read_again_is_not_written() {
    let directory = directory();
    let store = open(&directory);
    let small = record(&key(), 1);
    let revision = put(&store, None, &small).await;
    for (next, reason) in [
        (long_record(&key(), 2, 1 << 20), "longer than 1048576 bytes"),
        (record(&key().label("another"), 2), "another session"),
    ] {
        let swap = store.swap(&key(), Some(revision), &next).await;
        assert!(told(&swap.unwrap_err()).contains(reason));
    }
    assert_eq!(entry(&store, &key()).await, Some((small, revision)));
    assert_eq!(files(&directory, "tmp").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn revisions_do_not_repeat_after_the_file_was_removed_or_the_clock_stepped() {
    let directory = directory();
    let clock = TestClock::new();
    let store = open(&directory).with_clock(clock.clone());
    let mut last = put(&store, None, &record(&key(), 1)).await;
    for number in 2..5 {
        // The clock stands still.
        let next = put(&store, Some(last), &record(&key(), number)).await;
        assert!(next.number() > last.number());
        last = next;
    }
    clock.step_wall_back(Duration::from_secs(3_600));
    let next = put(&store, Some(last), &record(&key(), 5)).await;
    assert_eq!(next, Revision::new(last.number() + 1));
    clock.step_wall(Duration::from_secs(3_601));
    std::fs::remove_file(path(&directory, &key())).unwrap();
    assert_eq!(entry(&store, &key()).await, None);
    let anew = put(&store, None, &record(&key(), 6)).await;
    assert!(anew.number() > next.number());
}

#[tokio::test]
async fn a_search_finds_readable_records_and_never_guesses() {
    let directory = directory();
    let store = open(&directory);
    let there = record(&key(), 1);
    put(&store, None, &there).await;
    let absent = evertoken::protocol::Digest::of("absent");
    assert_eq!(store.find(&absent).await.unwrap(), None);
    let copy = path(&directory, &key().label("copy"));
    std::fs::copy(path(&directory, &key()), &copy).unwrap();
    assert_eq!(store.find(&there.digest()).await.unwrap(), Some(key()));
    std::fs::remove_file(path(&directory, &key())).unwrap();
    assert_eq!(store.find(&there.digest()).await.unwrap(), None);
    std::fs::rename(&copy, path(&directory, &key())).unwrap();
    std::fs::write(path(&directory, &key().label("torn")), "{").unwrap();
    #[cfg(unix)]
    crate::scene::set_mode(path(&directory, &key().label("torn")), 0o600);
    assert_eq!(store.find(&there.digest()).await.unwrap(), Some(key()));
    let error = told(&store.find(&absent).await.unwrap_err());
    assert!(error.contains("not a whole record"), "{error}");
}
