use std::fmt;

use serde::de::{self, Unexpected};

/// What is wrong with a value. In contrast to the errors of the formats it never repeats the value,
/// which may be a secret in the wrong place.
#[derive(Debug)]
pub(super) enum Problem {
    UnknownKey {
        /// The kind of the component that does not know it.
        of: Option<String>,
        allowed: Vec<String>,
    },
    MissingKey(&'static str),
    Other(String),
}

impl Problem {
    pub(super) fn other(problem: impl Into<String>) -> Self {
        Self::Other(problem.into())
    }

    /// `found` is there and `expected` ought to be.
    pub(super) fn kind(found: &str, expected: &str) -> Self {
        Self::Other(format!("is {found}, but must be {}", plain(expected)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { of, allowed } => {
                f.write_str("is not a key")?;
                if let Some(kind) = of {
                    write!(f, " of `{kind}`")?;
                }
                match allowed.as_slice() {
                    [] => f.write_str("; none is allowed here"),
                    allowed => write!(f, "; allowed here: {}", names(allowed)),
                }
            }
            Self::MissingKey(_) => f.write_str("is missing"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::Other(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::kind(kind(found), &expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Other(format!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        Self::Other(format!(
            "has {length} elements, but must be {}",
            plain(&expected)
        ))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Other(one_of(expected))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        let allowed = expected.iter().map(|&key| key.to_owned()).collect();
        Self::UnknownKey { of: None, allowed }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingKey(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Other(format!("the key `{field}` is there twice"))
    }
}

/// What is allowed, where it is one of a few words.
pub(super) fn one_of(allowed: &[impl AsRef<str>]) -> String {
    match allowed {
        [] => "nothing is allowed here".to_owned(),
        [one] => format!("must be `{}`", one.as_ref()),
        [first @ .., last] => format!("must be {} or `{}`", names(first), last.as_ref()),
    }
}

/// A list of names in backquotes.
pub(super) fn names(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    quoted.join(", ")
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}

/// Rust's words for types, in those of a configuration file.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" | "u128" => "an integer from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "an integer",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        other => other,
    }
}
