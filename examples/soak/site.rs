//! The way to the process of the servers. That process ends with this value.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::servers::{Addresses, Counters, Order, Rules};

pub(crate) struct Site {
    pub(crate) addresses: Addresses,
    pipes: Mutex<Pipes>,
    _child: Child,
}

struct Pipes {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Site {
    pub(crate) async fn open(access_ttl: Duration) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the servers")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (orders, stdout) = stdin.zip(stdout).context("the servers have no pipes")?;
        let answers = BufReader::new(stdout).lines();
        let mut pipes = Pipes { orders, answers };
        Ok(Self {
            addresses: pipes.ask(&Rules { access_ttl }).await?,
            pipes: Mutex::new(pipes),
            _child: child,
        })
    }

    /// Has the order carried out.
    pub(crate) async fn order(&self, order: Order) -> anyhow::Result<Counters> {
        self.pipes.lock().await.ask(&order).await
    }
}

impl Pipes {
    async fn ask<T: for<'de> Deserialize<'de>>(
        &mut self,
        question: &impl Serialize,
    ) -> anyhow::Result<T> {
        let mut line = serde_json::to_string(question)?;
        line.push('\n');
        let gone = "the process of the servers is gone";
        self.orders.write_all(line.as_bytes()).await.context(gone)?;
        let answer = self.answers.next_line().await?.context(gone)?;
        Ok(serde_json::from_str(&answer)?)
    }
}
