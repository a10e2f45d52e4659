use std::fs::File;
use std::time::Duration;

use evertoken::TokenStore;
use evertoken::testing::TestClock;
use tokio::time::Instant;

use crate::scene::{directory, key, open, path, put, record};

#[tokio::test(start_paused = true)]
async fn a_change_is_noticed_within_fifty_milliseconds() {
    let directory = directory();
    let clock = TestClock::new();
    let mut seen = None;
    for (number, pause) in [0, 1, 24, 499, 1_000, 7_777].into_iter().enumerate() {
        let watcher = open(&directory);
        let watch = tokio::spawn(async move {
            watcher.changed(&key(), seen).await;
            Instant::now()
        });
        clock.advance(Duration::from_millis(pause)).await;
        assert!(!watch.is_finished(), "nothing has changed yet");
        let store = open(&directory).with_clock(clock.clone());
        seen = Some(put(&store, seen, &record(&key(), number as u64)).await);
        let written = Instant::now();
        let noticed = watch.await.unwrap();
        assert!(noticed - written <= Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_a_change() {
    let directory = directory();
    let store = open(&directory);
    let seen = put(&store, None, &record(&key(), 1)).await;
    let watch = tokio::spawn(async move { store.changed(&key(), Some(seen)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!watch.is_finished());
    std::fs::remove_file(path(&directory, &key())).unwrap();
    let noticed = tokio::time::timeout(Duration::from_millis(50), watch).await;
    noticed.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_new_stamp_is_noticed_too() {
    let directory = directory();
    let store = open(&directory);
    let seen = put(&store, None, &record(&key(), 1)).await;
    let path = path(&directory, &key());
    let text = std::fs::read_to_string(&path).unwrap();
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let watch = tokio::spawn(async move { store.changed(&key(), Some(seen)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!watch.is_finished());
    let (old, new) = (seen.number(), seen.number() + 1);
    std::fs::write(&path, text.replace(&old.to_string(), &new.to_string())).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    let noticed = tokio::time::timeout(Duration::from_millis(600), watch).await;
    noticed.unwrap().unwrap();
}
