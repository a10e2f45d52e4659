use std::fmt;
use std::time::Duration;

/// What is quoted of an answer, for the user who has to mend something. It holds no part of a secret of the request, and
/// nothing that looks like a token; what could not be quoted is absent. Each text is at most 256 bytes long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quote {
    /// The HTTP status.
    pub status: Option<u16>,
    /// The error code (RFC 6749 section 5.2), or the status in the place of one that may not be quoted.
    pub code: Option<String>,
    /// What the server said besides the code; of a failure that another instance met, that it did.
    pub description: Option<String>,
    /// What an answer without an error code says that it is.
    pub content_type: Option<String>,
    /// The first words of an answer without an error code.
    pub start: Option<String>,
    /// Where a redirect leads, without a user name, a password, a query and a fragment.
    pub location: Option<String>,
    /// When to ask again, counted from the answer (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
}

impl Quote {
    /// An error code.
    pub(crate) fn code(code: impl Into<String>) -> Self {
        Self {
            code: Some(code.into()),
            ..Self::default()
        }
    }

    /// A status.
    #[must_use]
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
        let mut is_first = true;
        for part in parts.into_iter().flatten() {
            if !is_first {
                f.write_str(", ")?;
            }
            is_first = false;
            f.write_str(&part)?;
        }
        Ok(())
    }
}

/// `text`, and what is quoted behind a colon.
pub(super) fn with_quote(text: &str, quote: &Quote) -> String {
    match quote.to_string() {
        quoted if quoted.is_empty() => text.to_owned(),
        quoted => format!("{text}: {quoted}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_shows_what_it_has() {
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
}
