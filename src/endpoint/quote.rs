//! What an error quotes of a server's answer: never a part of a secret that this exchange knows.
//!
//! Some servers repeat the request in their complaints, and some pages hold tokens that this exchange does not know. So
//! [`Secrets`] releases a text only if the text shares no piece with a known secret, and a page only if nothing in it
//! looks like a token.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use url::Url;
use zeroize::Zeroizing;

use super::transport::form_encoded;

/// A quote from a server's answer, for the operator who has to fix something. A quote holds no part of a secret of the
/// request, and nothing that looks like a token; a text that must not be quoted is absent. Each text is at most 256 bytes
/// long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quote {
    /// The HTTP status.
    pub status: Option<u16>,
    /// The error code (RFC 6749 section 5.2), or the status if the code must not be quoted.
    pub code: Option<String>,
    /// The server's description of the error. For a failure of another instance, a remark that another instance met it.
    pub description: Option<String>,
    /// The content type of an answer without an error code.
    pub content_type: Option<String>,
    /// The first words of an answer without an error code.
    pub start: Option<String>,
    /// The target of a redirect, without user name, password, query and fragment.
    pub location: Option<String>,
    /// The wait that the server asks for, counted from the answer (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
}

impl Quote {
    /// A quote of an error code.
    pub(crate) fn code(code: impl Into<String>) -> Self {
        Self {
            code: Some(code.into()),
            ..Self::default()
        }
    }

    /// A quote of a status.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

/// `invalid_client: unknown client (401)`, or `404, text/html, "<html> Not Found"`.
impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| status.to_string());
        if let Some(code) = &self.code {
            f.write_str(code)?;
            if let Some(description) = &self.description {
                write!(f, ": {description}")?;
            }
            return match status.filter(|status| status != code) {
                Some(status) => write!(f, " ({status})"),
                None => Ok(()),
            };
        }
        let start = self.start.as_ref().map(|start| format!("\"{start}\""));
        let location = self.location.as_ref().map(|it| format!("to {it}"));
        let parts = [
            status,
            location,
            self.description.clone(),
            self.content_type.clone(),
            start,
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// `text`, a colon and the quote.
pub(super) fn with_quote(text: &str, quote: &Quote) -> String {
    match quote.to_string() {
        quoted if quoted.is_empty() => text.to_owned(),
        quoted => format!("{text}: {quoted}"),
    }
}

/// The limit of a quote, in bytes.
const QUOTE: usize = 256;

/// The limit of a quote from a page, in characters.
const FIRST_WORDS: usize = 80;

/// A run of letters and digits of this length may be a token.
const KEY: usize = 16;

/// The part of a page that is examined, in bytes.
const PAGE: usize = 4 * QUOTE;

/// Names of fields that hold tokens. The token after such a name may be unknown, and may break off.
const TOKEN_FIELDS: [&str; 6] = [
    "access_token",
    "refresh_token",
    "id_token",
    "accesstoken",
    "refreshtoken",
    "okapitoken",
];

/// The first characters of escapes in JSON and in HTML. Escapes may spell a secret.
const ESCAPES: [&str; 2] = ["\\u", "&#"];

/// This many bytes in a row that also occur in a secret reveal a part of the secret. Fewer bytes are chance, or a prefix
/// that all tokens of a server share.
const PIECE: usize = 12;

/// A secret of a configuration. It is zeroized, and never printed.
pub(super) struct Hidden(Zeroizing<String>);

impl Hidden {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl Deref for Hidden {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// The secrets that must not be quoted.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// These secrets of a request.
    pub(super) fn of(texts: &[&str]) -> Self {
        let mut secrets = Self::default();
        texts.iter().for_each(|text| secrets.add(text));
        secrets
    }

    /// Adds the credentials of the `Authorization` header.
    pub(super) fn with_authorization(mut self, headers: &HeaderMap) -> Self {
        let credentials = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        if let Some((_, credentials)) = credentials.and_then(|it| it.split_once(' ')) {
            self.add(credentials);
        }
        self
    }

    /// Adds the values of configured headers. A short value that is not marked as a secret is left out: a tenant `1` would
    /// otherwise keep every text from being quoted.
    pub(super) fn with_values(mut self, headers: &HeaderMap) -> Self {
        for value in headers.values() {
            if (value.is_sensitive() || value.len() >= PIECE)
                && let Ok(text) = str::from_utf8(value.as_bytes())
            {
                self.add(text);
            }
        }
        self
    }

    /// `text` without control characters, cut to 256 bytes; `None` if the text must not be quoted.
    pub(super) fn redact(&self, text: &str) -> Option<String> {
        // A secret may begin inside the quote and end outside.
        let seen = visible(text, QUOTE + PIECE);
        if seen.trim().is_empty() || self.is_shown_by(&seen) {
            return None;
        }
        Some(cut(&seen, QUOTE).to_owned())
    }

    /// The first words of a page in one line; `None` if the page is empty or must not be quoted.
    pub(super) fn first_words(&self, body: &[u8]) -> Option<String> {
        let body = &body[..body.len().min(PAGE)];
        let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
        let small = Zeroizing::new(text.to_ascii_lowercase());
        let is_odd = TOKEN_FIELDS.iter().any(|name| has_a_value(&small, name))
            || ESCAPES.iter().any(|escape| small.contains(escape));
        // A line break may split a secret.
        if is_odd || self.is_shown_by(&visible(&text, PAGE)) {
            return None;
        }
        let mut line = Zeroizing::new(String::with_capacity(text.len() + 1));
        for word in text.split_whitespace() {
            line.push_str(word);
            line.push(' ');
        }
        let quote = self.redact(&line)?;
        let shown: Zeroizing<String> =
            Zeroizing::new(line.chars().take(FIRST_WORDS + KEY).collect());
        if holds_a_key(&shown) {
            return None;
        }
        let start: String = quote.chars().take(FIRST_WORDS).collect();
        Some(start.trim_end().to_owned())
    }

    /// The target of a redirect, without the parts that may hold a credential. `None` if the target is not a URL, or if its
    /// path may hold a token.
    pub(super) fn target(&self, location: &str) -> Option<String> {
        // A relative target is on the same server.
        let base = Url::parse("relative:///").ok()?;
        let mut url = base.join(location).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        // Both calls fail for a URL that has neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let text = match (url.scheme(), url.host()) {
            ("relative", None) => url.path(),
            ("relative", Some(_)) => url.as_str().strip_prefix("relative:")?,
            _ => url.as_str(),
        };
        let quote = self.redact(text)?;
        let is_odd = url.path().split('/').any(holds_a_key);
        (!is_odd).then_some(quote)
    }

    /// Whether `text` is one of the secrets, as it was added.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.0.iter().any(|secret| secret.as_str() == text)
    }

    fn is_shown_by(&self, text: &str) -> bool {
        self.0.iter().any(|secret| shares_a_piece(text, secret))
    }

    /// Adds a secret, in the forms in which a server may repeat it.
    pub(super) fn add(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.0.push(form_encoded(text));
        self.0.push(Zeroizing::new(text.to_owned()));
        // JSON and HTML may escape these characters. A page with any other escape is not quoted at all.
        for (plain, escaped) in [("/", "\\/"), ("\"", "\\\""), ("&", "&amp;")] {
            if text.contains(plain) {
                self.0.push(Zeroizing::new(text.replace(plain, escaped)));
            }
        }
    }
}

/// Whether a value follows the name of a field somewhere in `text`: in JSON, a form, XML or HTML.
fn has_a_value(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_quote = |c: char| c.is_whitespace() || "\"'\\".contains(c);
        let behind = text[at + name.len()..].trim_start_matches(is_quote);
        let behind = behind.trim_start_matches("&quot;");
        let behind = behind.trim_start_matches(is_quote);
        behind.is_empty() || behind.starts_with([':', '=', '>', '<'])
    })
}

/// Whether something in `text` looks like an unknown token: a long run of the characters of a token (RFC 6750 section
/// 2.1), with letters and digits among them.
fn holds_a_key(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || "\"'<>=".contains(c))
        .any(|word| match word.split_once("://") {
            // Each part of a URL is examined by itself.
            Some((_, rest)) => rest.split('/').any(has_a_long_run),
            None => has_a_long_run(word),
        })
}

fn has_a_long_run(text: &str) -> bool {
    let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    text.split(|c| !is_of_a_key(c)).any(|run| {
        run.len() >= KEY
            && run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_alphabetic())
    })
}

/// The beginning of `text` without control characters, of at least `bytes` bytes if the text has that many.
fn visible(text: &str, bytes: usize) -> Zeroizing<String> {
    let mut seen = Zeroizing::new(String::with_capacity(bytes + 4));
    for c in text.chars().filter(|c| !c.is_control()) {
        if seen.len() >= bytes {
            break;
        }
        seen.push(c);
    }
    seen
}

/// The beginning of `text` in at most `bytes` bytes of whole characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn shares_a_piece(text: &str, secret: &str) -> bool {
    let (text, secret) = (text.as_bytes(), secret.as_bytes());
    let length = PIECE.min(secret.len());
    let mut pieces = secret.windows(length);
    pieces.any(|piece| text.windows(length).any(|window| window == piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_shows_the_parts_that_are_present() {
        assert_eq!(Quote::default().to_string(), "");
        assert_eq!(with_quote("refused", &Quote::default()), "refused");
        assert_eq!(
            with_quote("refused", &Quote::code("invalid_client")),
            "refused: invalid_client"
        );
        let refused = Quote {
            status: Some(401),
            description: Some("unknown client".into()),
            ..Quote::code("invalid_client")
        };
        assert_eq!(refused.to_string(), "invalid_client: unknown client (401)");
        let unspeakable = Quote {
            status: Some(400),
            ..Quote::code("400")
        };
        assert_eq!(unspeakable.to_string(), "400");
        let page = Quote {
            content_type: Some("text/html".into()),
            start: Some("<html>".into()),
            ..Quote::status(404)
        };
        assert_eq!(page.to_string(), "404, text/html, \"<html>\"");
        let redirect = Quote {
            location: Some("https://portal.example.org/login".into()),
            ..Quote::status(302)
        };
        assert_eq!(
            redirect.to_string(),
            "302, to https://portal.example.org/login"
        );
    }

    fn secrets() -> Secrets {
        let mut headers = HeaderMap::new();
        if let Ok(credentials) = "Basic aW1wb3J0ZXI6c2VzYW1lL3NlY3JldA==".parse() {
            headers.insert(AUTHORIZATION, credentials);
        }
        Secrets::of(&["sesame/refresh&token", "sesame"]).with_authorization(&headers)
    }

    fn redact(text: &str) -> Option<String> {
        secrets().redact(text)
    }

    #[test]
    fn a_text_without_a_secret_is_quoted_without_control_characters_and_cut() {
        assert_eq!(
            redact("no\r\nsuch\u{7f} \u{85}clié\0nt").as_deref(),
            Some("nosuch cliént")
        );
        assert_eq!(redact(&"é".repeat(900)), Some("é".repeat(128)));
        assert_eq!(redact(&"x".repeat(900)), Some("x".repeat(256)));
        assert_eq!(redact(&"€".repeat(900)), Some("€".repeat(85)));
        assert_eq!(redact("\n \n"), None);
        assert_eq!(redact(""), None);
    }

    #[test]
    fn a_text_with_a_part_of_a_secret_is_not_quoted() {
        for words in [
            "sesame",
            "token sesame/refresh&token is used",
            "token /refresh&tok... is used",
            "token ses\name/re\0fresh&token is used",
            "token sesame%2Frefresh%26token is used",
            "credentials aW1wb3J0ZXI6c2VzYW1lL3NlY3JldA== are wrong",
        ] {
            assert_eq!(redact(words), None, "{words}");
        }
        assert_eq!(
            redact(&format!("{}fresh&token", "x".repeat(256))),
            Some("x".repeat(256))
        );
        for before in 236..256 {
            assert_eq!(
                redact(&format!("{}/refresh&token", "x".repeat(before))),
                None,
                "{before}"
            );
        }
    }

    #[test]
    fn the_first_words_of_a_page_are_quoted_in_one_line() {
        let first_words = |body: &[u8]| secrets().first_words(body);
        let page = b"<html>\r\n  <title>403\tForbidden</title>\n\x07</html>\n";
        assert_eq!(
            first_words(page).as_deref(),
            Some("<html> <title>403 Forbidden</title> </html>")
        );
        let long = "no such page ".repeat(500);
        assert_eq!(
            first_words(long.as_bytes()),
            Some(long.trim_end()[..80].trim_end().to_owned())
        );
        let xhtml = br#"<html xmlns="http://www.w3.org/1999/xhtml"><h1>No</h1>"#;
        assert_eq!(
            first_words(xhtml).as_deref(),
            Some(r#"<html xmlns="http://www.w3.org/1999/xhtml"><h1>No</h1>"#)
        );
        assert_eq!(first_words(&[0xff, b'!']).as_deref(), Some("\u{fffd}!"));
        assert_eq!(first_words(b""), None);
        assert_eq!(first_words(b" \r\n\t "), None);
    }

    #[test]
    fn the_target_of_a_redirect_is_quoted_without_credentials() {
        let target = |location| secrets().target(location);
        for (location, shown) in [
            (
                "https://u:p@portal.example.org/login?token=x#y",
                "https://portal.example.org/login",
            ),
            ("/login?next=/token", "/login"),
            (
                "https://idp.example.org/oauth2/authorize",
                "https://idp.example.org/oauth2/authorize",
            ),
            ("//portal.example.org/a", "//portal.example.org/a"),
        ] {
            assert_eq!(target(location).as_deref(), Some(shown), "{location}");
        }
        for location in [
            "https://portal.example.org/sesame/refresh&token",
            "/login;jsessionid=0123456789abcdef",
            "https://[",
        ] {
            assert_eq!(target(location), None, "{location}");
        }
    }

    #[test]
    fn a_page_that_may_hold_a_token_is_not_quoted() {
        for page in [
            "<p>sesame/refresh&token</p>",
            "<p>sesame/ref\r\nresh&token</p>",
            "<p>\n\n\n\nThis token is used, sorry:\n\n\n sesame%2Frefresh%26token</p>",
            r#"{"message":"no","refresh_token":"unknown-to-us"}"#,
            r#"{"okapiToken":"unknown-to-"#,
            r#"{"message":"\u0073\u0065"}"#,
            r#"{"message":"sesame\/refresh&token"}"#,
            "<p>sesame/refresh&amp;token",
            "<p>&#115;&#101;same",
            "<refresh_token>unknown-to-us</refresh_token>",
            "<td>access_token</td><td>unknown-to-us</td>",
            "{&quot;refresh_token&quot; : &quot;unknown",
            r#""{\"refresh_token\":\"unknown"#,
            "refreshToken=unknown",
        ] {
            assert_eq!(secrets().first_words(page.as_bytes()), None, "{page}");
        }
    }
}
