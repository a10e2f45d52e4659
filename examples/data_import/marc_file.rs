//! Reads MARC21 records (ISO 2709) one by one. It keeps one record in memory and never guesses where
//! the next one starts: after a broken record it ends.
//!
//! The `marc` crate parses records, but it indexes by what a leader says before it has checked it. So
//! records are framed and their leaders checked here, which also tells the position of a broken one.

use std::io::{self, BufRead, Read};

/// The leader, and the base address of an empty record less its directory's terminator.
const LEADER: usize = 24;

/// The five digits at the start of the leader.
const LENGTH_DIGITS: usize = 5;

/// Where the base address of the data stands in the leader.
const BASE_ADDRESS: std::ops::Range<usize> = 12..17;

const RECORD_TERMINATOR: u8 = 0x1D;

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("record {number} at byte {offset}")]
pub(crate) struct BrokenRecord {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Where it starts, counted from 0.
    pub(crate) offset: u64,
    #[source]
    pub(crate) problem: Problem,
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it starts with \"{0}\", and not with its length in five digits")]
    LengthDigits(String),
    #[error("its leader says that it is {0} bytes long, which is too short for a record")]
    Length(usize),
    #[error("the file ends after {found} of its {length} bytes")]
    Truncated { found: usize, length: usize },
    #[error("no record terminator at its end, {0} bytes on as its leader says")]
    NoTerminator(usize),
    #[error("its data starts at \"{0}\", its leader says, which is not a place inside of it")]
    BaseAddress(String),
    #[error("its directory cannot be read")]
    Directory(#[source] marc::Error),
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
}

/// The records of a file, each with all its bytes.
#[derive(Debug)]
pub(crate) struct MarcFile<R> {
    input: R,
    /// Records read so far.
    records: u64,
    /// Bytes read so far.
    offset: u64,
    is_over: bool,
}

impl<R: BufRead> MarcFile<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            records: 0,
            offset: 0,
            is_over: false,
        }
    }

    /// The next record; `None` at the end of the file.
    fn record(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let mut record = Vec::new();
        if self.read_to(LENGTH_DIGITS, &mut record)? == 0 {
            return Ok(None);
        }
        let length = decimal(&record)
            .filter(|_| record.len() == LENGTH_DIGITS)
            .ok_or_else(|| Problem::LengthDigits(record.escape_ascii().to_string()))?;
        if length <= LEADER {
            return Err(Problem::Length(length));
        }
        let found = self.read_to(length, &mut record)?;
        if found < length {
            return Err(Problem::Truncated { found, length });
        }
        if record.last() != Some(&RECORD_TERMINATOR) {
            return Err(Problem::NoTerminator(length));
        }
        let base_address = &record[BASE_ADDRESS];
        if !decimal(base_address).is_some_and(|base| (LEADER + 1..length).contains(&base)) {
            let text = base_address.escape_ascii().to_string();
            return Err(Problem::BaseAddress(text));
        }
        marc::Record::parse(&record).map_err(Problem::Directory)?;
        Ok(Some(record))
    }

    /// Reads on until the record has this length or the file ends; returns the length it has then.
    fn read_to(&mut self, length: usize, record: &mut Vec<u8>) -> io::Result<usize> {
        let missing = (length - record.len()) as u64;
        let mut input = self.input.by_ref().take(missing);
        input.read_to_end(record)?;
        Ok(record.len())
    }

    /// Passes over what real files have between their records.
    fn skip_strays(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let strays = buffer.iter().take_while(|byte| is_stray(**byte)).count();
            if strays == 0 {
                return Ok(());
            }
            self.input.consume(strays);
            self.offset += strays as u64;
        }
    }
}

impl<R: BufRead> Iterator for MarcFile<R> {
    type Item = Result<Vec<u8>, BrokenRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let strays = self.skip_strays().map_err(Problem::from);
        match strays.and_then(|()| self.record()) {
            Ok(Some(record)) => {
                self.records += 1;
                self.offset += record.len() as u64;
                Some(Ok(record))
            }
            Ok(None) => {
                self.is_over = true;
                None
            }
            Err(problem) => {
                self.is_over = true;
                Some(Err(BrokenRecord {
                    number: self.records + 1,
                    offset: self.offset,
                    problem,
                }))
            }
        }
    }
}

/// Line ends, padding, and the end-of-file mark of old systems.
fn is_stray(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0 | 0x1A)
}

fn decimal(digits: &[u8]) -> Option<usize> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

// With its path, because `folio_import` has this file too.
#[cfg(test)]
#[path = "marc_file/tests.rs"]
mod tests;
