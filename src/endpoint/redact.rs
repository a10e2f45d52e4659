//! Decides what of a server's own words may be quoted in an error: never a part of a secret that this
//! exchange knows of. Some servers repeat the request in their complaints.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use url::Url;
use zeroize::Zeroizing;

use super::encoded::encoded;

/// What is quoted at most, in bytes.
const QUOTE: usize = 256;

/// What is quoted of a page at most, in characters.
const FIRST_WORDS: usize = 80;

/// From this length on a run of letters and digits may be a token.
const KEY: usize = 16;

/// What is looked at of a page, in bytes.
const PAGE: usize = 4 * QUOTE;

/// Names of fields that hold tokens. The token behind one may not be known, and may break off.
const TOKEN_FIELDS: [&str; 6] = [
    "access_token",
    "refresh_token",
    "id_token",
    "accesstoken",
    "refreshtoken",
    "okapitoken",
];

/// What escapes in JSON and in HTML begin with. A secret may be spelled with them.
const ESCAPES: [&str; 2] = ["\\u", "&#"];

/// So many bytes in a row that also stand in a secret give a part of it away. Fewer are chance, or
/// part of what all tokens of a server begin with.
const PIECE: usize = 12;

/// What must not be quoted.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// The secrets of a request.
    pub(super) fn new(texts: [&str; 2], headers: &HeaderMap) -> Self {
        let mut secrets = Self::default();
        texts.iter().for_each(|text| secrets.add(text));
        let credentials = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        if let Some((_, credentials)) = credentials.and_then(|it| it.split_once(' ')) {
            secrets.add(credentials);
        }
        secrets
    }

    /// These, of a request that was built elsewhere.
    pub(super) fn of(texts: &[&str]) -> Self {
        let mut secrets = Self::default();
        texts.iter().for_each(|text| secrets.add(text));
        secrets
    }

    /// `text` without control characters and cut to 256 bytes; `None` if it may not be quoted at all.
    pub(super) fn redact(&self, text: &str) -> Option<String> {
        // A secret that begins inside the quote and ends outside it must be seen.
        let seen = visible(text, QUOTE + PIECE);
        if seen.trim().is_empty() || self.is_shown_by(&seen) {
            return None;
        }
        Some(cut(&seen, QUOTE).to_owned())
    }

    /// What a page begins with, in one line; `None` if it is empty or may not be quoted.
    pub(super) fn first_words(&self, body: &[u8]) -> Option<String> {
        let body = &body[..body.len().min(PAGE)];
        let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
        let small = Zeroizing::new(text.to_ascii_lowercase());
        let is_odd = TOKEN_FIELDS.iter().any(|name| has_a_value(&small, name))
            || ESCAPES.iter().any(|escape| small.contains(escape));
        // A secret may have been wrapped at the end of a line.
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

    /// `text` as [`redact`](Self::redact) has it, cut to so many bytes.
    pub(super) fn redact_to(&self, text: &str, bytes: usize) -> Option<String> {
        let quote = self.redact(text)?;
        Some(cut(&quote, bytes).to_owned())
    }

    /// Where a redirect leads, without what may hold a credential; `None` if it is no URL, or its path may hold a token.
    pub(super) fn target(&self, location: &str) -> Option<String> {
        // A relative one is on the same server.
        let base = Url::parse("relative:///").ok()?;
        let mut url = base.join(location).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        // These fail where there is nothing to be taken away.
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

    /// Whether it is one of them, as it was added.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.0.iter().any(|secret| secret.as_str() == text)
    }

    fn is_shown_by(&self, text: &str) -> bool {
        self.0.iter().any(|secret| shares_a_piece(text, secret))
    }

    /// One more.
    pub(super) fn add(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.0.push(encoded(text));
        self.0.push(Zeroizing::new(text.to_owned()));
        // As JSON and HTML may have it; the other escapes are odd enough for nothing to be quoted.
        for (plain, escaped) in [("/", "\\/"), ("\"", "\\\""), ("&", "&amp;")] {
            if text.contains(plain) {
                self.0.push(Zeroizing::new(text.replace(plain, escaped)));
            }
        }
    }
}

/// Whether a value follows on the name of a field somewhere in `text`: in JSON, a form, XML or HTML.
fn has_a_value(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_quote = |c: char| c.is_whitespace() || "\"'\\".contains(c);
        let behind = text[at + name.len()..].trim_start_matches(is_quote);
        let behind = behind.trim_start_matches("&quot;");
        let behind = behind.trim_start_matches(is_quote);
        behind.is_empty() || behind.starts_with([':', '=', '>', '<'])
    })
}

/// Whether something in `text` looks like a token, of which nothing else is known: a long run of the characters that a
/// token has (RFC 6750 section 2.1), with letters and digits among them.
fn holds_a_key(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || "\"'<>=".contains(c))
        .any(|word| match word.split_once("://") {
            // Of a URL, one part after the other.
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

/// The beginning of `text` without control characters, of at least so many bytes if there are so many.
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

/// The beginning of `text`, of whole characters.
fn cut(text: &str, bytes: usize) -> &str {
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

    fn secrets() -> Secrets {
        let mut headers = HeaderMap::new();
        if let Ok(credentials) = "Basic aW1wb3J0ZXI6c2VzYW1lL3NlY3JldA==".parse() {
            headers.insert(AUTHORIZATION, credentials);
        }
        Secrets::new(["sesame/refresh&token", "sesame"], &headers)
    }

    fn redact(text: &str) -> Option<String> {
        secrets().redact(text)
    }

    #[test]
    fn words_without_a_secret_are_quoted_without_control_characters_and_cut() {
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
    fn words_with_a_part_of_a_secret_are_not_quoted_at_all() {
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
    fn of_a_page_the_first_words_are_quoted_in_one_line() {
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
    fn of_a_redirect_the_target_is_quoted_without_what_may_be_a_credential() {
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
