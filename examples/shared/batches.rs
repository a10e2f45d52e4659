//! The way of records from the input to the workers: a thread reads the records into batches, [`Done`] has the batches that
//! need no sending, and [`Stop`] ends the import early. The thread reads few batches ahead, so that a file of any size takes
//! the same memory.

use std::fs::File;
use std::io::BufReader;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::arguments::Arguments;
use crate::records::{self, MarcFile};

/// Batches that are read ahead.
const READ_AHEAD: usize = 4;

/// Records back to back, as in a file.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Counted from 0, in the order of the input.
    pub(crate) number: u64,
    pub(crate) records: u64,
    pub(crate) body: Bytes,
}

/// The receiver of the batches, and the thread that reads them.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(crate) receiver: mpsc::Receiver<Batch>,
    /// Ends with the number of all batches, including the omitted ones, when the input is read; with `None` when the
    /// receiver is dropped; or with the record that cannot be read, after the records before it were sent.
    pub(crate) reader: JoinHandle<anyhow::Result<Option<u64>>>,
}

/// Starts to read the input of the arguments, without the batches that are done.
pub(crate) fn read(arguments: &Arguments, done: Done) -> anyhow::Result<Batches> {
    let size = arguments.batch;
    let Some(path) = arguments.input.clone() else {
        let count = arguments.count().unwrap_or_default();
        let records =
            records::generated(count).map(|record| record.context("cannot make a record"));
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
    // The runtime waits for its own threads at its end, and reading a file may block.
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

/// Batches by number that are done, as half-open ranges in order with a gap between any two. Batches end slightly out of
/// order, so the ranges stay few and take the same few bytes after a million batches as after ten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct Done(Vec<(u64, u64)>);

impl Done {
    /// Adding a batch twice changes nothing.
    pub(crate) fn add(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let ranges = &mut self.0;
        let next = ranges.partition_point(|(start, _)| *start <= number);
        let continues = next > 0 && ranges[next - 1].1 == number;
        let precedes = next < ranges.len() && ranges[next].0 == number + 1;
        match (continues, precedes) {
            (true, true) => ranges[next - 1].1 = ranges.remove(next).1,
            (true, false) => ranges[next - 1].1 = number + 1,
            (false, true) => ranges[next].0 = number,
            (false, false) => ranges.insert(next, (number, number + 1)),
        }
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let next = self.0.partition_point(|(start, _)| *start <= number);
        next > 0 && number < self.0[next - 1].1
    }

    /// Whether all of so many batches are done.
    pub(crate) fn covers(&self, batches: u64) -> bool {
        match self.0.as_slice() {
            [] => batches == 0,
            [whole] => *whole == (0, batches),
            _ => false,
        }
    }
}

impl From<Done> for Vec<(u64, u64)> {
    fn from(done: Done) -> Self {
        done.0
    }
}

impl TryFrom<Vec<(u64, u64)>> for Done {
    type Error = &'static str;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, Self::Error> {
        let are_ranges = ranges.iter().all(|(start, end)| start < end);
        let are_apart = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        match are_ranges && are_apart {
            true => Ok(Self(ranges)),
            false => Err("ranges are empty, out of order or not apart"),
        }
    }
}

/// Ends an import before its input ends: no worker takes another batch or waits for another attempt. `R` is the reason of an
/// import that stops itself.
#[derive(Debug)]
pub(crate) struct Stop<R> {
    requested: watch::Sender<bool>,
    reason: OnceLock<R>,
}

impl<R> Stop<R> {
    pub(crate) fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Stops for a reason that does not pass by itself. The first reason counts.
    pub(crate) fn because(&self, reason: R) {
        self.reason.get_or_init(|| reason);
        self.request();
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    pub(crate) async fn requested(&self) {
        let mut requested = self.requested.subscribe();
        // Waiting fails only without a sender, and `self` is the sender.
        let _ = requested.wait_for(|requested| *requested).await;
    }

    pub(crate) fn why(&self) -> Option<&R> {
        self.reason.get()
    }
}

impl<R> Default for Stop<R> {
    fn default() -> Self {
        Self {
            requested: watch::Sender::default(),
            reason: OnceLock::new(),
        }
    }
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
        records::generated(count).map(|record| Ok(record?))
    }

    #[test]
    fn the_last_batch_holds_the_rest_and_no_batch_is_empty() -> anyhow::Result<()> {
        for (count, expected) in [(0, vec![]), (50, vec![50]), (101, vec![50, 50, 1])] {
            let (sizes, read) = sizes(start(generated(count), 50, Done::default())?);
            assert_eq!(sizes, expected);
            assert_eq!(read?, Some(expected.len() as u64));
        }
        Ok(())
    }

    #[test]
    fn batches_that_are_done_are_omitted_and_the_others_keep_their_numbers() -> anyhow::Result<()> {
        let mut done = Done::default();
        for number in [0, 1, 3] {
            done.add(number);
        }
        let mut batches = start(generated(23), 5, done)?;
        let mut received = Vec::new();
        while let Some(batch) = batches.receiver.blocking_recv() {
            let record = marc::Record::parse(&batch.body)?;
            let first = record.field(b"001")[0].get_data::<str>().to_owned();
            received.push((batch.number, batch.records, first));
        }
        let expected = [(2, 5, "et0000000011"), (4, 3, "et0000000021")];
        assert_eq!(received, expected.map(|(n, r, f)| (n, r, f.to_owned())));
        assert_eq!(batches.reader.join().unwrap()?, Some(5));
        Ok(())
    }

    #[test]
    fn records_before_an_error_are_sent_and_none_after_it() -> anyhow::Result<()> {
        let records = generated(7)
            .chain([Err(anyhow!("broken"))])
            .chain(generated(7));
        let (sizes, result) = sizes(start(records, 5, Done::default())?);
        assert_eq!(sizes, [5, 2]);
        assert_eq!(result.unwrap_err().to_string(), "broken");
        Ok(())
    }

    #[test]
    fn the_reader_reads_ahead_no_further_than_the_limit() -> anyhow::Result<()> {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let records = generated(1_000).inspect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mut batches = start(records, 10, Done::default())?;
        for received in 0..20 {
            // A reader that does not wait would reach the end in this time.
            thread::sleep(Duration::from_millis(5));
            let limit = 10 * (received + READ_AHEAD + 1);
            assert!(taken.load(Ordering::SeqCst) <= limit);
            batches.receiver.blocking_recv().unwrap();
        }
        Ok(())
    }

    #[test]
    fn a_reader_without_a_receiver_ends() -> anyhow::Result<()> {
        let batches = start(generated(u64::MAX), 5, Done::default())?;
        drop(batches.receiver);
        assert_eq!(batches.reader.join().unwrap()?, None);
        Ok(())
    }

    #[test]
    fn batches_that_end_in_any_order_become_one_range() {
        for step in [1, 3, 7, 11, 19] {
            let mut done = Done::default();
            for turn in 0..20 {
                let number = turn * step % 20;
                assert!(!done.contains(number));
                assert!(!done.covers(20));
                done.add(number);
                done.add(number);
                assert!(done.contains(number));
            }
            assert_eq!(done, Done(vec![(0, 20)]));
            assert!(done.covers(20));
            assert!(!done.covers(21) && !done.contains(20));
        }
    }

    #[test]
    fn a_gap_between_batches_stays_a_gap() {
        let mut done = Done::default();
        for number in [0, 1, 3, 4, 9] {
            done.add(number);
        }
        assert_eq!(done, Done(vec![(0, 2), (3, 5), (9, 10)]));
        assert!(!done.contains(2) && !done.contains(8));
    }

    #[test]
    fn empty_or_touching_ranges_are_refused() {
        for ranges in ["[[1,1]]", "[[2,1]]", "[[0,2],[2,3]]", "[[5,6],[0,2]]"] {
            assert!(serde_json::from_str::<Done>(ranges).is_err(), "{ranges}");
        }
        assert!(serde_json::from_str::<Done>("[[0,2],[3,4]]").is_ok());
    }
}
