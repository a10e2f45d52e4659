use crate::process::Process;
use crate::scene::{directory, entry, key, number, open};

/// A limit of the file length stands in for a full disk. Its signal is ignored, so a write beyond the limit is an
/// error as on a full disk.
#[tokio::test]
async fn fm11_a_disk_that_fills_up_leaves_the_old_record_and_no_temporary_file() {
    let directory = directory();
    let shell = "trap '' XFSZ; ulimit -f 16";
    Process::start("fill", shell, directory.path()).succeeds();
    let (record, _) = entry(&open(&directory), &key()).await.unwrap();
    assert_eq!(number(&record), 3);
}
