//! The authorization servers, and the known properties of each.

mod installed;
mod program;
mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub(crate) use self::installed::a_server_that_cannot_be_loaded_is_missing;
use self::program::Program;
pub(crate) use self::server::{Answer, First, Server};
use crate::services::Missing;

/// The ID and the secret have characters that Basic credentials form-encode (RFC 6749 section 2.3.1).
pub(crate) const CLIENT: Client = Client {
    id: "odd:id",
    secret: "p+ss w%rd/&=",
};

/// Another client of the same server.
pub(crate) const OTHER_CLIENT: Client = Client {
    id: "other",
    secret: "other secret",
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OidcProvider,
    Django,
}

/// The rules that a server is started with. Tests with equal rules share one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    /// In seconds.
    pub(crate) access_ttl: u64,
    /// In seconds.
    pub(crate) refresh_ttl: u64,
    pub(crate) reuse: Reuse,
}

/// The reaction of a server to a refresh token that is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reuse {
    RevokeFamily,
    /// The second use is refused, and the family lives on. oidc-provider cannot do this.
    Refuse,
    /// A second use is answered for this number of seconds, and then treated as in `RevokeFamily`.
    Grace(u64),
}

impl Rules {
    /// Tokens that live longer than any test.
    pub(crate) const CALM: Self = Self {
        access_ttl: 600,
        refresh_ttl: 3_600,
        reuse: Reuse::RevokeFamily,
    };

    /// Access tokens of 3 s.
    pub(crate) const BRISK: Self = Self {
        access_ttl: 3,
        ..Self::CALM
    };

    pub(crate) const fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }
}

/// One authorization server, real or embedded.
pub(crate) struct Judge {
    pub(crate) kind: Kind,
    pub(crate) is_embedded: bool,
    /// The reason why the server cannot be started.
    missing: Option<Missing>,
    running: Mutex<HashMap<Rules, Arc<Program>>>,
}

impl Judge {
    pub(crate) fn all() -> Vec<Arc<Self>> {
        let judge = |kind, is_embedded| {
            let missing = match is_embedded {
                true => None,
                false => installed::check(kind).err(),
            };
            let running = Mutex::default();
            Arc::new(Self {
                kind,
                is_embedded,
                missing,
                running,
            })
        };
        let kinds = [Kind::OidcProvider, Kind::Django];
        let judges = kinds.map(|kind| [judge(kind, false), judge(kind, true)]);
        judges.into_iter().flatten().collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match (self.kind, self.is_embedded) {
            (Kind::OidcProvider, false) => "oidc_provider",
            (Kind::OidcProvider, true) => "embedded_as_oidc_provider",
            (Kind::Django, false) => "django_oauth_toolkit",
            (Kind::Django, true) => "embedded_as_django_oauth_toolkit",
        }
    }

    pub(crate) fn missing(&self) -> Option<String> {
        let missing = self.missing.as_ref()?;
        Some(format!("{}, because {}", self.name(), missing.0))
    }

    /// Whether the old access token dies at the rotation.
    pub(crate) fn old_access_dies(&self) -> bool {
        self.kind == Kind::Django
    }

    /// Whether a second use inside the grace window brings the pair of the first use again instead of another pair.
    pub(crate) fn repeats_the_pair(&self) -> bool {
        self.kind == Kind::Django
    }

    /// A server with these rules. Other tests may use the same server.
    pub(crate) async fn server(self: &Arc<Self>, rules: Rules) -> Server {
        if self.is_embedded {
            return Server::embedded(self.kind, rules).await;
        }
        let judge = Arc::clone(self);
        let started = tokio::task::spawn_blocking(move || judge.program(rules)).await;
        Server::real(started.expect("the server starts"))
    }

    fn program(&self, rules: Rules) -> Arc<Program> {
        let mut running = self.running.lock().unwrap_or_else(|died| died.into_inner());
        let started = running.entry(rules).or_insert_with(|| {
            let program = Program::start(self.kind, rules);
            Arc::new(program.unwrap_or_else(|missing| panic!("{missing}")))
        });
        Arc::clone(started)
    }

    /// Ends the programs that this judge started.
    pub(crate) fn end(&self) {
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(|died| died.into_inner()));
        running.values().for_each(|program| program.end());
    }
}
