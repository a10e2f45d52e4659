//! Looks at the record all the time, and signs in anew when the session was lost.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{Error, TokenManager, TokenStore};
use tokio::time::sleep;

use crate::history::{Finding, View};
use crate::run::Run;
use crate::site::Site;

/// Between two looks: shorter than any exchange takes, so that no lease comes and goes unseen.
const LOOK: Duration = Duration::from_millis(5);

/// How long it takes somebody to sign in.
const SIGN_IN: Duration = Duration::from_millis(500);

pub(crate) struct Watcher {
    pub(crate) run: Arc<Run>,
    pub(crate) site: Arc<Site>,
    pub(crate) store: Arc<dyn TokenStore>,
    /// The user's.
    pub(crate) tokens: TokenManager,
}

impl Watcher {
    pub(crate) async fn watch(&self) {
        let mut seen = (0, 0, 0);
        loop {
            self.look().await;
            let server = &self.site.server;
            let counted = (
                server.exchanges(),
                server.replays(),
                server.families_revoked(),
            );
            if counted != seen {
                seen = counted;
                let (exchanges, again, revoked) = seen;
                let what = format!("{exchanges} exchanges, {again} came again, {revoked} revoked");
                self.run.trace.note("server", what);
            }
            sleep(LOOK).await;
        }
    }

    /// Returns what the record is.
    pub(crate) async fn look(&self) {
        match self.store.load(self.tokens.key()).await {
            Ok(loaded) => {
                let view = loaded.entry.map(|(record, _)| View::of(&record));
                if self
                    .run
                    .saw(view)
                    .iter()
                    .any(|finding| matches!(finding, Finding::Ended(_)))
                {
                    tokio::spawn(sign_in(
                        Arc::clone(&self.run),
                        Arc::clone(&self.site),
                        self.tokens.clone(),
                    ));
                }
            }
            Err(error) => self
                .run
                .trace
                .note("watcher", format!("{:#}", anyhow::anyhow!(error))),
        }
    }
}

/// Somebody signs in anew. It is no instance: those that are left find his pair in the store.
async fn sign_in(run: Arc<Run>, site: Arc<Site>, tokens: TokenManager) {
    sleep(SIGN_IN).await;
    let pair = site.server.issue();
    loop {
        match tokens.replace(pair.clone()).await {
            Ok(()) => return run.signed_in(),
            // It may be stored all the same, and is found then.
            Err(Error::Store { .. }) => sleep(SIGN_IN).await,
            Err(error) => {
                return run
                    .trace
                    .note("user", format!("{:#}", anyhow::anyhow!(error)));
            }
        }
    }
}
