//! What a server's error codes say of the refresh token, as data. A code that is not in the table says that the server
//! refuses this client.

use self::Meaning::{Dead, Later, LaterBelow500, UserNeeded};

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
}

const KNOWN: [(&str, Meaning); 12] = [
    // RFC 6749 section 5.2.
    ("invalid_grant", Dead),
    // GitHub.
    ("bad_refresh_token", Dead),
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
    // OpenID Connect Core section 3.1.2.6.
    ("interaction_required", UserNeeded),
    ("consent_required", UserNeeded),
    ("login_required", UserNeeded),
    ("account_selection_required", UserNeeded),
];

/// The table, with what was added to it for one server.
#[derive(Debug, Default)]
pub(super) struct Codes {
    pub(super) added: Vec<(String, Meaning)>,
    /// Whether a 400 without a body says that the refresh token is dead.
    pub(super) bare_400_is_dead: bool,
}

impl Codes {
    pub(super) fn add<C: Into<String>>(
        &mut self,
        codes: impl IntoIterator<Item = C>,
        meaning: Meaning,
    ) {
        let codes = codes.into_iter().map(|code| (code.into(), meaning));
        self.added.extend(codes);
    }

    /// What was added counts for more than what is known, and what was added last for most.
    pub(super) fn meaning(&self, code: &str) -> Option<Meaning> {
        let added = self.added.iter().rev();
        let added = added.map(|(code, meaning)| (code.as_str(), *meaning));
        let mut all = added.chain(KNOWN);
        all.find(|(known, _)| *known == code)
            .map(|(_, meaning)| meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_counts_for_more_than_what_is_known() {
        let mut codes = Codes::default();
        assert_eq!(codes.meaning("invalid_grant"), Some(Dead));
        assert_eq!(codes.meaning("invalid_request"), None);
        codes.add(["invalid_request", "invalid_grant"], Later);
        assert_eq!(codes.meaning("invalid_request"), Some(Later));
        assert_eq!(codes.meaning("invalid_grant"), Some(Later));
        codes.add(["invalid_request"], Dead);
        assert_eq!(codes.meaning("invalid_request"), Some(Dead));
        assert_eq!(codes.meaning("Invalid_Grant"), None);
    }

    #[test]
    fn no_code_is_known_twice() {
        for (at, (code, _)) in KNOWN.iter().enumerate() {
            let others = KNOWN[at + 1..].iter();
            assert!(others.clone().all(|(other, _)| other != code), "{code}");
        }
    }
}
