//! Makes MARC21 records to import: well-formed, numbered, in UTF-8, with titles in several scripts.

use marc::{CharacterCodingScheme, FieldRepr, RecordBuilder};

/// Author, title, publisher, language (as in field 008), subject.
const BOOKS: [[&str; 5]; 8] = [
    [
        "Melville, Herman,",
        "Moby-Dick, or, The whale /",
        "Harper,",
        "eng",
        "Whaling",
    ],
    [
        "Hašek, Jaroslav,",
        "Osudy dobrého vojáka Švejka /",
        "Synek,",
        "cze",
        "Satire",
    ],
    [
        "Булгаков, Михаил,",
        "Мастер и Маргарита /",
        "YMCA-Press,",
        "rus",
        "Сатира",
    ],
    [
        "García Márquez, Gabriel,",
        "Cien años de soledad /",
        "Sudamericana,",
        "spa",
        "Familias",
    ],
    ["紫式部,", "源氏物語 /", "岩波書店,", "jpn", "平安時代"],
    [
        "محفوظ، نجيب,",
        "بين القصرين /",
        "مكتبة مصر,",
        "ara",
        "القاهرة",
    ],
    [
        "Laxness, Halldór,",
        "Sjálfstætt fólk /",
        "Briem,",
        "ice",
        "Sauðfjárrækt",
    ],
    [
        "Καζαντζάκης, Νίκος,",
        "Βίος και πολιτεία του Αλέξη Ζορμπά /",
        "Δημητράκος,",
        "gre",
        "Φιλία",
    ],
];

/// So many records, each made when it is asked for.
pub(crate) fn records(count: u64) -> impl Iterator<Item = marc::Result<Vec<u8>>> + Send {
    (1..=count)
        .zip(BOOKS.iter().cycle())
        .map(|(number, book)| record(number, book))
}

fn record(number: u64, book: &[&str; 5]) -> marc::Result<Vec<u8>> {
    let [author, title, publisher, language, subject] = book;
    let year = 1800 + number % 220;
    let mut builder = RecordBuilder::new();
    builder.set_character_coding_scheme(CharacterCodingScheme::UcsUnicode);
    builder
        .add_field((b"001", format!("et{number:010}")))?
        .add_field((b"003", "Evertoken"))?
        .add_field((b"005", "20241024143316.0"))?
        .add_field((
            b"008",
            format!("241024s{year}    xx            000 1 {language} d"),
        ))?
        .add_field(data(
            b"035",
            b"  ",
            &[(b'a', &format!("(Evertoken){number}"))],
        )?)?
        .add_field(data(
            b"040",
            b"  ",
            &[(b'a', "Evertoken"), (b'b', language)],
        )?)?
        .add_field(data(b"100", b"1 ", &[(b'a', author), (b'e', "author.")])?)?
        .add_field(data(
            b"245",
            b"10",
            &[(b'a', title), (b'c', &format!("copy {number}."))],
        )?)?
        .add_field(data(
            b"264",
            b" 1",
            &[(b'b', publisher), (b'c', &format!("{year}."))],
        )?)?
        .add_field(data(
            b"300",
            b"  ",
            &[
                (b'a', &format!("{} pages ;", 80 + number % 700)),
                (b'c', "24 cm"),
            ],
        )?)?
        .add_field(data(b"650", b" 0", &[(b'a', subject), (b'v', "Fiction.")])?)?;
    Ok(builder.get_record()?.as_ref().to_vec())
}

/// A field with indicators and subfields.
fn data(tag: &[u8; 3], indicators: &[u8; 2], subfields: &[(u8, &str)]) -> marc::Result<FieldRepr> {
    subfields
        .iter()
        .try_fold(FieldRepr::from((tag, indicators)), |field, (code, text)| {
            field.add_subfield(*code, text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_numbered_and_in_the_encoding_they_claim() -> marc::Result<()> {
        let records: Vec<_> = records(100).collect::<Result<_, _>>()?;
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
}
