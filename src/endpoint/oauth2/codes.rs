//! The meaning of a server's error codes for the refresh token, as data. An error code outside the table means that the
//! server refuses this client.

use self::Meaning::{Client, Dead, Later, LaterBelow500, UserNeeded};

/// The meaning of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The refresh token is dead.
    Dead,
    /// The server did nothing, and asks to be called later.
    Later,
    /// As `Later`, but at 500 and above the server may have failed after it consumed the token.
    LaterBelow500,
    /// The user has to sign in, to consent or to choose.
    UserNeeded,
    /// The server refuses this client.
    Client,
}

/// The known codes, each with its source.
const KNOWN: &[(&str, Meaning)] = &[
    // RFC 6749 section 5.2. Auth0, Cognito, Hydra, Keycloak, Lark, Okta and Zoom answer a refresh token with no other codes.
    ("invalid_grant", Dead),
    ("invalid_client", Client),
    ("invalid_request", Client),
    ("invalid_scope", Client),
    ("unauthorized_client", Client),
    ("unsupported_grant_type", Client),
    // GitHub.
    ("bad_refresh_token", Dead),
    // Slack.
    ("invalid_refresh_token", Dead),
    // Zoho, which also answers authorization codes so; this crate sends none.
    ("invalid_code", Dead),
    // HubSpot, in `status`.
    ("BAD_REFRESH_TOKEN", Dead),
    // OpenAI, in an object under `error`.
    ("refresh_token_reused", Dead),
    ("refresh_token_invalidated", Dead),
    ("refresh_token_expired", Dead),
    // Supabase, in `error_code`.
    ("refresh_token_not_found", Dead),
    ("refresh_token_already_used", Dead),
    // Strava: the `resource` and the `code` of an entry of `errors`.
    ("RefreshToken.invalid", Dead),
    // light-oauth2: the token was not found.
    ("ERR12029", Dead),
    // RFC 6749 section 4.1.2.1 defines these two for the authorization endpoint; servers use them here as well.
    ("temporarily_unavailable", Later),
    ("server_error", LaterBelow500),
    // RFC 8628 section 3.5.
    ("slow_down", Later),
    // Other servers answer 429 in this case.
    ("too_many_attempts", Later),
    // Salesforce, with the words "retry your request".
    ("unknown_error", LaterBelow500),
    // Google (google-auth-library-python repeats the request after this code).
    ("internal_failure", LaterBelow500),
    // OpenID Connect Core section 3.1.2.6. Entra gives the first if a policy requires more than a password.
    ("interaction_required", UserNeeded),
    ("consent_required", UserNeeded),
    ("login_required", UserNeeded),
    ("account_selection_required", UserNeeded),
];

/// The meaning of a 400 without a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bare400 {
    /// The answer is a page: a gateway may answer so.
    #[default]
    Page,
    /// The refresh token is dead. For servers without error codes (Glewlwyd). Such a server answers a wrong client secret in
    /// the same way, so a wrong secret ends the session.
    Dead,
}

/// The meaning of one server's own error codes, in addition to the [known codes](Codes#known-codes). Codes are
/// compared exactly, in every place of an answer that [`OAuth2`](super::OAuth2#what-an-answer-means) names; descriptions
/// have no meaning.
///
/// An added code overrides a known code, and a later addition overrides an earlier one.
///
/// ```
/// use evertoken::{Bare400, Codes, OAuth2};
///
/// # fn main() -> Result<(), evertoken::BuildError> {
/// let endpoint = OAuth2::new("https://id.example.org/token", "importer")?
///     .codes(Codes::default().dead(["invalid_code"]).later(["50011"]).bare_400(Bare400::Dead));
/// # Ok(())
/// # }
/// ```
///
/// # Known codes
///
/// | code | meaning |
/// |---|---|
/// | `invalid_grant`, `bad_refresh_token` (GitHub), `invalid_refresh_token` (Slack), `invalid_code` (Zoho), `BAD_REFRESH_TOKEN` (HubSpot), `refresh_token_reused`, `refresh_token_invalidated` and `refresh_token_expired` (OpenAI), `refresh_token_not_found` and `refresh_token_already_used` (Supabase), `RefreshToken.invalid` (Strava: the `resource` and the `code`), `ERR12029` (light-oauth2) | the refresh token is dead |
/// | `temporarily_unavailable`, `slow_down` or `too_many_attempts` at any status; `server_error`, `unknown_error` (Salesforce) or `internal_failure` (Google) below 500 | the server did nothing, and asks to be called later |
/// | `interaction_required`, `consent_required`, `login_required`, `account_selection_required` | the user has to sign in, to consent or to choose |
/// | `invalid_client`, `invalid_request`, `invalid_scope`, `unauthorized_client`, `unsupported_grant_type`, and every code that is not listed | the server refuses this client |
#[derive(Debug, Clone, Default)]
pub struct Codes {
    added: Vec<(String, Meaning)>,
    pub(super) bare_400: Bare400,
}

impl Codes {
    /// Adds codes by which the server calls a refresh token dead. Such an answer ends the session, so add only a code that
    /// the server gives for no other reason. Some servers give `invalid_request`.
    #[must_use]
    pub fn dead<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, Dead)
    }

    /// Adds codes by which the server reports, at any status, that it did nothing with the refresh token and asks to be
    /// called later.
    #[must_use]
    pub fn later<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, Later)
    }

    /// Adds codes by which the server asks the user to sign in or to consent anew.
    #[must_use]
    pub fn user<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, UserNeeded)
    }

    /// Adds codes by which the server refuses this client, without a statement on the refresh token. An unknown code in the
    /// `error` of an answer already means that.
    #[must_use]
    pub fn client<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, Client)
    }

    /// Sets the meaning of a 400 without a body. Default: [`Bare400::Page`].
    #[must_use]
    pub fn bare_400(mut self, meaning: Bare400) -> Self {
        self.bare_400 = meaning;
        self
    }

    /// The code of an answer that counts, and its meaning: the first added code, or else the first known code.
    pub(super) fn word<'a>(&self, said: &[&'a str]) -> Option<(&'a str, Meaning)> {
        let find = |meaning: &dyn Fn(&str) -> Option<Meaning>| {
            said.iter().find_map(|code| Some((*code, meaning(code)?)))
        };
        find(&|code| self.added(code)).or_else(|| find(&known))
    }

    /// The meaning of a code that the user of this crate added.
    pub(super) fn added(&self, code: &str) -> Option<Meaning> {
        let mut added = self.added.iter().rev();
        let (_, meaning) = added.find(|(added, _)| added == code)?;
        Some(*meaning)
    }

    fn add<C: Into<String>>(
        mut self,
        codes: impl IntoIterator<Item = C>,
        meaning: Meaning,
    ) -> Self {
        let codes = codes.into_iter().map(|code| (code.into(), meaning));
        self.added.extend(codes);
        self
    }
}

fn known(code: &str) -> Option<Meaning> {
    let (_, meaning) = KNOWN.iter().find(|(known, _)| *known == code)?;
    Some(*meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(codes: &Codes, said: &[&str]) -> Option<Meaning> {
        codes.word(said).map(|(_, meaning)| meaning)
    }

    #[test]
    fn an_added_code_overrides_a_known_code() {
        let codes = Codes::default();
        assert_eq!(meaning(&codes, &["invalid_grant"]), Some(Dead));
        assert_eq!(meaning(&codes, &["invalid_request"]), Some(Client));
        assert_eq!(meaning(&codes, &["invalid_token_code"]), None);
        let codes = codes.later(["invalid_token_code", "invalid_grant"]);
        assert_eq!(meaning(&codes, &["invalid_token_code"]), Some(Later));
        assert_eq!(meaning(&codes, &["invalid_grant"]), Some(Later));
        let codes = codes
            .dead(["invalid_token_code"])
            .client(["login_required"]);
        assert_eq!(meaning(&codes, &["invalid_token_code"]), Some(Dead));
        assert_eq!(meaning(&codes, &["login_required"]), Some(Client));
        assert_eq!(meaning(&codes, &["Invalid_Grant"]), None);
    }

    #[test]
    fn the_first_known_code_counts_unless_another_was_added() {
        let said = ["nothing", "invalid_request", "20026", "invalid_grant"];
        assert_eq!(meaning(&Codes::default(), &said), Some(Client));
        let codes = Codes::default().dead(["20026"]);
        assert_eq!(meaning(&codes, &said), Some(Dead));
    }

    #[test]
    fn the_table_names_each_code_once() {
        for (at, (code, _)) in KNOWN.iter().enumerate() {
            let others = KNOWN[at + 1..].iter();
            assert!(others.clone().all(|(other, _)| other != code), "{code}");
        }
    }

    #[test]
    fn the_documentation_lists_every_known_code() {
        let text = include_str!("codes.rs");
        let documentation: String = text
            .lines()
            .filter(|line| line.starts_with("/// |"))
            .collect();
        for (code, _) in KNOWN {
            assert!(documentation.contains(&format!("`{code}`")), "{code}");
        }
    }
}
