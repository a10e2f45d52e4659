use std::fs;

use clap::Parser as _;
use tokio::time::{sleep, timeout};

use super::*;

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn journal(&self) -> Journal {
        let mut arguments = Arguments::try_parse_from(["data_import"]).unwrap();
        arguments.resume = Some(self.path("checkpoint"));
        arguments.rejects = Some(self.path("rejects.mrc"));
        Journal::start(Books::open(&arguments).unwrap()).unwrap()
    }

    fn checkpoint(&self) -> Checkpoint {
        serde_json::from_slice(&fs::read(self.path("checkpoint")).unwrap()).unwrap()
    }
}

fn batch(number: u64) -> Batch {
    Batch {
        number,
        records: 2,
        body: "a\x1Db\x1D".into(),
    }
}

#[tokio::test]
async fn a_failed_batch_is_on_disk_with_its_checkpoint_when_it_is_told() {
    let desk = Desk::new();
    let journal = desk.journal();
    journal.pen().rejected(batch(3)).await.unwrap();
    // Whatever becomes of this process now.
    assert_eq!(fs::read(desk.path("rejects.mrc")).unwrap(), b"a\x1Db\x1D");
    let checkpoint = desk.checkpoint();
    assert!(checkpoint.done.contains(3));
    assert_eq!((checkpoint.imported, checkpoint.rejected), (0, 2));
    assert_eq!(checkpoint.rejects.unwrap().bytes, 4);
}

#[tokio::test]
async fn an_imported_batch_is_in_the_checkpoint_before_long_and_nobody_has_to_close_it() {
    let desk = Desk::new();
    let journal = desk.journal();
    assert!(!desk.checkpoint().done.contains(7));
    journal.pen().imported(&batch(7)).unwrap();
    let kept = async {
        while !desk.checkpoint().done.contains(7) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), kept).await.unwrap();
}

#[tokio::test]
async fn it_is_complete_only_if_every_batch_is_done_and_the_number_of_batches_known() {
    for (batches, is_complete) in [(Some(2), true), (Some(3), false), (None, false)] {
        let desk = Desk::new();
        let journal = desk.journal();
        let pen = journal.pen();
        pen.imported(&batch(1)).unwrap();
        pen.imported(&batch(0)).unwrap();
        drop(pen);
        assert_eq!(journal.close(batches).unwrap().is_complete, is_complete);
        assert_eq!(desk.checkpoint().is_complete, is_complete);
        assert_eq!(desk.checkpoint().imported, 4);
    }
}
