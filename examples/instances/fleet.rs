//! The processes of the instances: started, killed, stopped and ended. None outlives its fleet.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::instance::STOP;
use crate::message::Message;
use crate::run::Run;
use crate::setup::Setup;

/// How long an instance may take to end: somebody may wait for a token for 35 s.
const PATIENCE: Duration = Duration::from_secs(45);

pub(crate) struct Fleet {
    setup: Setup,
    run: Arc<Run>,
    instances: Vec<Instance>,
    started: u64,
    stop: watch::Sender<bool>,
}

struct Instance {
    number: u64,
    child: Child,
    attendant: JoinHandle<()>,
    /// Whether it has said something: before that it must not be stopped, or it could outlive us.
    is_ready: Arc<AtomicBool>,
    is_stopped: bool,
}

impl Instance {
    fn is_running(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) && !self.is_stopped
    }
}

impl Fleet {
    pub(crate) fn start(count: usize, setup: Setup, run: Arc<Run>) -> anyhow::Result<Self> {
        let mut fleet = Self {
            setup,
            run,
            instances: Vec::new(),
            started: 0,
            stop: watch::Sender::new(false),
        };
        for _ in 0..count {
            let instance = fleet.another()?;
            fleet.instances.push(instance);
        }
        Ok(fleet)
    }

    fn another(&mut self) -> anyhow::Result<Instance> {
        self.started += 1;
        let number = self.started;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--instance")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start an instance")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).context("an instance has no pipes")?;
        let mut setup = serde_json::to_string(&self.setup)?;
        setup.push('\n');
        self.run.started(number);
        let is_ready = Arc::<AtomicBool>::default();
        let pipes = Pipes {
            number,
            stdin,
            stdout,
            is_ready: Arc::clone(&is_ready),
            run: Arc::clone(&self.run),
        };
        let attendant = pipes.attend(setup, self.stop.subscribe());
        Ok(Instance {
            number,
            child,
            attendant: tokio::spawn(attendant),
            is_ready,
            is_stopped: false,
        })
    }

    /// Who is there.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let instances = self.instances.iter();
        instances.map(|instance| instance.number).collect()
    }

    /// Who can be stopped.
    pub(crate) fn running(&self) -> Vec<u64> {
        let instances = self
            .instances
            .iter()
            .filter(|instance| instance.is_running());
        instances.map(|instance| instance.number).collect()
    }

    /// Kills this one, if it is still there, and starts another in its place.
    pub(crate) fn kill(&mut self, number: u64) -> anyhow::Result<bool> {
        let mut instances = self.instances.iter();
        let Some(place) = instances.position(|instance| instance.number == number) else {
            return Ok(false);
        };
        // Its last words are heard by its attendant; the runtime reaps it.
        self.instances[place].child.start_kill()?;
        self.run.killed(number);
        self.instances[place] = self.another()?;
        Ok(true)
    }

    /// Stops this one, if it is there and running.
    pub(crate) fn pause(&mut self, number: u64) -> anyhow::Result<bool> {
        let Some(instance) = self.find(number).filter(|instance| instance.is_running()) else {
            return Ok(false);
        };
        signal::stop(&instance.child)?;
        instance.is_stopped = true;
        self.run.paused(number);
        Ok(true)
    }

    pub(crate) fn resume(&mut self, number: u64) -> anyhow::Result<()> {
        let run = Arc::clone(&self.run);
        if let Some(instance) = self.find(number).filter(|instance| instance.is_stopped) {
            instance.is_stopped = false;
            run.resumed(number);
            signal::go_on(&instance.child)?;
        }
        Ok(())
    }

    fn find(&mut self, number: u64) -> Option<&mut Instance> {
        let mut instances = self.instances.iter_mut();
        instances.find(|instance| instance.number == number)
    }

    /// Nobody is stopped any more. Returns who is there.
    pub(crate) fn resume_all(&mut self) -> anyhow::Result<Vec<u64>> {
        let numbers = self.numbers();
        numbers.iter().try_for_each(|number| self.resume(*number))?;
        Ok(numbers)
    }

    /// Ends all of them in good order; returns how many did not.
    pub(crate) async fn end(fleet: &Mutex<Self>) -> u64 {
        let instances = {
            let mut fleet = fleet.lock();
            fleet.stop.send_replace(true);
            std::mem::take(&mut fleet.instances)
        };
        let mut hanging = 0;
        for mut instance in instances {
            match timeout(PATIENCE, instance.child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                _ => hanging += 1,
            }
            // It ends with the last line. The process of one that hangs goes when it is dropped.
            let _ = timeout(Duration::from_secs(1), instance.attendant).await;
        }
        hanging
    }
}

/// What an instance is heard by, and told.
struct Pipes {
    number: u64,
    stdin: ChildStdin,
    stdout: ChildStdout,
    is_ready: Arc<AtomicBool>,
    run: Arc<Run>,
}

impl Pipes {
    /// Hears an instance out.
    async fn attend(mut self, setup: String, mut stop: watch::Receiver<bool>) {
        let mut lines = BufReader::new(self.stdout).lines();
        // Where this fails, it has been killed.
        let mut told = self.stdin.write_all(setup.as_bytes()).await.is_err();
        loop {
            tokio::select! {
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else { return };
                    self.is_ready.store(true, Ordering::Relaxed);
                    // The last one may be cut off.
                    if let Ok(message) = serde_json::from_str::<Message>(&line) {
                        self.run.heard(self.number, message);
                    }
                }
                () = asked(&mut stop), if !told => {
                    told = true;
                    let _ = self.stdin.write_all(format!("{STOP}\n").as_bytes()).await;
                }
            }
        }
    }
}

async fn asked(stop: &mut watch::Receiver<bool>) {
    // Without a fleet there is nobody to ask for anything.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(unix)]
mod signal {
    use anyhow::Context as _;
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::process::Child;

    pub(super) fn stop(child: &Child) -> anyhow::Result<()> {
        send(child, Signal::STOP)
    }

    pub(super) fn go_on(child: &Child) -> anyhow::Result<()> {
        send(child, Signal::CONT)
    }

    /// Nobody else has the number as long as it was not reaped.
    fn send(child: &Child, signal: Signal) -> anyhow::Result<()> {
        let id = child.id().context("an instance has ended by itself")?;
        let id = Pid::from_raw(id.try_into()?).context("no process")?;
        Ok(kill_process(id, signal)?)
    }
}

#[cfg(not(unix))]
mod signal {
    use tokio::process::Child;

    pub(super) fn stop(_: &Child) -> anyhow::Result<()> {
        anyhow::bail!("there are no such signals here")
    }

    pub(super) fn go_on(_: &Child) -> anyhow::Result<()> {
        Ok(())
    }
}
