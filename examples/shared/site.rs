//! An authorization server and an API on the loopback, and child processes that run this program once more.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use evertoken::testing::{AuthorizationServer, GraceAnswer, HttpServer, ImportApi, Reuse};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

pub(crate) const CLIENT_SECRET: &str = "of the embedded server";

/// How long the token endpoint takes, as if the server were on another machine.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// A lifetime of refresh tokens that is longer than any run.
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) server: AuthorizationServer,
    pub(crate) api: ImportApi,
    pub(crate) token_endpoint: HttpServer,
    pub(crate) records: HttpServer,
}

impl Servers {
    pub(crate) async fn open(server: AuthorizationServer, api: ImportApi) -> anyhow::Result<Self> {
        Ok(Self {
            token_endpoint: server.listen().await.context("cannot listen")?,
            records: api.listen().await.context("cannot listen")?,
            server,
            api,
        })
    }
}

/// What a server does with a refresh token that was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReuseChoice {
    /// The server revokes the session
    Strict,
    /// The server refuses the token, and the session lives on
    Refuse,
    /// The server answers with the same pair for a while
    Grace,
    /// The server answers with another pair for a while
    Fork,
    /// The server answers with another pair for a while, and the pair before that dies
    LastWins,
}

impl ReuseChoice {
    pub(crate) fn within(self, window: Duration) -> Reuse {
        let grace = |answer| Reuse::Grace { window, answer };
        match self {
            Self::Strict => Reuse::RevokeFamily,
            Self::Refuse => Reuse::Refuse,
            Self::Grace => grace(GraceAnswer::SamePair),
            Self::Fork => grace(GraceAnswer::Fork),
            Self::LastWins => grace(GraceAnswer::LastWins),
        }
    }
}

/// Lines that a child process writes.
pub(crate) type Answers = Lines<BufReader<ChildStdout>>;

/// Starts this program once more, with a flag. The child process is killed when the handle is dropped.
pub(crate) fn start_child(flag: &str) -> anyhow::Result<(Child, ChildStdin, Answers)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(flag)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start another process of this program")?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (stdin, stdout) = stdin.zip(stdout).context("a child process has no pipes")?;
    Ok((child, stdin, BufReader::new(stdout).lines()))
}
