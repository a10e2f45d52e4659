//! Decides what of a server's own words may be quoted in an error: never a part of a secret that this
//! exchange knows of. Some servers repeat the request in their complaints.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::encoded::encoded;

/// What is quoted at most, in characters.
const QUOTE: usize = 200;

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

    /// `text` without control characters and not too long; `None` if it may not be quoted at all.
    pub(super) fn scrub(&self, text: &str) -> Option<String> {
        // A secret that begins inside the quote and ends outside it must be seen.
        let visible = text.chars().filter(|c| !c.is_control());
        let seen: Zeroizing<String> = Zeroizing::new(visible.take(QUOTE + PIECE).collect());
        if seen.trim().is_empty() || self.0.iter().any(|secret| shares_a_piece(&seen, secret)) {
            return None;
        }
        Some(seen.chars().take(QUOTE).collect())
    }

    /// One more.
    pub(super) fn add(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push(encoded(text));
            self.0.push(Zeroizing::new(text.to_owned()));
        }
    }
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

    fn scrub(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Ok(credentials) = "Basic aW1wb3J0ZXI6c2VzYW1lL3NlY3JldA==".parse() {
            headers.insert(AUTHORIZATION, credentials);
        }
        Secrets::new(["sesame/refresh&token", "sesame"], &headers).scrub(text)
    }

    #[test]
    fn words_without_a_secret_are_quoted_without_control_characters_and_cut() {
        assert_eq!(
            scrub("no\r\nsuch\u{7f} \u{85}clié\0nt").as_deref(),
            Some("nosuch cliént")
        );
        assert_eq!(scrub(&"é".repeat(900)), Some("é".repeat(200)));
        assert_eq!(scrub("\n \n"), None);
        assert_eq!(scrub(""), None);
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
            assert_eq!(scrub(words), None, "{words}");
        }
        assert_eq!(
            scrub(&format!("{}fresh&token", "x".repeat(200))),
            Some("x".repeat(200))
        );
        for before in 180..200 {
            assert_eq!(
                scrub(&format!("{}/refresh&token", "x".repeat(before))),
                None,
                "{before}"
            );
        }
    }
}
