//! The processes of the instances: start, kill and end. No instance outlives its fleet.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Run;
use crate::instance::{READY, Setup};

/// The longest time that an instance needs to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first and the last version of each session whose token an instance gave out.
type Seen = Arc<Mutex<HashMap<String, (u64, u64)>>>;

pub(crate) struct Fleet {
    instances: Vec<Instance>,
    seen: Seen,
}

struct Instance {
    address: String,
    configuration: String,
    process: tokio::sync::Mutex<Process>,
}

struct Process {
    child: Child,
    /// The instance ends when this is closed.
    stdin: Option<ChildStdin>,
    reading: JoinHandle<()>,
}

impl Fleet {
    pub(super) async fn start(count: usize, configuration: &str) -> anyhow::Result<Self> {
        let seen = Seen::default();
        let mut instances = Vec::new();
        for _ in 0..count {
            // The port stays the instance's when it is killed and started again.
            let free = TcpListener::bind("127.0.0.1:0").await?;
            let address = free.local_addr()?.to_string();
            drop(free);
            let process = Process::start(&address, configuration, &seen).await?;
            instances.push(Instance {
                address,
                configuration: configuration.to_owned(),
                process: tokio::sync::Mutex::new(process),
            });
        }
        Ok(Self { instances, seen })
    }

    /// The address of an instance.
    pub(super) fn address(&self, number: u64) -> &str {
        let count = self.instances.len() as u64;
        let number = usize::try_from(number % count).unwrap_or_default();
        &self.instances[number].address
    }

    /// The number of pairs that were replaced by a pair whose token some request got.
    pub(super) fn replaced(&self) -> u64 {
        let seen = self.seen.lock();
        let versions = seen.values();
        versions.map(|(first, last)| last - first).sum()
    }

    pub(super) async fn stop(&self) {
        for instance in &self.instances {
            let mut process = instance.process.lock().await;
            drop(process.stdin.take());
            if timeout(PATIENCE, process.child.wait()).await.is_err() {
                drop(process.child.start_kill());
            }
        }
    }
}

/// Kills one instance after the other, and starts each again.
pub(super) async fn kill(run: Arc<Run>, every: Duration) -> anyhow::Result<()> {
    for instance in run.fleet.instances.iter().cycle() {
        tokio::time::sleep(every).await;
        let mut process = instance.process.lock().await;
        process.child.start_kill()?;
        process.child.wait().await?;
        *process =
            Process::start(&instance.address, &instance.configuration, &run.fleet.seen).await?;
    }
    Ok(())
}

impl Process {
    async fn start(address: &str, configuration: &str, seen: &Seen) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--instance")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start another process of this program")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (mut stdin, stdout) = stdin.zip(stdout).context("a process has no pipes")?;
        let setup = Setup {
            address: address.to_owned(),
            configuration: configuration.to_owned(),
        };
        let mut line = serde_json::to_string(&setup)?;
        line.push('\n');
        stdin.write_all(line.as_bytes()).await?;
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(PATIENCE, lines.next_line()).await??;
        anyhow::ensure!(first.as_deref() == Some(READY), "an instance did not start");
        let seen = Arc::clone(seen);
        let reading = tokio::spawn(async move {
            while let Ok(Some(pair)) = lines.next_line().await {
                let Some((family, version)) = pair.split_once('/') else {
                    continue;
                };
                let Ok(version) = version.parse() else {
                    continue;
                };
                let mut seen = seen.lock();
                let (first, last) = seen.entry(family.to_owned()).or_insert((version, version));
                (*first, *last) = (version.min(*first), version.max(*last));
            }
        });
        Ok(Self {
            child,
            stdin: Some(stdin),
            reading,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
