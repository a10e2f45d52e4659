use proptest::prelude::*;

use super::*;
use crate::generate;

fn records(count: u64) -> Vec<Vec<u8>> {
    generate::records(count).map(Result::unwrap).collect()
}

/// How many records are read before the broken one, and that.
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
    let records = records(20);
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
fn strays_between_records_are_passed_over_and_counted_in_offsets() {
    let records = records(2);
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
fn a_truncated_file_is_told_with_what_is_there_of_the_record() {
    let records = records(3);
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
    let mut file = records(1).concat();
    let end = file.len() as u64;
    file.extend_from_slice(b"012");
    let (good, broken) = broken(&file);
    assert_eq!((good, broken.number, broken.offset), (1, 2, end));
    assert!(matches!(&broken.problem, Problem::LengthDigits(found) if found == "012"));
}

#[test]
fn garbage_in_the_middle_ends_the_reading_before_it() {
    let records = records(3);
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
fn lengths_that_no_record_has_are_refused() {
    let body = &records(1)[0][LENGTH_DIGITS..];
    for length in ["00000", "00004", "00024"] {
        let (_, broken) = broken(&[length.as_bytes(), body].concat());
        assert!(matches!(broken.problem, Problem::Length(..=24)), "{length}");
    }
    for length in ["0x123", "-0123", "+0123", " 0123", "1.234"] {
        let (_, broken) = broken(&[length.as_bytes(), body].concat());
        assert!(
            matches!(broken.problem, Problem::LengthDigits(_)),
            "{length}"
        );
    }
    let (_, short) = broken(&[b"00100", body].concat());
    assert!(matches!(short.problem, Problem::NoTerminator(100)));
    let (_, long) = broken(&[b"99999", body].concat());
    assert!(matches!(long.problem, Problem::Truncated { .. }));
}

#[test]
fn base_addresses_outside_of_the_record_are_refused() {
    let record = &records(1)[0];
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
fn a_directory_of_something_else_is_refused() {
    let mut record = records(1).concat();
    record[LEADER..LEADER + 12].copy_from_slice(b"not a number");
    let (_, broken) = broken(&record);
    assert!(matches!(broken.problem, Problem::Directory(_)));
}

#[test]
fn the_message_names_the_record_and_its_position() {
    let mut file = records(1).concat();
    let end = file.len();
    file.extend_from_slice(b"invalid marc file\n");
    let (_, broken) = broken(&file);
    let message = format!("{:#}", anyhow::Error::from(broken));
    assert_eq!(
        message,
        format!(
            "record 2 at byte {end}: it starts with \"inval\", and not with its length in five digits"
        )
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        junk in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..600, spread in 0_usize..600,
    ) {
        let mut file = records(3).concat();
        let start = at.min(file.len());
        let end = (start + spread).min(file.len());
        file.splice(start..end, junk);
        prop_assert!(MarcFile::new(&file[..]).count() <= file.len());
    }
}
