//! Watches the shared record, signs in again after the session was lost, and writes the trace of a run.

use std::fmt::Display;
use std::fs::File;
use std::io::{LineWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::{Error, TokenManager, TokenStore};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use crate::history::{Finding, View};
use crate::messages::{Micros, now};
use crate::run::Run;
use crate::site::Servers;

/// The time between two looks at the record. An exchange takes longer, so no lease is missed.
const LOOK: Duration = Duration::from_millis(5);

/// The time that a user needs to sign in.
const SIGN_IN: Duration = Duration::from_millis(500);

pub(crate) struct Watcher {
    pub(crate) run: Arc<Run>,
    pub(crate) site: Arc<Servers>,
    pub(crate) store: Arc<dyn TokenStore>,
    /// The manager of the user.
    pub(crate) tokens: TokenManager,
}

impl Watcher {
    pub(crate) async fn watch(&self) {
        let mut seen = (0, 0, 0);
        loop {
            self.look().await;
            let server = &self.site.server;
            let (exchanges, again) = (server.exchanges(), server.replays());
            let revoked = server.families_revoked();
            if (exchanges, again, revoked) != seen {
                seen = (exchanges, again, revoked);
                let what = format!("{exchanges} exchanges, {again} came again, {revoked} revoked");
                self.run.trace.note("server", what);
            }
            sleep(LOOK).await;
        }
    }

    /// Reads the record once.
    pub(crate) async fn look(&self) {
        let loaded = match self.store.load(self.tokens.key()).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let error = anyhow::anyhow!(error);
                return self.run.trace.note("watcher", format!("{error:#}"));
            }
        };
        let view = loaded.entry.map(|(record, _)| View::of(&record));
        let findings = self.run.saw(view);
        let is_end = |finding: &Finding| matches!(finding, Finding::Ended(_));
        if findings.iter().any(is_end) {
            let (run, site) = (Arc::clone(&self.run), Arc::clone(&self.site));
            tokio::spawn(sign_in(run, site, self.tokens.clone()));
        }
    }
}

/// A user signs in again. The instances find the new pair in the store.
async fn sign_in(run: Arc<Run>, site: Arc<Servers>, tokens: TokenManager) {
    sleep(SIGN_IN).await;
    let pair = site.server.issue();
    loop {
        match tokens.replace(pair.clone()).await {
            Ok(()) => return run.signed_in(),
            // The pair may be stored all the same; then the instances find it.
            Err(Error::Store { .. }) => sleep(SIGN_IN).await,
            Err(error) => {
                let error = anyhow::anyhow!(error);
                return run.trace.note("user", format!("{error:#}"));
            }
        }
    }
}

/// What happened, and when, for the search for causes.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    file: Option<Mutex<LineWriter<File>>>,
}

impl Trace {
    pub(crate) fn into(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file =
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(Mutex::new(LineWriter::new(file)))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) fn note(&self, actor: impl Display, what: impl Display) {
        self.note_at(now(), actor, what);
    }

    pub(crate) fn note_at(&self, at: Micros, actor: impl Display, what: impl Display) {
        let Some(file) = &self.file else { return };
        let line = json!({ "at": at, "who": actor.to_string(), "what": what.to_string() });
        // A trace that cannot be written does not stop the run.
        let _ = writeln!(file.lock(), "{line}");
    }
}
