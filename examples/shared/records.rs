//! MARC21 records (ISO 2709): read from a file one by one, or generated.
//!
//! [`MarcFile`] keeps one record in memory and never guesses where the next record starts: a broken record ends the reading.
//! The `marc` crate parses records, but it indexes by the values of a leader before it checks them. So this module frames the
//! records and checks their leaders, which also gives the position of a broken record.

use std::io::{self, BufRead, Read};

use marc::{CharacterCodingScheme, FieldRepr, RecordBuilder};

/// The length of the leader, which is the base address of an empty record less the terminator of its directory.
const LEADER: usize = 24;

/// The leader starts with the length of the record, in five digits.
const LENGTH_DIGITS: usize = 5;

/// The place of the base address of the data in the leader.
const BASE_ADDRESS: std::ops::Range<usize> = 12..17;

const RECORD_TERMINATOR: u8 = 0x1D;

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("record {number} at byte {offset}")]
pub(crate) struct BrokenRecord {
    /// Counted from 1.
    pub(crate) number: u64,
    /// The first byte of the record, counted from 0.
    pub(crate) offset: u64,
    #[source]
    pub(crate) problem: Problem,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it starts with \"{0}\" instead of its length in five digits")]
    LengthDigits(String),
    #[error("the length in its leader is {0} bytes, which is too short for a record")]
    Length(usize),
    #[error("the file ends after {found} of its {length} bytes")]
    Truncated { found: usize, length: usize },
    #[error("it has no record terminator at its end, at the {0} bytes of its leader")]
    NoTerminator(usize),
    #[error("the start of its data in its leader is \"{0}\", which is not inside the record")]
    BaseAddress(String),
    #[error("its directory cannot be read")]
    Directory(#[source] marc::Error),
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
}

/// The records of a file, each with all of its bytes.
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

    /// Reads until the record has this length or the file ends; returns the length that the record has then.
    fn read_to(&mut self, length: usize, record: &mut Vec<u8>) -> io::Result<usize> {
        let missing = (length - record.len()) as u64;
        let mut input = self.input.by_ref().take(missing);
        input.read_to_end(record)?;
        Ok(record.len())
    }

    /// Skips the bytes that real files have between their records.
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

/// Author, title, publisher, language (as in field 008), subject.
const BOOKS: [&str; 8] = [
    "Melville, Herman, | Moby-Dick, or, The whale / | Harper, | eng | Whaling",
    "Hašek, Jaroslav, | Osudy dobrého vojáka Švejka / | Synek, | cze | Satire",
    "Булгаков, Михаил, | Мастер и Маргарита / | YMCA-Press, | rus | Сатира",
    "García Márquez, Gabriel, | Cien años de soledad / | Sudamericana, | spa | Familias",
    "紫式部, | 源氏物語 / | 岩波書店, | jpn | 平安時代",
    "محفوظ، نجيب, | بين القصرين / | مكتبة مصر, | ara | القاهرة",
    "Laxness, Halldór, | Sjálfstætt fólk / | Briem, | ice | Sauðfjárrækt",
    "Καζαντζάκης, Νίκος, | Βίος και πολιτεία του Αλέξη Ζορμπά / | Δημητράκος, | gre | Φιλία",
];

/// Generates so many records lazily: well-formed, numbered, in UTF-8, with titles in several scripts.
pub(crate) fn generated(count: u64) -> impl Iterator<Item = marc::Result<Vec<u8>>> + Send {
    (1..=count)
        .zip(BOOKS.iter().cycle())
        .map(|(number, book)| record(number, book))
}

fn record(number: u64, book: &str) -> marc::Result<Vec<u8>> {
    let mut parts = book.split(" | ");
    let [author, title, publisher, language, subject] =
        std::array::from_fn(|_| parts.next().unwrap_or_default());
    let year = 1800 + number % 220;
    let pages = 80 + number % 700;
    let mut builder = RecordBuilder::new();
    builder.set_character_coding_scheme(CharacterCodingScheme::UcsUnicode);
    let dates = format!("241024s{year}    xx            000 1 {language} d");
    builder
        .add_field((b"001", format!("et{number:010}")))?
        .add_field((b"003", "Evertoken"))?
        .add_field((b"005", "20241024143316.0"))?
        .add_field((b"008", dates))?;
    for (tag, indicators, subfields) in [
        (b"035", b"  ", format!("a(Evertoken){number}")),
        (b"040", b"  ", format!("aEvertoken$b{language}")),
        (b"100", b"1 ", format!("a{author}$eauthor.")),
        (b"245", b"10", format!("a{title}$ccopy {number}.")),
        (b"264", b" 1", format!("b{publisher}$c{year}.")),
        (b"300", b"  ", format!("a{pages} pages ;$c24 cm")),
        (b"650", b" 0", format!("a{subject}$vFiction.")),
    ] {
        let mut field = FieldRepr::from((tag, indicators));
        for subfield in subfields.split('$') {
            let (code, text) = subfield.split_at(1);
            field = field.add_subfield(code.as_bytes()[0], text)?;
        }
        builder.add_field(field)?;
    }
    Ok(builder.get_record()?.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generated_records_are_numbered_and_in_the_encoding_of_their_leader() -> marc::Result<()> {
        let records: Vec<_> = super::generated(100).collect::<Result<_, _>>()?;
        assert_eq!(records.len(), 100);
        for (number, record) in (1..).zip(&records) {
            let record = marc::Record::parse(record)?;
            assert!(record.is_unicode()?);
            let control_number = record.field(b"001")[0].get_data::<str>().to_owned();
            assert_eq!(control_number, format!("et{number:010}"));
            let title = record.field(b"245")[0].subfield(b'a')[0]
                .get_data::<str>()
                .to_owned();
            assert!(title.ends_with(" /"));
        }
        Ok(())
    }

    fn made(count: u64) -> Vec<Vec<u8>> {
        super::generated(count).map(Result::unwrap).collect()
    }

    /// The number of records before the broken one, and the broken one.
    fn broken(bytes: &[u8]) -> (usize, BrokenRecord) {
        let mut good = 0;
        for record in MarcFile::new(bytes) {
            match record {
                Ok(_) => good += 1,
                Err(broken) => return (good, broken),
            }
        }
        panic!("nothing is broken among {good} records");
    }

    #[test]
    fn every_record_is_returned_to_the_byte() {
        let records = made(20);
        let file = records.concat();
        let read: Vec<_> = MarcFile::new(&file[..]).map(Result::unwrap).collect();
        assert_eq!(read, records);
    }

    #[test]
    fn an_empty_file_has_no_records() {
        assert_eq!(MarcFile::new(&b""[..]).count(), 0);
        assert_eq!(MarcFile::new(&b"\r\n\0\x1a"[..]).count(), 0);
    }

    #[test]
    fn bytes_between_records_are_skipped_and_counted_in_offsets() {
        let records = made(2);
        let mut file = b"\n".to_vec();
        for record in &records {
            file.extend_from_slice(record);
            file.extend_from_slice(b"\r\n\0\0");
        }
        let end = file.len() as u64;
        let read: Vec<_> = MarcFile::new(&file[..]).map(Result::unwrap).collect();
        assert_eq!(read, records);

        file.extend_from_slice(b"what is this?");
        let (good, broken) = broken(&file);
        assert_eq!((good, broken.number, broken.offset), (2, 3, end));
    }

    #[test]
    fn a_truncated_record_is_reported_with_the_bytes_that_exist() {
        let records = made(3);
        let mut file = records.concat();
        let cut = file.len() - 10;
        file.truncate(cut);
        let (good, broken) = broken(&file);
        let start = records[0].len() + records[1].len();
        assert_eq!((good, broken.number, broken.offset), (2, 3, start as u64));
        let Problem::Truncated { found, length } = broken.problem else {
            panic!("{broken}");
        };
        assert_eq!((found, length), (records[2].len() - 10, records[2].len()));
    }

    #[test]
    fn a_file_cut_within_a_length_is_broken_there() {
        let mut file = made(1).concat();
        let end = file.len() as u64;
        file.extend_from_slice(b"012");
        let (good, broken) = broken(&file);
        assert_eq!((good, broken.number, broken.offset), (1, 2, end));
        assert!(matches!(&broken.problem, Problem::LengthDigits(found) if found == "012"));
    }

    #[test]
    fn garbage_between_records_ends_the_reading() {
        let records = made(3);
        let file = [&records[0][..], &records[1], b"garbage", &records[2]].concat();
        let start = records[0].len() + records[1].len();
        let (good, broken) = broken(&file);
        assert_eq!((good, broken.number, broken.offset), (2, 3, start as u64));
        assert!(matches!(&broken.problem, Problem::LengthDigits(found) if found == "garba"));

        let mut reader = MarcFile::new(&file[..]);
        assert_eq!(reader.by_ref().count(), 3);
        assert!(reader.next().is_none());
    }

    #[test]
    fn impossible_lengths_of_a_record_are_refused() {
        let body = &made(1)[0][LENGTH_DIGITS..];
        for length in ["00000", "00004", "00024"] {
            let (_, broken) = broken(&[length.as_bytes(), body].concat());
            assert!(matches!(broken.problem, Problem::Length(..=24)), "{length}");
        }
        for length in ["0x123", "-0123", "+0123", " 0123", "1.234"] {
            let (_, broken) = broken(&[length.as_bytes(), body].concat());
            let problem = broken.problem;
            assert!(matches!(problem, Problem::LengthDigits(_)), "{length}");
        }
        let (_, short) = broken(&[b"00100", body].concat());
        assert!(matches!(short.problem, Problem::NoTerminator(100)));
        let (_, long) = broken(&[b"99999", body].concat());
        assert!(matches!(long.problem, Problem::Truncated { .. }));
    }

    #[test]
    fn base_addresses_outside_the_record_are_refused() {
        let record = &made(1)[0];
        let length = format!("{:05}", record.len());
        for base in [
            "00000", "00012", "00024", "99999", "0x100", "     ", &length,
        ] {
            let mut record = record.clone();
            record[BASE_ADDRESS].copy_from_slice(base.as_bytes());
            let (_, broken) = broken(&record);
            assert!(
                matches!(broken.problem, Problem::BaseAddress(_)),
                "{base}: {broken:?}"
            );
        }
    }

    #[test]
    fn a_malformed_directory_is_refused() {
        let mut record = made(1).concat();
        record[LEADER..LEADER + 12].copy_from_slice(b"not a number");
        let (_, broken) = broken(&record);
        assert!(matches!(broken.problem, Problem::Directory(_)));
    }

    #[test]
    fn the_error_message_names_the_record_and_its_position() {
        let mut file = made(1).concat();
        let end = file.len();
        file.extend_from_slice(b"invalid marc file\n");
        let (_, broken) = broken(&file);
        let message = format!("{:#}", anyhow::Error::from(broken));
        let problem = "it starts with \"inval\" instead of its length in five digits";
        assert_eq!(message, format!("record 2 at byte {end}: {problem}"));
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_panic(
            junk in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..600, spread in 0_usize..600,
        ) {
            let mut file = made(3).concat();
            let start = at.min(file.len());
            let end = (start + spread).min(file.len());
            file.splice(start..end, junk);
            prop_assert!(MarcFile::new(&file[..]).count() <= file.len());
        }
    }
}
