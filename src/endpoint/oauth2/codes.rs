//! What a server's error codes say of the refresh token, as data. A code that is not in the table says that the server
//! refuses this client.

use self::Meaning::{Client, Dead, Later, LaterBelow500, UserNeeded};

/// What a server says with an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The refresh token is dead.
    Dead,
    /// The server did nothing, and is to be asked later.
    Later,
    /// Likewise, but at 500 and above the server may have failed after it had consumed the token.
    LaterBelow500,
    /// The user has to sign in, to consent or to choose.
    UserNeeded,
    /// The server refuses this client.
    Client,
}

/// Each with its source.
const KNOWN: &[(&str, Meaning)] = &[
    // RFC 6749 section 5.2: these are all that Auth0, Cognito, Hydra, Keycloak, Lark, Okta and Zoom say of a refresh token.
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
    // Zoho; it says so of authorization codes as well, which are not sent here.
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
    // Strava: the `code` of an entry of `errors`, behind its `resource`.
    ("RefreshToken.invalid", Dead),
    // light-oauth2: its token was not found.
    ("ERR12029", Dead),
    // RFC 6749 section 4.1.2.1 has these two for the authorization endpoint; servers use them here as well.
    ("temporarily_unavailable", Later),
    ("server_error", LaterBelow500),
    // RFC 8628 section 3.5.
    ("slow_down", Later),
    // Where other servers answer 429.
    ("too_many_attempts", Later),
    // Salesforce, with the words "retry your request".
    ("unknown_error", LaterBelow500),
    // Google (google-auth-library-python repeats a request then).
    ("internal_failure", LaterBelow500),
    // OpenID Connect Core section 3.1.2.6; Entra gives the first where a policy asks for more than a password.
    ("interaction_required", UserNeeded),
    ("consent_required", UserNeeded),
    ("login_required", UserNeeded),
    ("account_selection_required", UserNeeded),
];

/// What a 400 without a body says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bare400 {
    /// Nothing: a gateway may answer so.
    #[default]
    Page,
    /// That the refresh token is dead. For servers that give no error codes (Glewlwyd). Such a server answers a wrong client
    /// secret in the same way, so a wrong secret ends the session then.
    Dead,
}

/// What one server means by its error codes, besides those that are known (see
/// [`OAuth2`](super::OAuth2#what-an-answer-means)). Codes are compared exactly, in whichever place of an answer they are;
/// descriptions are never read for a meaning.
///
/// What is added counts for more than what is known, and of one code what was added last.
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
#[derive(Debug, Clone, Default)]
pub struct Codes {
    added: Vec<(String, Meaning)>,
    bare_400: Bare400,
}

impl Codes {
    /// Codes by which the server calls a refresh token dead. A session ends by such an answer, so only a code belongs here
    /// that the server gives for nothing else. Some servers say `invalid_request` then.
    #[must_use]
    pub fn dead<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, Dead)
    }

    /// Codes by which the server says, at any status, that it did nothing with the refresh token and is to be asked later.
    #[must_use]
    pub fn later<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, Later)
    }

    /// Codes by which the server asks for the user, who has to sign in or to consent anew.
    #[must_use]
    pub fn user<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, UserNeeded)
    }

    /// Codes by which the server refuses this client, and says nothing of the refresh token. A code that is not known, in the
    /// `error` of an answer, means that already.
    #[must_use]
    pub fn client<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Self {
        self.add(codes, Client)
    }

    /// What a 400 without a body says. Default: [`Bare400::Page`].
    #[must_use]
    pub fn bare_400(mut self, meaning: Bare400) -> Self {
        self.bare_400 = meaning;
        self
    }

    pub(super) fn is_bare_400_dead(&self) -> bool {
        self.bare_400 == Bare400::Dead
    }

    /// Which of the codes of an answer counts, and what it means: the first that was added, else the first that is known.
    pub(super) fn word<'a>(&self, said: &[&'a str]) -> Option<(&'a str, Meaning)> {
        let find = |meaning: &dyn Fn(&str) -> Option<Meaning>| {
            said.iter().find_map(|code| Some((*code, meaning(code)?)))
        };
        find(&|code| self.added(code)).or_else(|| find(&known))
    }

    /// Whether the user of this crate says what it means.
    pub(super) fn is_added(&self, code: &str) -> bool {
        self.added(code).is_some()
    }

    fn added(&self, code: &str) -> Option<Meaning> {
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
    fn what_was_added_counts_for_more_than_what_is_known() {
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
    fn of_several_codes_the_first_that_is_known_counts_unless_another_was_added() {
        let said = ["nothing", "invalid_request", "20026", "invalid_grant"];
        assert_eq!(meaning(&Codes::default(), &said), Some(Client));
        let codes = Codes::default().dead(["20026"]);
        assert_eq!(meaning(&codes, &said), Some(Dead));
    }

    #[test]
    fn no_code_is_known_twice() {
        for (at, (code, _)) in KNOWN.iter().enumerate() {
            let others = KNOWN[at + 1..].iter();
            assert!(others.clone().all(|(other, _)| other != code), "{code}");
        }
    }
}
