use std::fs::OpenOptions;

use crate::scene::{directory, files, key, lock_path, open, path, put, record};

#[tokio::test]
async fn fm11_files_of_a_killed_process_are_removed_unless_another_process_writes_them() {
    let directory = directory();
    let at = |name: String| directory.path().join(name);
    let [ours, dead, live] = [key(), key().label("dead"), key().label("live")];
    let leftover = |key: &evertoken::Key| at(format!("{}.a1B2c3.tmp", key.digest()));
    let foreign = at("notes.tmp".to_owned());
    for path in [
        leftover(&ours),
        leftover(&dead),
        leftover(&live),
        foreign.clone(),
    ] {
        std::fs::write(path, "{\"revision\":1,\"record\":{\"form").unwrap();
    }
    let mut options = OpenOptions::new();
    let lock = lock_path(&directory, &live);
    let lock = options.create(true).append(true).open(lock).unwrap();
    lock.lock().unwrap();

    let store = open(&directory);
    put(&store, None, &record(&ours, 1)).await;
    let mut left = files(&directory, "tmp");
    left.sort();
    let mut expected = vec![leftover(&live), foreign];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(files(&directory, "json"), [path(&directory, &ours)]);
}
