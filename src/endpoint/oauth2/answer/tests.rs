use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

/// This machine's clock in these tests: 2026-01-01T00:00:00Z.
const WALL: Duration = Duration::from_secs(1_767_225_600);

fn issued(body: impl AsRef<[u8]>) -> Issued {
    Answer::read(body.as_ref(), true).into_issued(None, WALL)
}

fn refresh(body: impl AsRef<[u8]>) -> Option<String> {
    let answer = Answer::read(body.as_ref(), true);
    answer.refresh_token().map(str::to_owned)
}

fn expires_in(value: &str) -> Option<Duration> {
    let issued = issued(format!(r#"{{"expires_in":{value},"refresh_token":"r2"}}"#));
    assert_eq!(issued.refresh, Some("r2".into()), "{value}");
    issued.expires_in
}

#[test]
fn every_field_is_read() {
    let body = br#"{"access_token":"a\/2","token_type":"bearer","expires_in":60,"scope":"b a",
        "refresh_token":"r2","refresh_expires_in":600,"refresh_in":30,"id_token":"e.y.J"}"#;
    let issued = Answer::read(body, true).into_issued(Some(Duration::from_secs(7)), WALL);
    assert_eq!(issued.access, Some("a/2".into()));
    assert_eq!(issued.refresh, Some("r2".into()));
    assert_eq!(issued.token_type.as_deref(), Some("bearer"));
    assert_eq!(issued.scope, Some("a b".into()));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(60)));
    assert_eq!(issued.refresh_expires_in, Some(Duration::from_secs(600)));
    assert_eq!(issued.refresh_in, Some(Duration::from_secs(30)));
    assert_eq!(issued.server_time, Some(Duration::from_secs(7)));
}

#[test]
fn a_form_is_read_as_well() {
    let body = "\naccess_token=a%2F2&expires_in=28800&refresh_token=r+2&refresh_token_expires_in=15811200&scope=&token_type=bearer\n";
    let issued = issued(body);
    assert_eq!(issued.access, Some("a/2".into()));
    assert_eq!(issued.refresh, Some("r 2".into()));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(28_800)));
    assert_eq!(
        issued.refresh_expires_in,
        Some(Duration::from_secs(15_811_200))
    );
    assert_eq!(issued.scope, None);
}

#[test]
fn lifetimes_are_read_from_numbers_in_every_form() {
    for (value, millis) in [
        ("3600", 3_600_000),
        ("0", 0),
        ("-0", 0),
        ("59.5", 59_500),
        ("1e2", 100_000),
        (r#""3600""#, 3_600_000),
        (r#"" 3600 ""#, 3_600_000),
        ("315360000", 315_360_000_000),
    ] {
        assert_eq!(
            expires_in(value),
            Some(Duration::from_millis(millis)),
            "{value}"
        );
    }
    for value in [
        "-1",
        "NaN",
        "Infinity",
        "1e999",
        "-1e999",
        "1e300",
        "315360001",
        "1767229200",
        "null",
        "true",
        "[60]",
        r#"{"s":60}"#,
        r#""soon""#,
        r#""""#,
        r#""inf""#,
        "",
        "'60'",
        "0x10",
    ] {
        assert_eq!(expires_in(value), None, "{value}");
    }
}

#[test]
fn a_refresh_lifetime_of_zero_counts_as_absent() {
    let body = r#"{"refresh_token":"r2","refresh_expires_in":0}"#;
    assert_eq!(issued(body).refresh_expires_in, None);
}

#[test]
fn a_value_that_is_empty_or_not_a_text_counts_as_absent() {
    for value in [
        "null",
        "7",
        "true",
        r#"{"refresh_token":"x"}"#,
        r#"["x"]"#,
        r#""""#,
    ] {
        assert_eq!(refresh(format!(r#"{{"refresh_token":{value}}}"#)), None);
        let twice =
            format!(r#"{{"refresh_token":{value},"refresh_token":"r2","refresh_token":"r3"}}"#);
        assert_eq!(refresh(twice).as_deref(), Some("r2"), "{value}");
    }
}

#[test]
fn scopes_may_come_as_an_array() {
    assert_eq!(
        issued(r#"{"scope":["b",7,"a c",null]}"#).scope,
        Some("a b c".into())
    );
    assert_eq!(issued(r#"{"scope":[7]}"#).scope, None);
}

#[test]
fn a_page_in_place_of_an_answer_holds_no_token() {
    for page in [
        r#"<a href="/?x=1&refresh_token=r1&y=2">sign in</a>"#,
        "moved to https://id.example.org/?x=1&refresh_token=r1&y=2 today",
        r#""&refresh_token=r1""#,
        r#"[{"refresh_token":"r1"}]"#,
    ] {
        assert_eq!(refresh(page), None, "{page}");
    }
}

#[test]
fn a_byte_order_mark_and_white_space_are_ignored() {
    assert_eq!(
        refresh("\u{feff}\r\n {\"refresh_token\":\" r2 \"}").as_deref(),
        Some(" r2 ")
    );
}

#[test]
fn a_pair_is_found_in_json_that_no_parser_accepts() {
    for odd in [
        r#"[x"]"]"#,
        r#"[x"]",]"#,
        r#"[x}"]"]"#,
        r#"[x"[{"]"#,
        "[}",
        "{]",
        "]",
        "x]",
        ",",
        "'x'",
        "'x\"y'",
        "NaN",
        "\0",
        "\"\t\"",
        r#""\ud800""#,
        r#""\x""#,
        r#""x" "y""#,
        r#""x"y"#,
        "\"x\" : 1 : 2",
        &"[{".repeat(2_000),
    ] {
        let closing = if odd.starts_with("[{") {
            "]}".repeat(2_000)
        } else {
            String::new()
        };
        for name in ["scope", "error", "other"] {
            let body = format!(
                r#"{{"access_token":"a2","{name}":{odd}{closing},"refresh_token":"r2","expires_in":600}}"#
            );
            let issued = issued(&body);
            assert_eq!(issued.access, Some("a2".into()), "{body}");
            assert_eq!(issued.refresh, Some("r2".into()), "{body}");
            assert_eq!(issued.expires_in, Some(Duration::from_secs(600)), "{body}");
        }
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map(name(), inner, 0..4)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

fn holds_a_pair(value: &Json) -> bool {
    let is_pair = |value: &Json| {
        let has = |name| {
            value
                .get(name)
                .is_some_and(|token| token.as_str() != Some(""))
        };
        has("access_token") && has("refresh_token")
    };
    is_pair(value)
        || value
            .as_array()
            .is_some_and(|array| array.iter().any(is_pair))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "access_token|expires_in|scope|token_type|error|refresh_in|refresh_token"
    ]
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body: Vec<u8>, is_whole: bool) {
        Answer::read(&body, is_whole);
    }

    #[test]
    fn no_body_of_json_pieces_makes_the_reader_panic(body in r#"(\{|\}|\[|\]|:|,|"|\\|\\u|"refresh_token":|"expires_in":|9|a| ){0,40}"#) {
        Answer::read(body.as_bytes(), true);
    }

    #[test]
    fn a_refresh_token_is_found_among_any_other_fields(
        before in prop::collection::vec((name(), any_json()), 0..4),
        after in prop::collection::vec((name(), any_json()), 0..4),
        token in "[ -~]{1,30}",
        pretty: bool,
    ) {
        let before = before.into_iter().filter(|(name, _)| name != "refresh_token");
        let mut fields: Vec<_> = before.collect();
        fields.push(("refresh_token".into(), Json::from(token.clone())));
        fields.extend(after);
        // Such a document is a pair in a wrapper.
        prop_assume!(fields.iter().all(|(_, value)| !holds_a_pair(value)));
        let mut body = String::from("{");
        for (at, (name, value)) in fields.iter().enumerate() {
            let value = if pretty { format!("{value:#}") } else { value.to_string() };
            let separator = if at == 0 { "" } else { "," };
            body.push_str(&format!("{separator}{}:{value}", json!(name)));
        }
        body.push('}');
        prop_assert_eq!(refresh(body), Some(token));
    }

    #[test]
    fn a_pair_is_found_whatever_a_field_beside_it_holds(
        odd in r#"([a-zA-Z0-9.+ -]|\x00|'|:|,|\\|\[[^\[\]{}"]{0,3}\]|\{[^\[\]{}"]{0,3}\}){0,6}|\[x"[\[\]{},]"\]"#,
        name in "scope|error|x",
    ) {
        let body = format!(r#"{{"access_token":"a2","{name}":{odd},"refresh_token":"r2","expires_in":60}}"#);
        let issued = issued(&body);
        prop_assert_eq!(issued.access, Some("a2".into()));
        prop_assert_eq!(issued.refresh, Some("r2".into()));
        prop_assert_eq!(issued.expires_in, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_pair_is_found_whatever_byte_is_changed_between_its_tokens(
        at: prop::sample::Index,
        byte: u8,
        inserts: bool,
    ) {
        // The scanner cannot distinguish a changed byte that opens or closes a value.
        let is_structural = |byte: u8| br#""\{}[]"#.contains(&byte);
        prop_assume!(!is_structural(byte));
        let mut between = br#","scope":["x","y"],"o":{"k":[1,{"e":"v"}]},"#.to_vec();
        let at = at.index(between.len());
        if inserts || is_structural(between[at]) {
            between.insert(at, byte);
        } else {
            between[at] = byte;
        }
        let body = [br#"{"access_token":"a2""#, &between[..], br#""refresh_token":"r2"}"#].concat();
        let issued = issued(body);
        prop_assert_eq!(issued.access, Some("a2".into()));
        prop_assert_eq!(issued.refresh, Some("r2".into()));
    }

    #[test]
    fn a_body_that_breaks_off_yields_whole_tokens_or_none(
        access in "[ -~]{1,20}",
        token in "[ -~]{1,20}",
        other in any_json(),
        as_form: bool,
    ) {
        // Such a document is a pair in a wrapper.
        prop_assume!(!holds_a_pair(&other));
        let fields = [("other", other), ("access_token", json!(access)), ("refresh_token", json!(token)), ("expires_in", json!(3600))];
        let body = if as_form {
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("access_token", &access), ("refresh_token", &token)])
                .append_pair("expires_in", "3600")
                .finish()
        } else {
            Json::Object(Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value)))).to_string()
        };
        let mut found = 0;
        for end in 0..=body.len() {
            let answer = Answer::read(&body.as_bytes()[..end], end == body.len());
            for (read, sent) in [(answer.access_token(), &access), (answer.refresh_token(), &token)] {
                if let Some(read) = read {
                    prop_assert_eq!(read, sent);
                    found += 1;
                }
            }
            prop_assert!(answer.expiry.lifetime(None, Duration::ZERO).is_none_or(|span| span.as_secs() == 3600));
        }
        prop_assert!(found >= 2);
    }
}
