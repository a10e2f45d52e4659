//! Keys of sessions, and scopes.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Digest;

/// A set of scopes, without an order (RFC 6749 section 3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// Parses a space-separated list.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Collects scopes. An item may hold several scopes separated by spaces, as in [`parse`](Scope::parse), and an empty item
/// holds none. Nothing is refused: a character that RFC 6749 section 3.3 does not permit in a scope is kept, and the server
/// answers `invalid_scope`.
///
/// ```
/// use evertoken::Scope;
///
/// let scope = Scope::from_iter(["records.write", "records.read", "records.read"]);
/// assert_eq!(scope.to_string(), "records.read records.write");
/// ```
impl<S: AsRef<str>> FromIterator<S> for Scope {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        let mut set = Self::default();
        set.extend(scopes);
        set
    }
}

/// Adds scopes, which are read as in `FromIterator`.
impl<S: AsRef<str>> Extend<S> for Scope {
    fn extend<I: IntoIterator<Item = S>>(&mut self, scopes: I) {
        for scope in scopes {
            self.0.extend(Self::parse(scope.as_ref()).0);
        }
    }
}

impl From<&str> for Scope {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

/// Prints the scopes separated by spaces, in alphabetical order.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

/// The identity of a session: managers with equal keys on one store share one token pair.
///
/// Two keys that differ in any part name different sessions. A key holds no secret.
///
/// ```
/// use evertoken::Key;
///
/// let key = Key::new("https://id.example.org/token", "importer")
///     .tenant("diku")
///     .scope("records.write records.read")
///     .label("nightly");
/// assert_eq!(key, key.clone().scope("records.read records.write"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Key {
    /// The issuer of the tokens: the token endpoint's URL, unless a better name is known.
    pub issuer: String,
    /// The client to which the tokens were issued.
    pub client_id: String,
    /// The tenant at the issuer.
    pub tenant: String,
    /// The user on whose behalf the tokens are used.
    pub subject: String,
    /// The permissions of the tokens.
    pub scope: Scope,
    /// The API for which the tokens are meant.
    pub audience: String,
    /// A name that distinguishes sessions whose other parts are equal.
    pub label: String,
}

impl Key {
    /// Makes the key of a session of `client_id` at `issuer`.
    #[must_use]
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            client_id: client_id.into(),
            ..Self::default()
        }
    }

    /// Sets the tenant at the issuer.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Sets the user on whose behalf the tokens are used.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Sets the permissions of the tokens.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets the API for which the tokens are meant.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Sets the name that distinguishes sessions whose other parts are equal.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The name of the key in stores, and of the lease of a sign-in, which has no refresh token to name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.text())
    }

    /// The name of the key in an unreleased version: both halves of the SHA-256.
    pub(crate) fn unreleased_name(&self) -> String {
        let [first, second] = Digest::halves_of(self.text());
        format!("{first}{second}")
    }

    fn text(&self) -> String {
        let scope = self.scope.to_string();
        let parts = [
            &self.issuer,
            &self.client_id,
            &self.tenant,
            &self.subject,
            &scope,
            &self.audience,
            &self.label,
        ];
        let mut text = String::from("evertoken key 1");
        for part in parts {
            // The length keeps ("a", "bc") apart from ("ab", "c").
            text.push_str(&format!("\n{} {part}", part.len()));
        }
        text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.client_id, self.issuer)?;
        let scope = self.scope.to_string();
        for (name, part) in [
            ("tenant", &self.tenant),
            ("subject", &self.subject),
            ("audience", &self.audience),
            ("label", &self.label),
            ("scope", &scope),
        ] {
            if !part.is_empty() {
                write!(f, ", {name} {part}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A scope that was collected is the one that a server reads in the request, and the one that a store holds.
        #[test]
        fn a_scope_is_the_same_parsed_collected_and_printed(texts: Vec<String>, odd in r#"[ab \t\n"\\é]{0,12}"#) {
            let texts = Vec::from_iter(texts.into_iter().chain([odd]));
            let collected: Scope = texts.iter().collect();
            prop_assert_eq!(&collected, &Scope::parse(&texts.join(" ")));
            prop_assert_eq!(&collected, &Scope::parse(&collected.to_string()));
            prop_assert_eq!(&collected, &collected.iter().collect::<Scope>());
        }
    }

    #[test]
    fn an_item_may_hold_several_scopes_or_none() {
        let mut scope: Scope = ["b a", "", " ", "c"].into_iter().collect();
        scope.extend([String::from("d\"\\")]);
        assert_eq!(scope.iter().collect::<Vec<_>>(), ["a", "b", "c", "d\"\\"]);
    }

    #[test]
    fn every_part_of_a_key_distinguishes_sessions() {
        let key = Key::new("issuer", "client");
        let others = [
            Key::new("issue", "rclient"),
            key.clone().tenant("x"),
            key.clone().subject("x"),
            key.clone().scope("x"),
            key.clone().audience("x"),
            key.clone().label("x"),
        ];
        let digests: BTreeSet<_> = others.iter().chain([&key]).map(Key::digest).collect();
        assert_eq!(digests.len(), others.len() + 1);
    }
}
