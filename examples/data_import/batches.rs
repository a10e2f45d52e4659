//! Reads records on a thread of its own and hands them on in batches. Few batches wait at any time:
//! the reader waits with them, so that a file of any size takes the same memory.

use std::fs::File;
use std::io::BufReader;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::arguments::Arguments;
use crate::done::Done;
use crate::generate;
use crate::marc_file::MarcFile;

/// Batches read ahead.
const READ_AHEAD: usize = 4;

/// Records back to back, as they stand in a file.
#[derive(Debug)]
pub(crate) struct Batch {
    /// From 0, in the order of the input.
    pub(crate) number: u64,
    pub(crate) records: u64,
    pub(crate) body: Bytes,
}

/// Where the batches come out, and the thread that puts them in.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(crate) receiver: mpsc::Receiver<Batch>,
    /// Ends when everything is read, with the number of batches, those that were left out too; when nobody
    /// receives any more; or with the record that cannot be read: what stands before it comes out all the
    /// same.
    pub(crate) reader: JoinHandle<anyhow::Result<Option<u64>>>,
}

/// Starts to read what the arguments say, without the batches that are done with.
pub(crate) fn read(arguments: &Arguments, done: Done) -> anyhow::Result<Batches> {
    let size = arguments.batch;
    let Some(path) = arguments.input.clone() else {
        let count = arguments.count().unwrap_or_default();
        let records = generate::records(count).map(|record| record.context("cannot make a record"));
        return start(records, size, done);
    };
    let name = path.display().to_string();
    let file = File::open(&path).with_context(|| format!("cannot open {name}"))?;
    let limit = arguments.count().unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let records = MarcFile::new(BufReader::new(file))
        .take(limit)
        .map(move |record| record.with_context(|| format!("cannot read {name}")));
    start(records, size, done)
}

fn start<I>(records: I, size: usize, done: Done) -> anyhow::Result<Batches>
where
    I: Iterator<Item = anyhow::Result<Vec<u8>>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    // Not one of the runtime's threads: those are waited for at its end, and a file may block.
    let reader = thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || fill(records, size, &done, &sender))
        .context("cannot start the reader")?;
    Ok(Batches { receiver, reader })
}

fn fill(
    mut records: impl Iterator<Item = anyhow::Result<Vec<u8>>>,
    size: usize,
    done: &Done,
    sender: &mpsc::Sender<Batch>,
) -> anyhow::Result<Option<u64>> {
    for number in 0.. {
        let mut body = Vec::new();
        let mut count = 0;
        let mut broken = Ok(None);
        for record in records.by_ref().take(size) {
            match record {
                Ok(record) => body.extend_from_slice(&record),
                Err(error) => {
                    broken = Err(error);
                    break;
                }
            }
            count += 1;
        }
        if count == 0 {
            return broken.map(|_: Option<u64>| Some(number));
        }
        let batch = Batch {
            number,
            records: count,
            body: body.into(),
        };
        if !done.contains(number) && sender.blocking_send(batch).is_err() || broken.is_err() {
            return broken;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use anyhow::anyhow;

    use super::*;

    fn sizes(mut batches: Batches) -> (Vec<u64>, anyhow::Result<Option<u64>>) {
        let mut sizes = Vec::new();
        while let Some(batch) = batches.receiver.blocking_recv() {
            let terminators = batch.body.iter().filter(|byte| **byte == 0x1D).count();
            assert_eq!(batch.records, terminators as u64);
            sizes.push(batch.records);
        }
        (sizes, batches.reader.join().unwrap())
    }

    fn generated(count: u64) -> impl Iterator<Item = anyhow::Result<Vec<u8>>> + Send + 'static {
        generate::records(count).map(|record| Ok(record?))
    }

    #[test]
    fn the_last_batch_holds_the_rest_and_none_is_empty() -> anyhow::Result<()> {
        for (count, expected) in [(0, vec![]), (50, vec![50]), (101, vec![50, 50, 1])] {
            let (sizes, read) = sizes(start(generated(count), 50, Done::default())?);
            assert_eq!(sizes, expected);
            assert_eq!(read?, Some(expected.len() as u64));
        }
        Ok(())
    }

    #[test]
    fn batches_that_are_done_are_left_out_and_the_others_keep_their_numbers() -> anyhow::Result<()>
    {
        let mut done = Done::default();
        for number in [0, 1, 3] {
            done.add(number);
        }
        let Batches {
            mut receiver,
            reader,
        } = start(generated(23), 5, done)?;
        let mut received = Vec::new();
        while let Some(batch) = receiver.blocking_recv() {
            let record = marc::Record::parse(&batch.body)?;
            let first = record.field(b"001")[0].get_data::<str>().to_owned();
            received.push((batch.number, batch.records, first));
        }
        let expected = [(2, 5, "et0000000011"), (4, 3, "et0000000021")];
        assert_eq!(received, expected.map(|(n, r, f)| (n, r, f.to_owned())));
        assert_eq!(reader.join().unwrap()?, Some(5));
        Ok(())
    }

    #[test]
    fn what_was_read_before_an_error_comes_out_and_nothing_after_it() -> anyhow::Result<()> {
        let records = generated(7)
            .chain([Err(anyhow!("broken"))])
            .chain(generated(7));
        let (sizes, result) = sizes(start(records, 5, Done::default())?);
        assert_eq!(sizes, [5, 2]);
        assert_eq!(result.unwrap_err().to_string(), "broken");
        Ok(())
    }

    #[test]
    fn the_reader_is_never_further_ahead_than_it_may() -> anyhow::Result<()> {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let records = generated(1_000).inspect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mut batches = start(records, 10, Done::default())?;
        for received in 0..20 {
            // Time enough for a reader that does not wait to come to the end.
            thread::sleep(Duration::from_millis(5));
            let limit = 10 * (received + READ_AHEAD + 1);
            assert!(taken.load(Ordering::SeqCst) <= limit);
            batches.receiver.blocking_recv().unwrap();
        }
        Ok(())
    }

    #[test]
    fn a_reader_that_nobody_listens_to_ends() -> anyhow::Result<()> {
        let batches = start(generated(u64::MAX), 5, Done::default())?;
        drop(batches.receiver);
        assert_eq!(batches.reader.join().unwrap()?, None);
        Ok(())
    }
}
