//! The marks of a session that a user's sign-in began: which session and which user of the provider it is of. A logout that
//! the provider sends (OpenID Connect Back-Channel Logout 1.0) finds the session by them.
//!
//! A record has digests and never the texts, so neither a store nor a log shows who signed in. A text that can be guessed can
//! be found by its digest all the same.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::token::{Digest, Key};

/// The digests of the provider's names for a session. At least one of them is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// Of the provider's id of the session, the claim `sid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Digest>,
    /// Of the user, the claim `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
}

impl Marks {
    /// The marks of a session of the client of `key`; `None` if there is neither text.
    pub(crate) fn new(key: &Key, sid: Option<&str>, subject: Option<&str>) -> Option<Self> {
        let marks = Self {
            session: sid.map(|sid| mark(key, "session", sid)),
            subject: subject.map(|subject| mark(key, "subject", subject)),
        };
        (marks.session.is_some() || marks.subject.is_some()).then_some(marks)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Digest> + Clone {
        self.session.iter().chain(&self.subject)
    }

    /// The mark by which the sessions are searched that a logout with these marks means: a user may have many sessions.
    pub(crate) fn narrowest(&self) -> Option<Digest> {
        self.session.or(self.subject)
    }

    /// Whether the provider's `logout` means the session with these marks. A logout that has an id of a session means that
    /// session alone. Its user counts too, where both have one.
    pub(crate) fn are_meant_by(&self, logout: &Self) -> bool {
        match (logout.session, logout.subject) {
            (None, subject) => subject.is_some() && self.subject == subject,
            (session, None) => self.session == session,
            (session, subject) => {
                self.session == session && (self.subject.is_none() || self.subject == subject)
            }
        }
    }
}

/// Of two issuers, clients or tenants, or of a session and a user, equal texts have different marks.
fn mark(key: &Key, kind: &str, text: &str) -> Digest {
    let mut named = format!("evertoken upstream {kind} 1");
    for part in [&*key.issuer, &key.client_id, &key.tenant, text] {
        // The length keeps ("a", "bc") apart from ("ab", "c").
        named.push_str(&format!("\n{} {part}", part.len()));
    }
    Digest::of(named)
}

impl Record {
    /// The digests of the provider's session and user, if the [sign-in](crate::SignIn::upstream) named them. A record that was
    /// logged out has none.
    pub fn upstream(&self) -> impl Iterator<Item = &Digest> {
        self.upstream.iter().flat_map(Marks::iter)
    }

    /// Whether the provider's `logout` means this session.
    pub(crate) fn is_meant_by(&self, logout: &Marks) -> bool {
        let marks = self.upstream.as_ref();
        marks.is_some_and(|marks| marks.are_meant_by(logout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(sid: Option<&str>, subject: Option<&str>) -> Marks {
        Marks::new(&Key::new("issuer", "client"), sid, subject).unwrap()
    }

    #[test]
    fn equal_texts_of_other_issuers_clients_tenants_and_kinds_have_other_marks() {
        let key = Key::new("issuer", "client");
        let keys = [
            key.clone(),
            Key::new("other", "client"),
            Key::new("issuer", "other"),
            Key::new("issue", "rclient"),
            key.clone().tenant("x"),
        ];
        let all: Vec<_> = keys
            .iter()
            .map(|key| Marks::new(key, Some("one"), Some("one")).unwrap())
            .flat_map(|marks| [marks.session, marks.subject])
            .collect();
        for (at, mark) in all.iter().enumerate() {
            assert!(mark.is_some());
            assert!(!all[at + 1..].contains(mark), "{at}");
        }
        // What distinguishes the sessions of one user at one client does not count.
        let label = Marks::new(&key.label("sign-in"), Some("one"), None);
        assert_eq!(label, Some(marks(Some("one"), None)));
        assert_eq!(Marks::new(&Key::default(), None, None), None);
    }

    #[test]
    fn a_logout_means_the_session_that_it_names_or_every_session_of_its_user() {
        let (one, two) = (Some("one"), Some("two"));
        for (session, logout, is_meant) in [
            ((one, one), (one, None), true),
            ((one, one), (None, one), true),
            ((one, one), (one, one), true),
            ((one, None), (one, one), true),
            ((one, None), (None, one), false),
            ((None, one), (one, one), false),
            ((None, one), (one, None), false),
            ((one, one), (two, one), false),
            ((one, one), (one, two), false),
            ((one, one), (None, two), false),
        ] {
            let (session, logout) = (marks(session.0, session.1), marks(logout.0, logout.1));
            assert_eq!(
                session.are_meant_by(&logout),
                is_meant,
                "{session:?} {logout:?}"
            );
        }
    }
}
