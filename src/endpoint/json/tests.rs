use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn shown(text: &str) -> Vec<String> {
    let members = Members::of(text.as_bytes()).unwrap();
    let show = |(key, value): (Zeroizing<String>, Value<'_>)| match value {
        Value::Text(text) => format!("{}={}", *key, *text),
        Value::Bare(text) => format!("{}~{text}", *key),
        Value::Array(elements) => format!("{}[{}]", *key, elements.iter().count()),
        Value::Object(members) => format!("{}{{{}}}", *key, members.iter().count()),
        Value::Other => format!("{}?", *key),
    };
    members.iter().map(show).collect()
}

#[test]
fn the_scanner_passes_over_what_no_parser_accepts() {
    let odd = r#"{"a":NaN,"b":1e999,"c":"\ud800","d":'x',"e":{"f":["]}"]},"g":[{},"x"],,"h":"ok""#;
    assert_eq!(
        shown(odd),
        ["a~NaN", "b~1e999", "c?", "d~'x'", "e{1}", "g[2]", "h=ok"]
    );
    assert_eq!(shown("{ \"a\" : \"x\ty\nz\" ,}"), ["a=x\ty\nz"]);
}

#[test]
fn an_incomplete_value_is_not_handed_out() {
    assert_eq!(shown(r#"{"a":"whole","b":"par"#), ["a=whole"]);
    assert_eq!(shown(r#"{"a":"whole","b":"par\"#), ["a=whole"]);
    assert_eq!(shown(r#"{"a":"whole","b":36"#), ["a=whole"]);
    assert_eq!(shown(r#"{"a":{"b":"whole"}"#), ["a{1}"]);
    assert_eq!(shown(r#"{"a":{"b":"whole""#), [""; 0]);
    assert_eq!(shown("{"), [""; 0]);
    assert!(Members::of(b"[{}]").is_none());
}

#[test]
fn the_scanner_finds_the_members_after_text_that_is_not_a_member() {
    for (odd, expected) in [
        (r#"{"a":"x" "b":"y"}"#, &["a=x", "b=y"][..]),
        (r#"{a:1,"b":"y"}"#, &["b=y"]),
        (r#"{"a","b":"y"}"#, &["b=y"]),
        (r#"{"a":,"b":"y"}"#, &["b=y"]),
        (r#"{"a":"x":"z","b":"y"}"#, &["a=x", "b=y"]),
        (r#"{"a":"x"],{"c":"z"},["c"],"b":"y"}"#, &["a=x", "b=y"]),
        ("{\"a\":\0,\0\"b\":\"y\"}", &["a~\0", "b=y"]),
        (r#"{"a":x{},"b":"y"}"#, &["a~x{", "b=y"]),
        ("{\"a\":NaN,\"b\":\"y\"} {\"c\":\"z\"}", &["a~NaN", "b=y"]),
        ("\u{feff} {\"a\":NaN}", &["a~NaN"]),
        ("\u{feff} {\"a\":1}", &["a~1"]),
    ] {
        assert_eq!(shown(odd), expected, "{odd}");
    }
}

#[test]
fn a_repeated_name_is_handed_out_each_time_in_valid_and_in_broken_json() {
    assert_eq!(shown(r#"{"a":1,"a":2}"#), ["a~1", "a~2"]);
    assert_eq!(shown(r#"{"a":1,"a":2,}"#), ["a~1", "a~2"]);
}

#[test]
fn invalid_bytes_cost_only_their_own_member() {
    let members = Members::of(b"{\"a\":\"\xff\",\"\xfe\":1,\"b\":\xff,\"c\":\"y\"}").unwrap();
    let named: Vec<_> = members.iter().collect();
    let is_text = |value: &Value<'_>| matches!(value, Value::Text(text) if **text == "y");
    let names: Vec<_> = named.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "", "b", "c"]);
    assert_eq!(named.iter().filter(|(_, value)| is_text(value)).count(), 1);
}

#[test]
fn the_scanner_passes_over_a_bare_element_with_a_quoted_bracket() {
    assert_eq!(
        shown(r#"{"a":[x"]"],"b":[x"]",7,"z"],"c":"y"}"#),
        ["a[1]", "b[1]", "c=y"]
    );
}

/// The number of levels of FOLIO's errors, the deepest that a reader of this crate asks for.
const LEVELS: usize = 3;

/// Reads everything that a reader of this crate asks for.
fn walk(value: Value<'_>, levels: usize) {
    match value {
        Value::Array(elements) if levels > 0 => {
            elements.iter().for_each(|it| walk(it, levels - 1));
        }
        Value::Object(members) if levels > 0 => {
            members.iter().for_each(|(_, it)| walk(it, levels - 1));
        }
        _ => {}
    }
}

/// The text behind the bracket with which `text` begins; empty if it begins otherwise.
fn inner<'a>(text: &'a [u8], bracket: &[u8]) -> &'a [u8] {
    text.strip_prefix(bracket).unwrap_or_default()
}

/// The number of bytes that the scanner takes to read `text` as an object and as an array.
fn steps(text: &[u8]) -> usize {
    let both = || {
        walk(Value::Object(Members(inner(text, b"{"))), LEVELS);
        walk(Value::Array(Elements(inner(text, b"["))), LEVELS);
    };
    super::steps_of(both).0
}

#[test]
fn a_mebibyte_of_any_text_takes_at_most_one_step_for_each_byte_and_level() {
    for piece in [
        r#"[x"]"],"#,
        r#"x"]"],"#,
        r#""a":[x"]"],"#,
        r#""a":x"]","#,
        r#"{"a":"#,
        r#"{"a":1,"#,
        r#"{"a":[x],"#,
        r#"[{"a":[x],"#,
        "[[],",
        "[",
        "{",
        "]",
        "}",
        "\"",
        "\\",
        ":",
        ",",
        "\"a\":",
        "x",
        " ",
        "\0",
        "\u{ff}",
    ] {
        for (opening, length) in [
            (r#"{"scope":["#, 1 << 20),
            (r#"{"errors":[{"code":["#, 1 << 12),
            ("{", 1 << 12),
            ("[", 1 << 12),
        ] {
            let mut text = opening.to_owned() + &piece.repeat(length / piece.len() + 1);
            for closing in ["", "]}]}"] {
                text.push_str(closing);
                let steps = steps(text.as_bytes());
                let most = 2 * LEVELS * text.len();
                assert!(steps <= most, "{steps} for {opening}{piece}..{closing}");
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        "[\\\\\"{}\\[\\]:, x]{0,8}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// The text without the space around a value without quotes.
fn shown_bytes(text: &[u8]) -> String {
    str::from_utf8(text.trim_ascii()).unwrap().to_owned()
}

proptest! {
    #[test]
    fn the_scanner_splits_valid_json_as_the_parser_does(
        members in prop::collection::vec((any::<String>(), any_json()), 0..5),
        elements in prop::collection::vec(any_json(), 0..5),
        pretty: bool,
    ) {
        let text = |json: &serde_json::Value| if pretty { format!("{json:#}") } else { json.to_string() };
        let member = |(name, value): &(String, _)| format!("{} : {}", text(&name.as_str().into()), text(value));
        let object = format!("{{{}\n}}", members.iter().map(member).collect::<Vec<_>>().join(" ,\t"));
        let array = text(&elements.into());
        prop_assert!(serde_json::from_str::<&RawValue>(&object).is_ok());
        let written = members.iter().map(|(name, value)| (text(&name.as_str().into()), text(value)));
        let mut scanner = Scanner(inner(object.as_bytes(), b"{"));
        let read = iter::from_fn(|| scanner.member()).map(|(name, value)| (shown_bytes(name), shown_bytes(value)));
        prop_assert_eq!(read.collect::<Vec<_>>(), written.collect::<Vec<_>>());
        let parsed: Vec<&RawValue> = serde_json::from_str(&array).unwrap();
        let mut scanner = Scanner(inner(array.as_bytes(), b"["));
        let read: Vec<_> = iter::from_fn(|| scanner.element()).map(shown_bytes).collect();
        prop_assert_eq!(read, parsed.iter().map(|value| value.get()).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_take_at_most_one_step_for_each_byte_and_level(
        bytes: Vec<u8>,
        pieces in r#"(\{|\}|\[|\]|:|,|"|\\|x|1| |"a":|x"\]"|\x00){0,60}"#,
    ) {
        for text in [bytes.as_slice(), pieces.as_bytes()] {
            prop_assert!(steps(text) <= 2 * LEVELS * text.len());
        }
    }

    #[test]
    fn texts_are_read_as_a_parser_reads_them(text: String, ascii: bool) {
        let mut json = serde_json::to_string(&text).unwrap();
        if ascii {
            json = escaped(&json);
        }
        let members = shown(&format!("{{\"k\":{json}}}"));
        prop_assert_eq!(members, [format!("k={text}")]);
    }

    #[test]
    fn escapes_are_read_or_refused_as_a_parser_does(
        raw in r#"(\\[u"\\/bfnrtx]|\\u[dD][89abAB][0-9a-f]{2}|\\u[dD][c-fC-F][0-9a-f]{2}|[0-9a-f]{1,4}|é){0,6}"#,
    ) {
        let parsed: Option<String> = serde_json::from_str(&format!("\"{raw}\"")).ok();
        prop_assert_eq!(unescaped(raw.as_bytes()).map(|text| text.to_string()), parsed);
    }
}

/// The JSON with each character beyond ASCII as `\uXXXX`.
fn escaped(json: &str) -> String {
    json.encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04X}"),
        })
        .collect()
}
