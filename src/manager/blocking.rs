//! For threads outside any runtime.

use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt;

use super::TokenManager;
use super::user::cause_of_death;
use crate::error::Error;
use crate::snapshot::Token;

/// What an answer that is there at the deadline needs to get to another thread.
const MOMENT: Duration = Duration::from_secs(1);

impl TokenManager {
    /// A valid access token, for threads outside any runtime (rayon's, a thread that uses
    /// `reqwest::blocking`): waits as [`token`](Self::token) does, up to the
    /// [deadline](crate::Builder::wait), by blocking the thread.
    ///
    /// The rotation itself runs on the manager's runtime. Where that has one thread, it has to be driven
    /// meanwhile, by a `block_on` on another thread than this.
    ///
    /// # Errors
    ///
    /// [`Error::InsideRuntime`] inside a runtime, whatever the token: there, await
    /// [`token`](Self::token), in `spawn_blocking` by `Handle::current().block_on(..)`. And as
    /// [`token`](Self::token).
    pub fn blocking_token(&self) -> Result<Token, Error> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(Error::InsideRuntime);
        }
        if let Some(token) = self.quiet_token() {
            return Ok(token);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let tokens = self.clone();
        let asking = self.session.shared.runtime.spawn(async move {
            // If nobody waits any more, the token is for nobody.
            let _ = sender.send(tokens.token().await);
        });
        // The answer itself says that the time is over, and what failed; unless its runtime stands still.
        let after = self.session.settings().wait;
        match receiver.recv_timeout(after.saturating_add(MOMENT)) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::TimedOut {
                after,
                source: None,
            }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let died = asking.now_or_never().and_then(Result::err);
                let pause = self.session.settings().cool_down.expired;
                let error = died.map_or(Error::RuntimeGone, |died| cause_of_death(&died));
                Err(error.with_retry_after(pause))
            }
        }
    }
}
