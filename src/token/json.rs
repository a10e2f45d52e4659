//! JSON that holds tokens, in a buffer that is zeroized.

use std::io::{self, Write};

use serde::Serialize;
use zeroize::Zeroizing;

/// The JSON of `value`, in a buffer that is zeroized and never reallocated: a buffer that grows leaves copies behind. The
/// length is measured first. A value that comes out longer the second time is an error, as is a value that is not JSON.
///
/// An error may quote the value.
pub(crate) fn zeroizing(
    value: &(impl Serialize + ?Sized),
) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value)?;
    let mut bytes = Zeroizing::new(vec![0; length.0]);
    let mut unwritten = &mut bytes[..];
    serde_json::to_writer(&mut unwritten, value)?;
    let written = length.0 - unwritten.len();
    bytes.truncate(written);
    Ok(bytes)
}

/// Counts the bytes that are written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde::Serializer;

    use super::*;

    /// A text of another length each time.
    struct Unsteady(Cell<usize>, &'static [usize]);

    impl Serialize for Unsteady {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let turn = self.0.replace(self.0.get() + 1);
            to.serialize_str(&"x".repeat(self.1[turn]))
        }
    }

    #[test]
    fn the_buffer_has_the_length_of_the_json_from_the_start() {
        let json = zeroizing(&["sesame", "open \"the\" door"]).unwrap();
        assert_eq!(*json, br#"["sesame","open \"the\" door"]"#);
        assert_eq!(json.capacity(), json.len());
    }

    #[test]
    fn a_value_that_changes_in_between_never_makes_the_buffer_grow() {
        let shorter = zeroizing(&Unsteady(Cell::new(0), &[9, 1])).unwrap();
        assert_eq!(*shorter, br#""x""#);
        zeroizing(&Unsteady(Cell::new(0), &[1, 9])).unwrap_err();
    }
}
