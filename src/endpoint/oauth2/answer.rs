//! Reads an answer of the token endpoint: JSON (RFC 6749 section 5.1), or a form where a server
//! prefers that. It refuses nothing; what cannot be read counts as absent.
//!
//! The refresh token that was sent is spent by now, so a new one counts for more than the answer's
//! correctness: an odd lifetime, a wrong type or a body that breaks off must not cost it. Each field
//! is read by itself, and of a broken body every field that was read to its end. A field cut short is
//! none: half a token is worse than no token.

use std::mem;
use std::time::Duration;

use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::endpoint::Issued;
use crate::endpoint::json::{Members, Value};
use crate::token::Scope;

/// A lifetime beyond this is taken for a mistake, milliseconds or a point in time perhaps.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The fields that matter, none of them empty.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) access_token: Option<Zeroizing<String>>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    token_type: Option<Zeroizing<String>>,
    scope: Option<Zeroizing<String>>,
    expires_in: Option<Duration>,
    refresh_expires_in: Option<Duration>,
    refresh_in: Option<Duration>,
    pub(super) error: Option<Zeroizing<String>>,
    pub(super) error_description: Option<Zeroizing<String>>,
    code: Option<Zeroizing<String>>,
}

impl Answer {
    /// Reads what there is. `is_whole` says that `body` did not break off.
    pub(super) fn read(body: &[u8], is_whole: bool) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let mut answer = Self::default();
        if let Some(members) = Members::of(body) {
            for (name, value) in members {
                answer.member(&name, value);
            }
        } else if let Some(form) = form(body.trim_ascii(), is_whole) {
            for (name, value) in form_urlencoded::parse(form) {
                answer.text(&name, Zeroizing::new(value.into_owned()));
            }
        }
        if answer.error.is_none() {
            answer.error = answer.code.take().filter(|code| is_light4j(code));
        }
        answer
    }

    pub(super) fn has_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some()
    }

    pub(super) fn has_refresh_token(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// What was issued.
    pub(super) fn into_issued(self, server_time: Option<Duration>) -> Issued {
        let plain = |mut text: Zeroizing<String>| mem::take(&mut *text);
        Issued {
            access: self.access_token.map(plain).map(Into::into),
            refresh: self.refresh_token.map(plain).map(Into::into),
            expires_in: self.expires_in,
            refresh_expires_in: self.refresh_expires_in,
            refresh_in: self.refresh_in,
            token_type: self.token_type.map(plain),
            scope: self.scope.map(|text| Scope::parse(&text)),
            server_time,
            ..Issued::default()
        }
    }

    fn member(&mut self, name: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(name, text),
            Value::Bare(text) => self.number(name, text),
            Value::Array(elements) if name == "scope" => {
                let mut scopes = Zeroizing::new(String::new());
                for element in elements {
                    if let Value::Text(scope) = element {
                        scopes.push_str(&scope);
                        scopes.push(' ');
                    }
                }
                self.text(name, scopes);
            }
            Value::Array(_) | Value::Object(_) | Value::Other => {}
        }
    }

    fn text(&mut self, name: &str, text: Zeroizing<String>) {
        let field = match name {
            "access_token" => &mut self.access_token,
            "refresh_token" => &mut self.refresh_token,
            "token_type" => &mut self.token_type,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            "code" => &mut self.code,
            _ => return self.number(name, &text),
        };
        if field.is_none() && !text.is_empty() {
            *field = Some(text);
        }
    }

    fn number(&mut self, name: &str, text: &str) {
        let lifetime = seconds(text).filter(|span| *span <= LONGEST_LIFETIME);
        let (field, lifetime) = match name {
            "expires_in" => (&mut self.expires_in, lifetime),
            "refresh_in" => (&mut self.refresh_in, lifetime),
            // Keycloak's name, and that of GitHub and Azure. Keycloak writes 0 for a token without an
            // end of its own (keycloak/keycloak#8919).
            "refresh_expires_in" | "refresh_token_expires_in" => (
                &mut self.refresh_expires_in,
                lifetime.filter(|span| !span.is_zero()),
            ),
            _ => return,
        };
        *field = field.or(lifetime);
    }
}

/// Whether it is an error code of light-4j's, which has its own form of refusal: `ERR` and five digits.
fn is_light4j(code: &str) -> bool {
    let digits = code.strip_prefix("ERR").unwrap_or_default();
    digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of seconds, fractions included; `None` for one that is negative or no number.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    if seconds.is_infinite() {
        return None;
    }
    // From here on, a span that is too long to be held is just long.
    Duration::try_from_secs_f64(seconds)
        .ok()
        .or_else(|| (seconds > 0.0).then_some(Duration::MAX))
}

/// `body`, if it is a form and not a page that somebody put in its place. What follows the last `&` of
/// a form that broke off is dropped, since nothing tells where a value ends.
fn form(body: &[u8], is_whole: bool) -> Option<&[u8]> {
    let is_form = body
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !br#"<>"{}"#.contains(byte));
    let end = if is_whole {
        body.len()
    } else {
        body.iter().rposition(|byte| *byte == b'&').unwrap_or(0)
    };
    is_form.then_some(&body[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    use super::*;

    fn issued(body: impl AsRef<[u8]>) -> Issued {
        Answer::read(body.as_ref(), true).into_issued(None)
    }

    fn refresh(body: impl AsRef<[u8]>) -> Option<String> {
        let refresh = Answer::read(body.as_ref(), true).refresh_token?;
        Some(refresh.to_string())
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
        let issued = Answer::read(body, true).into_issued(Some(Duration::from_secs(7)));
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
    fn lifetimes_are_read_from_whatever_tells_a_number() {
        for (value, millis) in [
            ("3600", 3_600_000),
            ("0", 0),
            ("-0", 0),
            ("59.5", 59_500),
            ("1e2", 100_000),
            (r#""3600""#, 3_600_000),
            (r#"" 3600 ""#, 3_600_000),
            ("3153600000", 3_153_600_000_000),
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
            "3153600001",
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
    fn a_refresh_token_that_is_good_for_no_time_at_all_does_not_exist() {
        let body = r#"{"refresh_token":"r2","refresh_expires_in":0}"#;
        assert_eq!(issued(body).refresh_expires_in, None);
    }

    #[test]
    fn what_is_no_text_or_empty_counts_as_absent() {
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
    fn a_byte_order_mark_and_white_space_are_passed_over() {
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
            // What opens or closes something else is not told from what belongs there.
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
                for (read, sent) in [(&answer.access_token, &access), (&answer.refresh_token, &token)] {
                    if let Some(read) = read {
                        prop_assert_eq!(&**read, sent);
                        found += 1;
                    }
                }
                prop_assert!(answer.expires_in.is_none_or(|span| span.as_secs() == 3600));
            }
            prop_assert!(found >= 2);
        }
    }
}
